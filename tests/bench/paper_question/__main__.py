"""The paper's question within 50,000 iterations: docs/results.md.

    python -m tests.bench.paper_question run --data DIR   # some 25 hours of one core; goes on where it was broken off
    python -m tests.bench.paper_question draw             # the figure and the tables, from the journals beside this

DIR is what `menndl data cifar10 --validation 10000` has written.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from menndl_caffe.report.figures import files_of
from tests.bench.paper_question import found, kept
from tests.bench.paper_question.figure import FIGURE, draw_figure
from tests.bench.paper_question.searches import PLANS


def run(arguments: argparse.Namespace) -> None:
    """One search after the other."""
    for name in arguments.only or PLANS:
        if not kept.run(name, arguments.data.resolve(), arguments.out.resolve(), arguments.options):
            raise SystemExit(kept.AGAIN)


def draw(_: argparse.Namespace) -> None:
    """The page's figure and tables."""
    runs = found.runs()
    searches, finalists = found.compared(runs), found.finalists(runs)
    print(found.search_table(searches), found.importance_table(runs), sep="\n\n")
    if finalists:
        FIGURE.write_bytes(dict(files_of(FIGURE.stem, lambda: draw_figure(searches, finalists)))[FIGURE.name])
        print("", found.finalist_table(finalists), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="run what is not yet run, and keep its journals")
    command.add_argument("--data", type=Path, required=True, metavar="DIR",
                         help="CIFAR-10 with 10,000 validation images")
    command.add_argument("--out", type=Path, default=Path("runs/bench/paper_question"),
                         help="of all runs (default: %(default)s)")
    command.add_argument("--only", choices=PLANS, nargs="+", help="these searches alone")
    command.add_argument("options", nargs="*", help="further ones of `menndl run`, behind --, such as --ranks 2")
    command.set_defaults(do=run)
    commands.add_parser("draw", help="write the figure, print the tables").set_defaults(do=draw)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
