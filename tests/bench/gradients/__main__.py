"""What the gradients of hyper-parameters are worth, on small data: docs/results.md.

    python -m tests.bench.gradients sparse|series run          # results/sparse.csv, results/series.csv
    python -m tests.bench.gradients mnist|searches run --mnist FOLDER   # results/mnist.csv, results/searches.csv
    python -m tests.bench.gradients within run --cifar FOLDER  # results/within.csv
    python -m tests.bench.gradients hypernet_curve|hypernet_thousands|hypernet_deeper|hypernet_losses run --mnist FOLDER
    python -m tests.bench.gradients NAME draw                  # the page's figure and tables, of the CSV
"""
from __future__ import annotations

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

import menndl_caffe.torchcaffe as engine
from menndl_caffe.errors import UserError
from menndl_caffe.report.figures import files_of
from tests.bench.gradients import (
    hypernet_curve,
    hypernet_deeper,
    hypernet_losses,
    hypernet_thousands,
    mnist,
    searches,
    series,
    sparse,
    within,
)
from tests.bench.gradients.results import write

EXPERIMENTS = {each.NAME: each for each in (sparse, mnist, series, searches, within, hypernet_curve,
                                            hypernet_thousands, hypernet_deeper, hypernet_losses)}


def run(arguments: argparse.Namespace) -> None:
    """The whole experiment, and its CSV."""
    engine.init_log(2)
    experiment = EXPERIMENTS[arguments.name]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "torch"))
    write(experiment.TABLE, experiment.run(arguments), [*experiment.notes(), f"torch engine, {libraries}"])
    print(f"{experiment.TABLE}: written")


def draw(arguments: argparse.Namespace) -> None:
    """The page's figure and tables."""
    experiment = EXPERIMENTS[arguments.name]
    rows = experiment.load()
    if experiment.FIGURE is not None:
        drawn = dict(files_of(experiment.FIGURE.stem, lambda: experiment.figure(rows)))
        experiment.FIGURE.write_bytes(drawn[experiment.FIGURE.name])
    print("\n\n".join(experiment.page(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=EXPERIMENTS)
    parser.add_argument("do", choices=("run", "draw"))
    parser.add_argument("--mnist", type=Path, help="folder of the two t10k files, packed or not")
    parser.add_argument("--cifar", type=Path, help="folder that `menndl data cifar10 --validation 5000` wrote")
    parser.add_argument("--runs", type=Path, help="where the runs of `within` are kept, and gone on with")
    parser.add_argument("--longer", type=int, default=1, metavar="N",
                        help="N times the iterations in hypernet_thousands, N times the steps in hypernet_deeper")
    arguments = parser.parse_args()
    try:
        {"run": run, "draw": draw}[arguments.do](arguments)
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
