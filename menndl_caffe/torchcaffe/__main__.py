"""`python -m menndl_caffe.torchcaffe train|test|time|device_query`: see `command`."""
from __future__ import annotations

import sys

from menndl_caffe.startup import open_streams, speak_utf8
from menndl_caffe.torchcaffe.command import main

if __name__ == "__main__":
    open_streams()
    speak_utf8()
    sys.exit(main(sys.argv[1:]))
