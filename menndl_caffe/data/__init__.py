"""Data as Caffe reads it: LMDBs and mean images of CIFAR-10, MNIST and drawn images, written and checked."""
from __future__ import annotations

from menndl_caffe.data.advice import how_to_make
from menndl_caffe.data.dataset import write, write_synthetic
from menndl_caffe.data.folder import DataSummary, read_summary
from menndl_caffe.data.labels import Labels, labels
from menndl_caffe.data.lmdb_data import LmdbInfo, check_data, checksum, describe, fingerprint, lock_refusal, records

__all__ = ["DataSummary", "Labels", "LmdbInfo", "check_data", "checksum", "describe", "fingerprint", "how_to_make",
           "labels", "lock_refusal", "read_summary", "records", "write", "write_synthetic"]
