"""`python -m menndl_caffe.trainer caffe|torch [float32|tf32|bf16]`: see `train`."""
from __future__ import annotations

from menndl_caffe.trainer.train import main

main()
