"""On what a database lies: a node's own disk or one that is shared."""
from __future__ import annotations

import re
from pathlib import Path

# Over the network, or from the host of a virtual machine.
SHARED = {"9p", "acfs", "afs", "beegfs", "ceph", "cifs", "dvs", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs3",
          "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs"}
# What a container without root is mounted with; it says nothing of what is below.
_OF_CONTAINERS = ("fuse.fuse-overlayfs", "fuse.squashfuse", "fuse.squashfuse_ll")


def is_shared(file_system: str) -> bool:
    """Whether a file system of this type is one that many nodes read at once."""
    return file_system in SHARED or (file_system.startswith("fuse.") and file_system not in _OF_CONTAINERS)


def file_system_of(path: str, mountinfo: str) -> str:
    """The type of the file system on which an absolute path lies, after the text of /proc/self/mountinfo; "" unknown.

    Of mounts at the same place, the last one is seen.
    """
    found, longest = "", -1
    for line in mountinfo.splitlines():
        mount, _, source = line.partition(" - ")
        if not source or len(mount.split(" ")) < 6:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), mount.split(" ")[4])
        if len(point) >= longest and (path + "/").startswith(point.rstrip("/") + "/"):
            found, longest = source.split(" ")[0], len(point)
    return found


def current_file_system_of(path: Path) -> str:
    """The same for this process, also where the path itself does not exist."""
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return ""
    return file_system_of(str(path.resolve()), mountinfo)
