"""The layer types of Caffe 1.0. Importing this package makes them known to `make_layer`."""
from __future__ import annotations

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
