"""CMA-ES against other searches on the LeNet of Loshchilov and Hutter 2016: docs/results.md.

    python -m tests.bench.lenet_comparison run --mnist FOLDER   # for an hour or more; goes on where it was broken off
    python -m tests.bench.lenet_comparison draw                 # the figure, and the table, from runs.csv
"""
from __future__ import annotations

import argparse
from pathlib import Path

from menndl_caffe.report.figures import files_of
from tests.bench.lenet_comparison import runs
from tests.bench.lenet_comparison.curves import FIGURE, TABLE, draw_figure, markdown, noise, read_table, write_table


def run(arguments: argparse.Namespace) -> None:
    """All runs, and runs.csv of them."""
    arguments.out.mkdir(parents=True, exist_ok=True)
    runs.make_data(arguments.mnist, arguments.out)
    runs.run_all(arguments.out, arguments.jobs)
    write_table(runs.curves(arguments.out), runs.notes(arguments.out))
    print(f"{TABLE}: written")


def draw(arguments: argparse.Namespace) -> None:
    """The page's figure and table."""
    curves = read_table()
    FIGURE.write_bytes(dict(files_of(FIGURE.stem, lambda: draw_figure(curves)))[FIGURE.name])
    print(f"{markdown(curves)}\n\n{noise(curves)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="run what is not yet run, and write runs.csv")
    command.add_argument("--mnist", type=Path, required=True, help="folder of the two t10k files, packed or not")
    command.add_argument("--out", type=Path, default=Path("runs/bench/lenet_comparison"),
                         help="of all runs (default: %(default)s)")
    command.add_argument("--jobs", type=int, default=1, help="runs at a time, each on one core (default: 1)")
    command.set_defaults(do=run)
    commands.add_parser("draw", help="write the figure, print the table").set_defaults(do=draw)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
