"""Our searches against the tools of today, on real tables and random landscapes, in virtual time.

    python -m tests.bench.searches race [--problems ...] [--methods ...] [--instances N] [--first N] [--slots ...]
    python -m tests.bench.searches utilization
    python -m tests.bench.searches tables
"""
from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, List

from tests.bench.searches import environments, methods, plan, tables
from tests.bench.searches.plan import LOG_NORMAL, TABLE, Spec
from tests.bench.searches.problems import PROBLEMS

OUT = Path("runs/bench/races.jsonl")
# Method -> trainings. A proposal of GUIDED_GA takes longer with each result.
UTILIZATION_BUDGETS = {"GA population: 500 generations: 100000": 2000, "ASYNC_GA": 2000, "GUIDED_GA": 1000,
                       "optuna-tpe": 2000, "deap": 2000, "leap": 2000, "propulate": 2000}
UTILIZATION_SLOTS, UTILIZATION_INSTANCES = (8, 64, 512), 3


def _method(text: str) -> str:
    if not methods.is_one(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no method; valid: {', '.join(methods.METHODS)}, "
                                         "or a type with settings")
    return text


def races(arguments: Any) -> List[Spec]:
    """Instance by instance, so that a race that is broken off has something of everything."""
    return [Spec(problem, instance, method, slots, arguments.budget, arguments.clock)
            for instance in range(arguments.first, arguments.first + arguments.instances) for slots in arguments.slots
            for method in arguments.methods for problem in arguments.problems]


def utilization(arguments: Any) -> List[Spec]:
    """On one kind of landscape; the paper's GA has its population of 500."""
    return [Spec("quick6", instance, method, slots, budget) for instance in range(UTILIZATION_INSTANCES)
            for slots in UTILIZATION_SLOTS for method, budget in UTILIZATION_BUDGETS.items()]


def _report(line: Any) -> None:
    what = f"{line['problem']}/{line['instance']} {line['method']} {line['slots']} slots"
    if "error" in line:
        print(f"{what}: BROKE: {line['error']}", flush=True)
    else:
        print(f"{what}: {line['regrets'][-1]} after {len(line['regrets'])}, {line['cpu']:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", type=Path, default=OUT, help="JSON lines, added to (default: %(default)s)")
    common.add_argument("--workers", type=int, default=1, help="races at a time")
    common.add_argument("--environments", type=Path, default=environments.FOLDER, metavar="DIR",
                        help="where `python -m tests.bench.searches.environments` put them (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    race = commands.add_parser("race", parents=[common], help="run what the file has not")
    race.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), metavar="NAME")
    race.add_argument("--methods", nargs="+", type=_method, metavar="NAME",
                      default=[method for method in methods.METHODS if method not in methods.SLOW])
    race.add_argument("--instances", type=int, default=3, help="of each problem (default: %(default)s)")
    race.add_argument("--first", type=int, default=0, metavar="N",
                      help="number of the first instance: what was chosen on some is to be measured on others")
    race.add_argument("--slots", type=int, nargs="+", default=[8], help="trainings at a time (default: 8)")
    race.add_argument("--budget", type=int, default=200, help="trainings (default: %(default)s)")
    race.add_argument("--clock", choices=(LOG_NORMAL, TABLE), default=LOG_NORMAL)
    commands.add_parser("utilization", parents=[common],
                        help="busy slots of the paper's GA, the asynchronous types and other tools, 8 to 512 slots")
    commands.add_parser("tables", parents=[common], help="Markdown of the file")
    arguments = parser.parse_args()
    environments.FOLDER = arguments.environments
    if arguments.command == "tables":
        print(tables.markdown(plan.read(arguments.out)))
        return
    specs = races(arguments) if arguments.command == "race" else utilization(arguments)
    for line in plan.run_all(specs, arguments.out, arguments.workers):
        _report(line)


if __name__ == "__main__":
    main()
