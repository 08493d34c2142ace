"""The engine in float64: every number that it keeps is one, its gradients are slopes, and float32 comes back."""
from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from menndl_caffe import torchcaffe as caffe  # noqa: E402
from menndl_caffe.torchcaffe import mode  # noqa: E402
from menndl_caffe.torchcaffe.blob import Blob  # noqa: E402
from tests.support.torchcaffe import parity  # noqa: E402
from tests.torchcaffe.test_duals import EXAMPLES, STEP, Moved  # noqa: E402
from tests.torchcaffe.test_gradients import Example, name  # noqa: E402
from tests.torchcaffe.test_replay import trained  # noqa: E402

# Caffe's gradients that are not quite the slopes: eps, or 1e-4 beside a distance, is left out of them or only in them.
NEARLY = {"ContrastiveLoss": 1e-3, "MVN": 1e-7}


@pytest.fixture
def float64() -> Iterator[None]:
    with mode.float64():
        yield


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_gradients_are_slopes(example: Example, float64: None) -> None:
    """The slope of the tops' weighted sum along a direction is the sum of gradients times it."""
    run = Moved(example)
    found = run.gradients(lambda numbers, way: numbers)
    slope = sum(float((found[what] * way).sum()) for what, way in run.ways().items())
    weights = [weight for weight, _ in run.weighted]
    ends = []
    for step in (STEP, -STEP):
        run.move(lambda numbers, way, step=step: numbers + step * way)
        ends.append(sum(float((top * weight).sum()) for top, weight in zip(run.forward(), weights)))
    expected = (ends[0] - ends[1]) / (2 * STEP)
    assert slope == pytest.approx(expected, rel=0, abs=NEARLY.get(example.type, 1e-8) * max(1, abs(expected)))


@pytest.mark.parametrize("module", parity.modules())
def test_all_numbers_are_float64_and_real_caffes(module: str, tmp_path: Path, float64: None) -> None:
    """Data, gradients and parameters of every layer type, those that read data among them."""
    expected = parity.load(parity.FROZEN / f"{module}.npz")
    found = parity.run_module(caffe, module, tmp_path)
    assert {array.dtype for arrays in found.values() for array in arrays.values()} == {np.dtype(np.float64)}
    report = {case.name: parity.differences(case._replace(exact=()), expected[case.name], found[case.name])
              for case in parity.cases_of(module)}
    assert not {case: lines for case, lines in report.items() if lines}


@pytest.mark.parametrize("type_", ["SGD", "Adam"])
def test_a_training_is_one_of_float64(type_: str, float64: None, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    solver = trained(tmp_path, monkeypatch, None, f'type: "{type_}"')[0]
    assert all(blob.data.dtype == blob.diff.dtype == np.float64 for blobs in solver.net.params.values()
               for blob in blobs)


def test_float32_comes_back() -> None:
    with pytest.raises(RuntimeError, match="of a test"), mode.float64():
        assert mode.dtype() == torch.float64 and Blob((2,)).data.dtype == np.float64
        raise RuntimeError("of a test")
    assert mode.dtype() == torch.float32 and Blob((2,)).data.dtype == np.float32
