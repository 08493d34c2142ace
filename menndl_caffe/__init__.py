"""MENNDL, faithful to Caffe: an evolutionary search over a Caffe network's hyper-parameters under MPI."""
__version__ = "0.1.0"
