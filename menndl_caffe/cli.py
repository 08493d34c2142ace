"""The command `menndl`."""
from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional

import menndl_caffe
from menndl_caffe.errors import UserError
from menndl_caffe.walltime import Stopped

EPILOG = """\
a first search:
  menndl data cifar10                                   CIFAR-10 as Caffe reads it, into data/cifar10
  menndl run solvers/quick.search.prototxt --out RUN    alone; under MPI: mpirun -n 4 menndl run ... --expect-ranks 4
  menndl best RUN                                       the best individuals against Caffe's default
The same `menndl run` command again goes on where a run was stopped, by whatever means.

exit codes: 0 success; 2 a mistake of the user's; 75 `menndl run` ended early and in order, by --time-limit or SIGTERM;
1 everything else
"""


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; the exit code is 0 for success, 2 for a user's mistake, 75 for a run to go on with, 1 else."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
        if sys.stdout:  # which a shell may have closed
            sys.stdout.flush()
    except UserError as error:
        _say(f"menndl {arguments.name}: {error}")
        return 2
    except Stopped as stopped:
        _say(f"menndl {arguments.name}: {stopped}")
        return os.EX_TEMPFAIL
    except KeyboardInterrupt:
        hint = "; the same command goes on where this one stopped" if arguments.name == "run" else ""
        _say(f"menndl {arguments.name}: interrupted{hint}")
        return 130
    except BrokenPipeError:  # `menndl status RUN | head`
        pass
    except OSError as error:
        _say(f"menndl {arguments.name}: {f'{error.filename}: {error.strerror}' if error.filename else error}")
        return 1
    return 0


class _Parser(argparse.ArgumentParser):
    """argparse with errors of one line."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2 and what is wrong, without the usage before it."""
        self.exit(2, f"{self.prog}: {message}; see `{self.prog} --help`\n")


def _whole(low: int, high: int = 2**31 - 1) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `low` to `high`."""
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from {low} to {high}")
        return value
    return convert


def _new_folder(text: str) -> Path:
    """The type of an argument that is a folder to be made or to be written into."""
    path = Path(text)
    try:
        blocked = any(place.exists() and not place.is_dir() for place in (path, *path.parents))
    except (OSError, ValueError) as error:  # a name that is too long, or a null byte
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a folder: {error}") from None
    if blocked:
        raise argparse.ArgumentTypeError(f"{text!r} is a file; expected a folder, new or not")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="menndl", description=menndl_caffe.__doc__, epilog=EPILOG,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"menndl {menndl_caffe.__version__}")
    commands = parser.add_subparsers(title="commands", dest="name", required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[Any], None], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(command=function)
        return command

    _add_data(add("data", _data, "write the databases and the mean as Caffe's own tools write them"))
    _add_individual(add("render", _render, "write the two Caffe files of one individual"), needs_out=True)
    evaluate = add("evaluate", _evaluate, "train one individual and print its result as JSON")
    _add_individual(evaluate, needs_out=False)
    _add_engine(evaluate)
    _add_run(add("run", _run, "run a search, alone or under mpirun/srun; goes on where an earlier one was stopped"))
    _add_readers(add)
    return parser


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("set", choices=("cifar10", "mnist", "synthetic"), help="which data")
    command.add_argument("--source", type=Path, metavar="PATH",
                         help="official archive or unpacked folder; default: download (cifar10)")
    command.add_argument("--out", type=Path, metavar="DIR", default=argparse.SUPPRESS,
                         help="folder to write (default: data/SET)")
    command.add_argument("--validation", type=_whole(0), default=0, metavar="N",
                         help="also hold out the last N training images, for fitness_set: VALIDATION")
    command.add_argument("--force", action="store_true", help="write anew what is already there")


def _add_individual(command: argparse.ArgumentParser, needs_out: bool) -> None:
    command.add_argument("search", metavar="SEARCH", help="search file, such as solvers/paper.search.prototxt")
    command.add_argument("--set", action="append", default=[], metavar="GENE=VALUE", dest="settings",
                         help="a gene that is not at its default; may be repeated")
    _add_overrides(command)
    command.add_argument("--out", type=_new_folder, required=needs_out, metavar="DIR",
                         help="folder for the rendered files" + ("" if needs_out else " and the log"))


def _add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=_whole(0, 2**63 - 1), metavar="N",
                         help="random_seed in place of the search file's")
    command.add_argument("--data", metavar="DIR",
                         help="data folder in place of the search file's, such as a copy on a node's own disk")
    command.add_argument("--iterations", type=_whole(1), metavar="N", help="max_iter in place of the search file's")


def _add_engine(command: argparse.ArgumentParser) -> None:
    command.add_argument("--engine", default="caffe", choices=("caffe", "torch"),
                         help="what trains: real Caffe, or its twin on PyTorch (default: %(default)s)")
    command.add_argument("--math", default="float32", choices=("float32", "tf32", "bf16"),
                         help="arithmetic of the torch engine; tf32 (GPU) and bf16 are coarser and faster "
                              "(default: %(default)s, as Caffe's)")
    command.add_argument("--threads", type=_whole(1), default=1, metavar="N",
                         help="BLAS threads of each trainer (default: %(default)s)")


def _add_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("search", metavar="SEARCH", help="search file, such as solvers/paper.search.prototxt")
    command.add_argument("--out", type=_new_folder, required=True, metavar="RUN",
                         help="folder of the run; one that exists is gone on with")
    _add_engine(command)
    _add_overrides(command)
    command.add_argument("--expect-ranks", type=_whole(1), metavar="N",
                         help="stop at once unless the MPI world has N ranks")
    command.add_argument("--time-limit", type=_whole(1), metavar="SECONDS",
                         help="end so many seconds after this process was started, everything recorded, with exit "
                              "code 75: the same command goes on; SIGTERM does the same")
    command.add_argument("--plain", action="store_true", help="plain lines of progress also on a terminal")


def _add_readers(add: Callable[..., argparse.ArgumentParser]) -> None:
    from menndl_caffe import export, save
    from menndl_caffe.watch import command as watch

    status = add("status", _status, "say how far a run is")
    best = add("best", _best, "print the best individuals against the default, as Table 3 of the paper")
    report = add("report", _report, "write tables, figures and a page of a run into RUN/report")
    watch.add_arguments(add("watch", watch.main, "show a search while it runs"))
    watch.add_server_arguments(report)
    doctor = add("doctor", _doctor, "say which engines, MPI and data work here, and what to do about the rest")
    _add_doctor(doctor)
    for command in (status, best):
        command.add_argument("run", type=Path, metavar="RUN", help="folder of the run")
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folder of the run; of several, a comparison")
    report.add_argument("--out", type=_new_folder, metavar="DIR",
                        help="where to write (default: RUN/report; of several runs, the first one's)")
    best.add_argument("-n", type=_whole(1), metavar="N",
                      help="how many individuals (default: 5); with --save: which one of them (default: 1)")
    save.add_arguments(best)
    export.add_arguments(add("export", export.main, "write a run's trials for pandas, optuna-dashboard or TensorBoard"))
    for command in (status, best, doctor):
        command.add_argument("--json", action="store_true", help="print JSON")


def _add_doctor(command: argparse.ArgumentParser) -> None:
    command.add_argument("--mpi", action="store_true",
                         help="under the launcher of a job: a table of its ranks, and what is wrong with their places; "
                              "exit code 1 where a run would fail")
    command.add_argument("--expect-ranks", type=_whole(1), metavar="N",
                         help="with --mpi: exit code 2 unless the MPI world has N ranks")
    command.add_argument("--data", type=Path, metavar="DIR", help="with --mpi: look at this data folder on each rank")
    command.add_argument("--engine", choices=("caffe", "torch"),
                         help="with --mpi: what shall train (default: caffe)")


def _data(arguments: Any) -> None:
    from menndl_caffe import data

    out = getattr(arguments, "out", Path("data") / arguments.set)
    if arguments.set == "cifar10":
        summary = data.write_cifar10(out, arguments.source, arguments.validation, _say, force=arguments.force)
    elif arguments.set == "mnist":
        summary = data.write_mnist(out, arguments.source, _say, arguments.force, arguments.validation)
    elif arguments.source:
        raise UserError(f"--source {arguments.source}: synthetic images are drawn, they have no source")
    else:
        summary = data.write_synthetic(out, validation=arguments.validation, report=_say, force=arguments.force)
    print(summary)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print(text, file=sys.stderr, flush=True)


def _render(arguments: Any) -> None:
    from menndl_caffe.experiment import search_file
    from menndl_caffe.experiment.appraise import check, check_experiment
    from menndl_caffe.experiment.render import Renderer
    from menndl_caffe.experiment.sources import sources
    from menndl_caffe.nets.shapes import UnknownShape
    from menndl_caffe.run.trial_files import write_rendered

    experiment = search_file.load(arguments.search, arguments.seed, arguments.data, arguments.iterations)
    renderer = Renderer(experiment)
    check_experiment(renderer)
    trial = experiment.trial(0, experiment.space.with_settings(arguments.settings))
    rendered = renderer.render(trial, sources(experiment, trial.role), str(arguments.out))
    write_rendered(rendered, arguments.out)
    print(f"{arguments.out}/train_test.prototxt and solver.prototxt: {trial.genome}")
    try:
        net = check(rendered)
    except UnknownShape as unknown:
        print(f"its size is not known before it runs: {unknown}")
    else:
        print(f"{net.parameters:,} parameters, {net.memory / 1e6:.1f} MB of blobs, "
              f"{net.multiply_adds / 1e9:.3g} billion multiply-adds a forward pass of a training batch")


def _evaluate(arguments: Any) -> None:
    from menndl_caffe.experiment.sources import sources
    from menndl_caffe.run.launch import Options, Parts
    from menndl_caffe.run.trial_files import LOG, write_rendered

    parts = Parts(Options(arguments.search, Path("."), arguments.engine, arguments.math, arguments.seed,
                          arguments.data, arguments.iterations, threads=arguments.threads))
    experiment = parts.experiment
    trial = experiment.trial(0, experiment.space.with_settings(arguments.settings))
    evaluator = parts.evaluator()
    _say(f"{trial.genome}: {trial.max_iter} iterations on {parts.engine.name} ({parts.engine.found}), "
         f"seed {trial.seed}")
    try:
        result = evaluator.evaluate(trial, str(arguments.out or "."))
    finally:
        evaluator.close()
    if arguments.out:
        write_rendered(parts.renderer.render(trial, sources(experiment, trial.role), str(arguments.out)), arguments.out)
        (arguments.out / LOG).write_text(result.log)
    record: Dict[str, Any] = {"genes": trial.genome.as_dict(), "seed": trial.seed, "max_iter": trial.max_iter,
                              **result.as_dict()}
    print(json.dumps({name: value for name, value in record.items() if name != "id"}))


def _run(arguments: Any) -> None:
    from menndl_caffe.experiment.recorded import Run
    from menndl_caffe.report import best_text
    from menndl_caffe.run.launch import Options, run

    record = run(Options(arguments.search, arguments.out, arguments.engine, arguments.math, arguments.seed,
                         arguments.data, arguments.iterations, arguments.expect_ranks, arguments.threads,
                         live=not arguments.plain, time_limit=arguments.time_limit))
    if record is not None:
        print(best_text(Run(arguments.out, record)), flush=True)


def _status(arguments: Any) -> None:
    from menndl_caffe.experiment import recorded
    from menndl_caffe.report import status_dict, status_text

    run = recorded.read(arguments.run)
    now = time.time()
    print(json.dumps(status_dict(run, now), indent=2) if arguments.json else status_text(run, now))


def _best(arguments: Any) -> None:
    from menndl_caffe import save
    from menndl_caffe.experiment import recorded
    from menndl_caffe.report import best_dict, best_text

    if arguments.save:
        save.main(arguments)
        return
    if arguments.data:
        raise UserError("--data goes with --save")
    run, n = recorded.read(arguments.run), arguments.n or 5
    print(json.dumps(best_dict(run, n), indent=2) if arguments.json else best_text(run, n))


def _report(arguments: Any) -> None:
    from menndl_caffe.experiment import recorded
    from menndl_caffe.report import write_comparison, write_report

    run, *others = arguments.runs
    if arguments.watch:
        return _serve_report(arguments)
    if arguments.port is not None or arguments.host:
        raise UserError("--port and --host go with --watch")
    folder = arguments.out or run / "report"
    if others:
        return print(write_comparison(list(map(recorded.read, arguments.runs)), folder))
    page, *files = write_report(recorded.read(run), folder=folder)
    tables = [path for path in files if path.suffix in (".csv", ".txt", ".md", ".tex")]
    print(f"{page}\n{page.parent}: {len(tables)} tables, {len(files) - len(tables)} figures")


def _serve_report(arguments: Any) -> None:
    from menndl_caffe.watch.serve import serve

    if len(arguments.runs) > 1 or arguments.out:
        raise UserError("--watch is for one run, and writes nothing")
    serve(arguments.runs[0], arguments.host, arguments.port)


def _doctor(arguments: Any) -> None:
    from menndl_caffe.doctor import machine as doctor

    if arguments.mpi:
        world = doctor.examine_world(arguments.expect_ranks, arguments.engine or "caffe", arguments.data)
        if world is not None:
            print(json.dumps(world.as_dict(), indent=2) if arguments.json else world, flush=True)
            sys.exit(0 if world.works else 1)
        return
    if arguments.expect_ranks or arguments.data or arguments.engine:
        raise UserError("--expect-ranks, --data and --engine are about the ranks of a job: add --mpi, under a launcher")
    findings = doctor.examine()
    as_json = [finding._asdict() for finding in findings]
    print(json.dumps(as_json, indent=2) if arguments.json else doctor.table(findings))


def entry() -> None:
    """The installed command."""
    try:
        code = main()
    finally:
        _drop_what_nobody_reads()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a late one, as Python ends, would turn the code into 143
    sys.exit(code)


def _drop_what_nobody_reads() -> None:
    """What a stream holds and cannot write, since its reader is gone, would turn the exit code into 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    entry()
