"""pycaffe's API and Caffe 1.0's semantics on PyTorch: what programs use after `import caffe`.

    import menndl_caffe.torchcaffe as caffe

The same net and solver files, weights and logs; on the CPU, or on a GPU after `set_mode_gpu()`. docs/fidelity.md lists
where the two engines differ.
"""
from __future__ import annotations

import torch as _torch

from menndl_caffe.torchcaffe import io, layer_types, proto
from menndl_caffe.torchcaffe.classifier import Classifier
from menndl_caffe.torchcaffe.detector import Detector
from menndl_caffe.torchcaffe.layer import layer_type_list
from menndl_caffe.torchcaffe.layer_types.python import PythonLayer as Layer
from menndl_caffe.torchcaffe.log import init_log, log
from menndl_caffe.torchcaffe.mode import (
    set_device,
    set_math,
    set_mode_cpu,
    set_mode_gpu,
    set_multiprocess,
    set_random_seed,
    set_solver_count,
    set_solver_rank,
    solver_count,
    solver_rank,
)
from menndl_caffe.torchcaffe.net import Net
from menndl_caffe.torchcaffe.net_spec import NetSpec, layers, params, to_proto
from menndl_caffe.torchcaffe.solver import (
    AdaDeltaSolver,
    AdaGradSolver,
    AdamSolver,
    NesterovSolver,
    RMSPropSolver,
    SGDSolver,
    get_solver,
)
from menndl_caffe.torchcaffe.timer import NCCL, Timer, has_nccl

TRAIN, TEST = proto.caffe_pb2.TRAIN, proto.caffe_pb2.TEST
__version__ = "1.0.0"  # of the Caffe whose semantics these are, as pycaffe's
torch_version = _torch.__version__

__all__ = [
    "AdaDeltaSolver", "AdaGradSolver", "AdamSolver", "Classifier", "Detector", "Layer", "NCCL", "NesterovSolver",
    "Net", "NetSpec", "RMSPropSolver", "SGDSolver", "TEST", "TRAIN", "Timer", "get_solver", "has_nccl", "init_log",
    "io", "layer_type_list", "layer_types", "layers", "log", "params", "proto", "set_device", "set_math",
    "set_mode_cpu", "set_mode_gpu", "set_multiprocess", "set_random_seed", "set_solver_count", "set_solver_rank",
    "solver_count", "solver_rank", "to_proto", "torch_version",
]
