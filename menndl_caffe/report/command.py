"""`menndl status`: how far a run is."""
from __future__ import annotations

import argparse
import json
import time
from typing import Any

from menndl_caffe.arguments import add_json, add_run
from menndl_caffe.text import show


def add_arguments(command: argparse.ArgumentParser) -> None:
    """The arguments of `menndl status`."""
    add_run(command)
    add_json(command)


def main(arguments: Any) -> None:
    """Print it, for people or as JSON."""
    from menndl_caffe.experiment import recorded
    from menndl_caffe.report.status import status_dict, status_text

    run, now = recorded.read(arguments.run), time.time()
    show(json.dumps(status_dict(run, now), indent=2) if arguments.json else status_text(run, now))
