"""What is said of the files that were saved: whether they are the recorded individual, and how to use them."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Optional

from menndl_caffe.data import describe
from menndl_caffe.experiment.recorded import Run
from menndl_caffe.experiment.render import Rendered
from menndl_caffe.experiment.sources import datum_shape
from menndl_caffe.experiment.template import Template
from menndl_caffe.nets.layer_rules.blob import Message
from menndl_caffe.nets.wiring import layers_of_phase
from menndl_caffe.objective import LOSS
from menndl_caffe.report.summary import of_role
from menndl_caffe.trial import HYPERGRADIENT, TEST, YARDSTICK, Result, Trial


@dataclass(frozen=True)
class Saved:
    """An individual trained again: `before` is its recorded result, `again` the new one."""

    run: Run
    rank: int
    trial: Trial
    before: Result
    again: Result
    rendered: Rendered
    versions: Dict[str, Any]  # of the engine that trained again
    no_deploy: str  # why there is no deploy net, if so


def difference(saved: Saved) -> str:
    """Whether the second training is the first, and what else has changed where it is not."""
    before, again = saved.before, saved.again
    measure = saved.run.fitness.measure
    measured = measured_text(measure, again.fitness, again.loss)
    if again.curve == before.curve:
        passes = f"all {len(again.curve)} test passes" if len(again.curve) > 1 else "the test pass"
        return f"{measured}: equal to the recorded ones, in {passes}"
    if saved.trial.program == HYPERGRADIENT:
        return (f"{measured}, trained as `caffe train` does it; not those of the search's step, "
                f"{measured_text(measure, before.fitness, before.loss)}, whose program is {saved.trial.program}")
    then = saved.run.line.get("versions", {})
    changed = [f"{name} was {then.get(name)}, is {saved.versions.get(name)}"
               for name in sorted({*then, *saved.versions}) if then.get(name) != saved.versions.get(name)]
    why = "; ".join(changed) or ("the engine's versions are equal, but another processor may round otherwise: "
                                 f"{before.host} then, {again.host} now")
    return f"{measured}: NOT the recorded ones, {measured_text(measure, before.fitness, before.loss)} ({why})"


def measured_text(measure: str, value: float, loss: Optional[float]) -> str:
    """What a test pass has given: `accuracy 0.7, loss 0.9`."""
    first = "" if measure == LOSS else f"{measure} {value:g}, "
    return f"{first}loss {loss:g}"


def readme(saved: Saved) -> str:
    """README.md of the folder: where the individual comes from, the files, the commands."""
    test = of_role(saved.run, TEST)
    tested = test is not None and test[0].genome == saved.trial.genome and not test[1].failed
    yardstick = of_role(saved.run, YARDSTICK)
    data = layers_of_phase(saved.rendered.net.message, "TEST", 0, ())[0].layer
    return Template(Path(__file__).with_name("README.md.j2")).render({
        **vars(saved), "run": saved.run.line, "run_name": saved.run.name,
        "versions": ", ".join(f"{name} {value}" for name, value in saved.versions.items()),
        "difference": difference(saved), "fitness_set": saved.run.fitness_set,
        "test_fitness": test[1].fitness if test and tested else None,
        "yardstick": yardstick[1].fitness if yardstick and not yardstick[1].failed else None,
        "measure": saved.run.fitness.measure,
        "is_tested": saved.run.fitness.is_tested, "transform": data.transform_param, "prepared": _prepared(data),
        **_test_pass(saved, data)})


def _test_pass(saved: Saved, data: Message) -> Dict[str, int]:
    """How many images a test pass takes, of how many, and with which the last one of the training began."""
    test_iter = saved.rendered.solver.message.test_iter[0]
    if data.type != "Data":
        return {"test_iter": test_iter, "first_image": 0}
    images, stored = test_iter * data.data_param.batch_size, describe(Path(data.data_param.source)).records
    return {"test_iter": test_iter, "images": images, "stored": stored,
            "first_image": images * (len(saved.again.curve) - 1) % stored}


def _prepared(data: Message) -> str:
    """A Data layer's transformation in phase TEST as an expression: mean, scale, middle part (data_transformer.cpp)."""
    transform = data.transform_param
    text = "image - mean" if transform.mean_file or transform.mean_value else "image"
    if transform.scale != 1:
        text = f"({text}) * {transform.scale:.9g}"
    if transform.crop_size and data.type == "Data":
        first = [(size - transform.crop_size) // 2 for size in datum_shape(data)[1:]]
        top, left = (f"{start}:{start + transform.crop_size}" for start in first)
        text = f"({text})[:, {top}, {left}]"
    return text
