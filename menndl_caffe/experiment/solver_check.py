"""An individual's solver before it trains: on what Caffe would abort, and what it does that is hardly meant."""
from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import Collection, Iterator, Optional, Tuple

from menndl_caffe.data import describe
from menndl_caffe.errors import UserError
from menndl_caffe.experiment.measured import Measured
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.experiment.sources import Sources
from menndl_caffe.nets.passes import test_iterations
from menndl_caffe.nets.prototxt import Document, PathOf
from menndl_caffe.nets.solver_rules import doubtful, refused
from menndl_caffe.nets.wiring import layers_of_phase

# Beside `net`, a path of one file for both phases, no other net may be named: the engine would take that one, or abort.
OTHER_NETS = {"net_param": "a net inside the solver", "train_net_param": "a net inside the solver",
              "test_net_param": "a net inside the solver", "train_net": "a net for training alone",
              "test_net": "a net for testing alone"}
OF_POLICY = ("gamma", "power", "stepsize", "stepvalue")


def check_solver(rendered: Rendered) -> None:
    """UserError with file and line of all in a solver on which Caffe would abort."""
    solver = rendered.solver
    wrong = [*(((field,), text) for field, text in refused(solver.message)), *other_nets(solver)]
    if wrong:
        raise UserError("\n".join(said(solver, path, text) for path, text in wrong))


def said(solver: Document, path: PathOf, text: str) -> str:
    """With file and line: of the lr_policy for a setting of its own that is missing."""
    if path[0] in OF_POLICY and path[0] not in solver.marks:
        return str(solver.error_on(solver.line(("lr_policy",)), path, text))
    return str(solver.error(path, text))


def other_nets(solver: Document) -> Iterator[Tuple[PathOf, str]]:
    """The nets that a solver names beside `net`."""
    for field, what in OTHER_NETS.items():
        if field in solver.marks:
            yield (field,), (f'is {what}; menndl trains and tests the net of one file: expected net: "FILE" alone, in '
                             "which layers that differ have include { phase: TRAIN } or include { phase: TEST }")


def check_tested(rendered: Rendered, iterations: Collection[int]) -> None:
    """UserError with file and line where no test pass is due after one of these iterations, at which `stop` has a rung.
    """
    solver = rendered.solver.message
    due, interval = test_iterations(solver), solver.test_interval
    lacking = next((iteration for iteration in iterations if iteration not in due), None)
    if lacking is not None:
        found = f"is {interval:,}" if solver.HasField("test_interval") else "is missing"
        other = f", or rungs at multiples of {interval:,}" if interval else ""
        raise rendered.solver.error(("test_interval",), (
            f"{found}, so no test pass is due at iteration {lacking:,}, where `stop` has a rung; expected "
            f"{gcd(*iterations):,} or a divisor of it{other}"))


def doubts(rendered: Rendered, measured: Measured, where: Sources) -> Iterator[str]:
    """What of a solver Caffe takes and hardly anybody means, with file and line; `measured`: on what it is tested."""
    solver, param = rendered.solver, rendered.solver.message
    for path, text in doubtful(param):
        yield said(solver, path, text)
    if not 0 < param.test_interval <= param.max_iter:
        what = f"is {param.test_interval}" if param.test_interval else "is missing"
        yield str(solver.error(("test_interval",), f"{what}, and a training has {param.max_iter:,} iterations: it is "
                                                   "tested at its end alone, so there is no curve"))
    if param.snapshot:
        yield str(solver.error(("snapshot",), f"{param.snapshot:,} is not done: menndl writes no snapshots; `menndl "
                                              "best RUN --save DIR` writes the weights of the best"))
    coverage = _coverage(rendered, measured, where)
    if coverage:
        yield str(solver.error(("test_iter",), coverage))


def _coverage(rendered: Rendered, measured: Measured, where: Sources) -> str:
    """How a test pass does not measure on each test image once; nothing where it does, or where that is not known."""
    images, records = measured.images, _tested_records(rendered, where)
    if images is None or records is None or images == records:
        return ""
    batches = rendered.solver.message.test_iter[0]
    batch = images // batches
    found = f"{batches:,} batches of {batch:,} are {images:,} of {records:,} test images"
    if images > records:
        found = f"{batches:,} batches of {batch:,} are {images:,} images, and there are {records:,}: some count twice"
    if records % batch:
        return f"{found}; expected a batch_size in phase TEST that divides {records:,}"
    return f"{found}; test_iter: {records // batch} is all of them, once"


def _tested_records(rendered: Rendered, where: Sources) -> Optional[int]:
    """Of menndl's test database, where the test net reads that and no other."""
    readers = [wired.layer for wired in layers_of_phase(rendered.net.message, "TEST", 0, ()) if not wired.bottoms]
    if [layer.data_param.source for layer in readers] != [where.test]:
        return None
    return describe(Path(where.test)).records
