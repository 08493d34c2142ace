"""The paper's question within 50,000 iterations: docs/results.md.

    python -m tests.bench.paper_question run --data DIR   # some 16 hours of one core; goes on where it was broken off
    python -m tests.bench.paper_question draw             # the figure and the tables, from the journals beside this

DIR is what `menndl data cifar10 --validation 10000` has written.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench.paper_question import kept
from tests.bench.paper_question.searches import PLANS


def run(arguments: argparse.Namespace) -> None:
    """One search after the other."""
    for name in arguments.only or PLANS:
        if not kept.run(name, arguments.data.resolve(), arguments.out.resolve(), arguments.options):
            raise SystemExit(kept.AGAIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="run what is not yet run, and keep its journals")
    command.add_argument("--data", type=Path, required=True, metavar="DIR", help="CIFAR-10 with 10,000 validation images")
    command.add_argument("--out", type=Path, default=Path("runs/bench/paper_question"),
                         help="of all runs (default: %(default)s)")
    command.add_argument("--only", choices=PLANS, nargs="+", help="these searches alone")
    command.add_argument("options", nargs="*", help="further ones of `menndl run`, behind --, such as --ranks 2")
    command.set_defaults(do=run)
    arguments = parser.parse_args()
    arguments.do(arguments)


if __name__ == "__main__":
    main()
