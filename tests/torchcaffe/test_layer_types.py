"""Each layer type on paper and in memory: the rule for its shapes, and the class that computes it."""
from __future__ import annotations

from menndl_caffe import torchcaffe
from menndl_caffe.nets.layer_rules import LAYERS
from menndl_caffe.torchcaffe import layer


def test_both_sides_know_the_same_types() -> None:
    assert torchcaffe.layer_type_list() == sorted(LAYERS)


def test_a_types_rule_and_its_class_are_in_files_of_one_name() -> None:
    rules = {type_: rule.shapes.__module__.rpartition(".")[2] for type_, rule in LAYERS.items()}
    classes = {type_: layer._types[type_].__module__.rpartition(".")[2] for type_ in LAYERS}
    assert rules == classes
