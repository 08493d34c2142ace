"""Caffe's messages under pycaffe's name: `caffe.proto.caffe_pb2`."""
from __future__ import annotations

from menndl_caffe.torchcaffe.proto import caffe_pb2

__all__ = ["caffe_pb2"]
