"""Under CI nothing that these tests need may be missing; elsewhere what is missing is skipped."""
from __future__ import annotations

import contextlib
import importlib.util
import os
import sys

import pytest

if os.environ.get("CI") == "true":
    for _module in ("torch", "h5py", "PIL", "scipy", "skimage", "pydot", *["plyvel"] * (sys.version_info < (3, 13))):
        if importlib.util.find_spec(_module) is None:
            raise pytest.UsageError(f"no module {_module}: `make test` installs it")

# As in a rank. Threads that wait for each other on busy cores take many times as long as one.
with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)
