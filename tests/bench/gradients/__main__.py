"""What the gradients of hyper-parameters are worth, on small data: docs/results.md.

    python -m tests.bench.gradients sparse run     # results/sparse.csv
    python -m tests.bench.gradients sparse draw    # the page's figure and tables, from it
"""
from __future__ import annotations

import argparse
from importlib.metadata import version

from menndl_caffe.report.figures import files_of
from tests.bench.gradients import sparse
from tests.bench.gradients.results import write

EXPERIMENTS = {each.NAME: each for each in (sparse,)}


def run(arguments: argparse.Namespace) -> None:
    """The whole experiment, and its CSV."""
    experiment = EXPERIMENTS[arguments.name]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    write(experiment.TABLE, experiment.run(arguments), [*experiment.notes(), f"torch engine, {libraries}"])
    print(f"{experiment.TABLE}: written")


def draw(arguments: argparse.Namespace) -> None:
    """The page's figure and tables."""
    experiment = EXPERIMENTS[arguments.name]
    rows = experiment.load()
    drawn = dict(files_of(experiment.FIGURE.stem, lambda: experiment.figure(rows)))
    experiment.FIGURE.write_bytes(drawn[experiment.FIGURE.name])
    print("\n\n".join(experiment.page(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("do", choices=("run", "draw"))
    arguments = parser.parse_args()
    {"run": run, "draw": draw}[arguments.do](arguments)


if __name__ == "__main__":
    main()
