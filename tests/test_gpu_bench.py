"""The script that measures on a GPU, as far as it can be tried without one."""
from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch")

from tests.bench import gpu  # noqa: E402


def row(name: str, *an_hour: float) -> gpu.Row:
    return {"name": name, "individuals_an_hour": dict(zip(gpu.PROCESSES, an_hour))}


def test_the_estimate_is_of_the_mean_time_of_random_genomes_where_most_are_trained() -> None:
    # Alone 1/10 and 1/30 of an hour, 4/60 in the mean; two at once 1/20 and 1/60, half of that; four are no faster.
    found = [row("default", 1, 1, 1), row("random 1", 10, 20, 15), row("random 2", 30, 60, 50)]
    assert gpu.estimate(found).startswith("the paper's 17,500 individuals: 583 hours of such a device with 2 at once,")
    assert gpu.estimate(found[:1]) == "no estimate: no random genomes were measured"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["gpu"])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    assert ended.value.code == 2
    assert "PyTorch finds no GPU here; expected one, or --cpu to try the script" in capsys.readouterr().err
