"""A small run with every kind of gene and templates of its own, journal and templates written by hand."""
from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple

from menndl_caffe.files import sha256_of
from menndl_caffe.genome import Genome
from menndl_caffe.journal import Journal
from menndl_caffe.trial import DEFAULT, INDIVIDUAL, OK, Result, Trial

NAMES = ("filters", "base_lr", "dropout", "pool", "second")
SEARCH = """\
net: "{folder}/net.j2"
solver: "{folder}/solver.j2"
ga_param {{ population: 4 generations: {generations} }}
gene {{ name: "filters" int_range {{ min: 2 max: 50 step: 4 }} default: 10 }}
gene {{ name: "base_lr" real_range {{ min: 0.00001 max: 0.1 scale: LOG }} default: 0.001 }}
gene {{ name: "dropout" real_range {{ min: 0 max: 0.9 }} default: 0.5 }}
gene {{ name: "pool" choice {{ value: "MAX" value: "AVE" value: "STOCHASTIC" default: "MAX" }} }}
gene {{ name: "second" choice {{ value: "yes" value: "no" default: "no" }} }}
max_iter: 500
random_seed: 9
"""
SOLVER = """\
net: "{{ directory }}/train_test.prototxt"
base_lr: {{ base_lr }}
max_iter: {{ max_iter }}
random_seed: {{ random_seed }}
"""
# A net of 8x8 images of 1 channel; `second` decides whether there is a second convolution.
NET = """\
layer { name: "images" type: "Data" top: "data" top: "label"
        data_param { source: "{{ train_source }}" batch_size: 5 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: {{ filters }} kernel_size: 3 } }
{% if second == "yes" %}
layer { name: "conv_b" type: "Convolution" bottom: "conv" top: "conv_b"
        convolution_param { num_output: {{ filters }} kernel_size: 3 pad: 1 } }
{% endif %}
layer { name: "pool" type: "Pooling" bottom: "{{ 'conv_b' if second == 'yes' else 'conv' }}" top: "pool"
        pooling_param { pool: {{ pool }} kernel_size: 2 stride: 2 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" dropout_param { dropout_ratio: {{ dropout }} } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
#    id, generation, genes, fitness (None: diverged)
TRIALS: List[Tuple[int, Optional[int], Tuple[Any, ...], Optional[float]]] = [
    (0, None, (10, 0.001, 0.5, "MAX", "no"), 0.60),
    (1, 0, (2, 0.1, 0.0, "STOCHASTIC", "no"), None),
    (2, 0, (50, 0.0001, 0.9, "AVE", "yes"), 0.30),
    (3, 0, (14, 0.003, 0.25, "MAX", "yes"), 0.66),
    (4, 0, (22, 0.00001, 0.1, "AVE", "no"), 0.45),
    (5, 1, (14, 0.004, 0.3, "MAX", "yes"), 0.70),
    (6, 1, (18, 0.003, 0.25, "MAX", "yes"), 0.68),
    (7, 1, (14, 0.001, 0.1, "AVE", "yes"), 0.64),
]


def write(folder: Path, trials: Sequence[Tuple[int, Optional[int], Tuple[Any, ...], Optional[float]]] = TRIALS,
          generations: int = 2, **run: Any) -> Path:
    """The folder of this run, in `folder`/run; the templates lie beside it."""
    net, solver = folder / "net.j2", folder / "solver.j2"
    net.write_text(NET)
    solver.write_text(SOLVER)
    line = {"search": SEARCH.format(folder=folder, generations=generations), "engine": "caffe", "seed": 9,
            "templates": {"net": sha256_of(net), "solver": sha256_of(solver)}, "test_images": 1000,
            "image_shape": [1, 8, 8], "total": 4 * generations, "generations": generations, "started": 990.0, **run}
    with Journal(folder / "run", fsync=False) as journal:
        journal.begin(line)
        for id, generation, genes, fitness in trials:
            role = DEFAULT if id == 0 else INDIVIDUAL
            journal.add_trial(Trial(id, Genome(NAMES, genes), id, 500, generation, role))
            result = Result(id, "diverged", reason="loss is nan", seconds=3.0) if fitness is None else \
                Result(id, OK, fitness, 2 - fitness, seconds=10.0 + id)
            journal.add_result(result)
    return folder / "run"
