"""Layer by layer against real Caffe: live where it is installed, frozen everywhere."""
from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from menndl_caffe import torchcaffe  # noqa: E402
from menndl_caffe.torchcaffe.layer_types import pooling  # noqa: E402
from menndl_caffe.torchcaffe.layer_types.convolution import Unrolled  # noqa: E402
from tests.support.torchcaffe import parity  # noqa: E402


@pytest.mark.parametrize("module", parity.modules())
def test_layers_agree_with_real_caffe(module: str, caffe_root: Path, tmp_path: Path) -> None:
    found = parity.run_module(torchcaffe, module, tmp_path)
    expected = parity.run_real(caffe_root, module)
    report = {case.name: parity.differences(case, expected[case.name], found[case.name])
              for case in parity.cases_of(module)}
    assert not {name: lines for name, lines in report.items() if lines}


@pytest.mark.parametrize("module", parity.modules())
def test_layers_agree_with_what_real_caffe_gave(module: str, tmp_path: Path) -> None:
    found = parity.run_module(torchcaffe, module, tmp_path)
    expected = parity.load(parity.FROZEN / f"{module}.npz")
    report = {case.name: parity.differences(case, expected[case.name], found[case.name])
              for case in parity.cases_of(module)}
    assert not {name: lines for name, lines in report.items() if lines}


@pytest.mark.parametrize("module", ["cases_spatial"])
def test_convolutions_of_many_numbers_agree_too(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases are small, for which there are other kernels."""
    monkeypatch.setattr(Unrolled, "fits", lambda *_: False)
    test_layers_agree_with_what_real_caffe_gave(module, tmp_path)


@pytest.mark.parametrize("module", ["cases_spatial"])
def test_max_pooling_by_pytorch_agrees_too(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is a compiler the cases have run compiled."""
    monkeypatch.setattr(pooling, "compiled", lambda: None)
    test_layers_agree_with_what_real_caffe_gave(module, tmp_path)
