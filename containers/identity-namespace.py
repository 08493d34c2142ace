#!/usr/bin/env python3
"""Runs a command as root of a new user namespace in which every user is itself: `identity-namespace.py COMMAND ...`.

Apptainer run by root asks for every capability that the kernel knows, and fails where the machine has taken one away
from root, as some virtual machines and containers do (apptainer issue 2202). Root of a namespace has them all.
"""
from __future__ import annotations

import ctypes
import os
import sys

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
# A map of all 2^32 - 1 identities is what a process outside of any namespace has, and Apptainer takes it for that.
IDENTITY = "0 0 65536"


def write_maps(process: int) -> None:
    """Map the users and groups of a process's new namespace to themselves; only a parent namespace's root may."""
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{process}/{name}", "w") as file:
            file.write(IDENTITY)


def enter() -> None:
    """Go into a new namespace; OSError where the kernel allows none.

    Its maps can be written from outside of it alone, so a child stays there and writes them when told to.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    from_parent, to_child = os.pipe()
    process = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(to_child)
        entered = os.read(from_parent, 1)
        if entered:
            write_maps(process)
        os._exit(0)
    if libc.unshare(CLONE_NEWUSER | CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "no new user namespace: " + os.strerror(ctypes.get_errno()))
    os.write(to_child, b"x")
    if os.waitpid(child, 0)[1]:
        raise OSError("the new user namespace's identities could not be set")


def main() -> int:
    """Enter the namespace and become the command."""
    if len(sys.argv) < 2 or sys.argv[1] == "--help":
        print(__doc__)
        return 0 if len(sys.argv) > 1 else 2
    try:
        enter()
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as error:
        print(f"identity-namespace: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
