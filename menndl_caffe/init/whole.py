"""Whether a net and a solver can be searched over, and what of them is the fitness."""
from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, List, Sequence, Tuple

from menndl_caffe.errors import UserError
from menndl_caffe.experiment.solver_check import other_nets
from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.nets.layer_rules.blob import unknown_type
from menndl_caffe.nets.prototxt import Document
from menndl_caffe.nets.shapes import ImpossibleNet, located
from menndl_caffe.nets.wiring import Wired, insert_splits, layers_of_phase

OF_CLASSES = ("SoftmaxWithLoss", "HingeLoss", "InfogainLoss", "MultinomialLogisticLoss")
ACCURACY_LAYER = ('layer {{ name: "accuracy" type: "Accuracy" bottom: "{}" bottom: "{}" top: "accuracy" '
                  "include {{ phase: TEST }} }}")


@contextmanager
def of_net(net: Document) -> Iterator[None]:
    """Within it an ImpossibleNet is a UserError with file and line."""
    try:
        with located(net):
            yield
    except ImpossibleNet as error:
        raise UserError(str(error)) from None


def check_solver(solver: Document) -> None:
    """UserError where its net is no file for both phases, or where it does not test one net."""
    message = solver.message
    for path, text in other_nets(solver):
        raise solver.error(path, text)
    for field in ("train_state", "test_state"):
        for state in (getattr(message, field),) if field == "train_state" else getattr(message, field):
            if state.stage or state.level:
                raise solver.error((field,), "chooses layers by stage or level; expected layers that are chosen by "
                                             "phase alone, include { phase: TEST }")
    if len(message.test_iter) != 1:
        found = f"is given {len(message.test_iter)} times" if message.test_iter else "is missing"
        raise solver.error(("test_iter",), f"{found}; expected it once: test_iter x batch_size of phase TEST is the "
                                           "number of test images")


def check_net(net: Document) -> None:
    """UserError where it is of Caffe's oldest format, has layers that Caffe has not, or nothing to train by."""
    if any(layer.HasField("layer") for layer in net.message.layers):
        raise net.error(("layers",), "is of the format of Caffe's first months, layers { layer { ... } }; expected "
                                     "today's: `upgrade_net_proto_text OLD NEW`, a tool of Caffe's, writes it")
    with of_net(net):
        losses = {}
        for phase in ("TRAIN", "TEST"):
            layers = layers_of_phase(net.message, phase, 0, ())
            for wired in layers:
                if wired.layer.type not in LAYERS:
                    raise ImpossibleNet(unknown_type(wired.layer.type, LAYERS), wired.layer.name, wired.place)
            insert_splits(layers)  # refuses a bottom that no layer gives
            losses[phase] = [wired for wired in layers if _is_loss(wired)]
    if not losses["TRAIN"]:
        raise UserError(f"{net.file}: has no loss in phase TRAIN, so nothing is learned; expected a net for training "
                        "(as train_test.prototxt, train_val.prototxt), not one for use (as deploy.prototxt)")
    field, tested = "layers" if len(net.message.layers) else "layer", losses["TEST"]
    if not tested:
        loss = losses["TRAIN"][0]
        raise net.error((field, loss.place or 0), f"loss {loss.layer.name} is in phase TRAIN alone; expected one in "
                                                  "phase TEST, too: without its include rule it is in both")
    if not any(wired.tops for wired in tested):
        raise net.error((field, tested[0].place or 0), f"loss {tested[0].layer.name} has no top, so a test pass does "
                                                       'not give it out; expected top: "loss"')


def _is_loss(wired: Wired) -> bool:
    return any(wired.loss_weights) if wired.loss_weights else LAYERS[wired.layer.type].loss


def fitness_settings(net: Document) -> Tuple[List[str], List[str]]:
    """The lines of a search file that say what is optimized, and what is to be said of it."""
    layers = layers_of_phase(net.message, "TEST", 0, ())
    accuracies = [wired.layer for wired in layers if wired.layer.type == "Accuracy" and wired.tops]
    if len(accuracies) == 1:
        return [], []
    if accuracies:
        chosen = [layer for layer in accuracies if layer.accuracy_param.top_k == 1] or accuracies
        top, tops = chosen[-1].top[0], ", ".join(layer.top[0] for layer in accuracies)
        return ([f"# Of the accuracies {tops} the one that counts.", f'fitness: "{top}"'],
                [f"the net has {len(accuracies)} accuracies, {tops}: {top} is the fitness; `fitness` says which"])
    return _by_loss(layers)


def _by_loss(layers: Sequence[Wired]) -> Tuple[List[str], List[str]]:
    names = ", ".join(wired.layer.name for wired in layers if _is_loss(wired))
    said = f"the net has no layer of type Accuracy in phase TEST: its loss is minimized, that of {names}"
    classifying = [wired for wired in layers if wired.layer.type in OF_CLASSES and len(wired.bottoms) > 1]
    if classifying:
        bottoms = classifying[-1].layer.bottom
        said += ("; for an accuracy add this to the net, and begin again:\n    "
                 + ACCURACY_LAYER.format(bottoms[0], bottoms[1]))
    lines = ["# No layer of type Accuracy: the test net's loss counts.", 'objective { measure: "loss" minimize: true }']
    return lines, [said]


def solver_mode(message: Any) -> List[str]:
    """The lines of a search file that say on what is computed."""
    on_gpu = message.HasField("solver_mode") and message.solver_mode == message.GPU
    return ["# Your solver says GPU: say so here, too, where every rank has one.", "solver_mode: CPU"] if on_gpu else []
