"""Brings one file of known size and checksum from the web: goes on where it stopped, keeps nothing unchecked."""
from __future__ import annotations

import http.client
import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from menndl_caffe.errors import UserError
from menndl_caffe.files import fsync, sha256_of

BLOCK = 1 << 18
PROGRESS_BYTES = 1 << 24


@dataclass(frozen=True)
class WebFile:
    """Where a file is, and how it is known to be the right one."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[1]


def download(file: WebFile, folder: Path, report: Callable[[str], None], timeout: float = 10.0) -> Path:
    """The checked file in `folder`, by download unless it is there; UserError where it cannot be had.

    `timeout` is in seconds, for the connection and for each wait. NAME.part keeps what has arrived, for the next call.
    """
    path = folder / file.name
    if path.exists():
        if path.stat().st_size == file.size and sha256_of(path) == file.sha256:
            return path
        raise UserError(f"{path} is not the file of {file.url}; move it away, or give its path with --source")
    part = folder / f"{file.name}.part"
    try:
        _receive(file, part, report, timeout)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise UserError(f"cannot download {file.url} ({reason}); without internet, bring the file and give its path "
                        "with --source, or take `menndl data synthetic`") from None
    if sha256_of(part) != file.sha256:
        part.unlink()
        raise UserError(f"{file.url}: what arrived has not the SHA-256 {file.sha256} and was thrown away; try again")
    os.replace(part, path)
    return path


def _receive(file: WebFile, part: Path, report: Callable[[str], None], timeout: float) -> None:
    """Fills `part` up to the file's size; OSError where the connection fails or ends before that."""
    have = part.stat().st_size if part.exists() else 0
    if have >= file.size:
        return
    request = urllib.request.Request(file.url, headers={"Range": f"bytes={have}-"} if have else {})
    report(f"downloading {file.url} ({file.size / 1e6:.0f} MB{f', from byte {have}' if have else ''})")
    with urllib.request.urlopen(request, timeout=timeout) as response:
        have = have if response.status == http.client.PARTIAL_CONTENT else 0
        with part.open("ab" if have else "wb") as target:
            for block in iter(lambda: response.read(BLOCK), b""):
                target.write(block)
                have += len(block)
                if have // PROGRESS_BYTES > (have - len(block)) // PROGRESS_BYTES:
                    report(f"  {have / 1e6:.0f} of {file.size / 1e6:.0f} MB")
            target.flush()
            fsync(target.fileno())
    if have != file.size:
        raise OSError(f"the connection ended at byte {have} of {file.size}; the same command goes on from there")
