"""Mistakes in a text: each refused where real Caffe refuses it, and named with line, field and what is valid."""
from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import List, Tuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.errors import UserError
from menndl_caffe.nets import prototxt
from menndl_caffe.nets.prototxt import PrototxtError
from tests.test_prototxt import NET, SEARCH, SPELLINGS

MISTAKES: List[Tuple[str, int, str, str]] = [  # text, line, field, what the error says among the rest
    ('name: "a"\nlayr { }', 2, "layr", "did you mean layer"),
    ('layer {\n convolution_param {\n  kernel_sise: 3 } }', 3, "layer[0].convolution_param.kernel_sise",
     "is no field of ConvolutionParameter; did you mean kernel_size"),
    ('layer { }\nlayer { top: "a" top: 5 }', 2, "layer[1].top[1]", "expected a text in quotes, found 5"),
    ("layer { name: conv1 }", 1, "layer[0].name", "expected a text in quotes, found conv1"),
    ('layer { name: "conv1 }\n}', 1, "layer[0].name", 'begins with " but does not end on its line'),
    (r'name: "C:\quick"', 1, "name", r"unknown escape \q; valid: \n"),
    ("layer { pooling_param { pool: MAXX } }", 1, "layer[0].pooling_param.pool",
     "found MAXX; did you mean MAX? valid: AVE, MAX, STOCHASTIC"),
    ('state { phase: "TEST" }', 1, "state.phase", 'found "TEST"; did you mean TEST?'),
    ("state { phase: 7 }", 1, "state.phase", "found 7; valid: TEST, TRAIN"),
    ("state { level: 2147483648 }", 1, "state.level", "in -2147483648..2147483647, found 2147483648"),
    ("state { level: 1.0 }", 1, "state.level", "a whole number"),
    ("state { level: 08 }", 1, "state.level", "found 08"),
    ("layer { inner_product_param {\nnum_output: -1 } }", 2, "layer[0].inner_product_param.num_output",
     "in 0..4294967295, found -1"),
    ("layer { embed_param { input_dim: 4294967296 } }", 1, "layer[0].embed_param.input_dim", "found 4294967296"),
    ("layer { embed_param { input_dim: -0 } }", 1, "layer[0].embed_param.input_dim", "found -0"),
    ('layer { embed_param { input_dim: "64" } }', 1, "layer[0].embed_param.input_dim", 'found "64"'),
    ("input_shape { dim: 9223372036854775808 }", 1, "input_shape[0].dim[0]", "in -9223372036854775808..92233"),
    ("layer { loss_weight: 0x10 }", 1, "layer[0].loss_weight[0]", "expected a number, found 0x10"),
    ("layer { loss_weight: 1,5 }", 1, "layer[0]", "expected the name of a field or '}', found 5"),
    ("layer { loss_weight: 1top: 2 }", 1, "layer[0].loss_weight[0]", "found 1top"),
    ("force_backward: yes", 1, "force_backward", "expected true or false, found yes"),
    ("force_backward: 2", 1, "force_backward", "expected true or false, found 2"),
    ('name: "a"\n\nname: "b"', 3, "name", "given twice; line 1 has it already"),
    ("state { }\nstate { level: 1 }", 2, "state", "given twice; line 1"),
    ("name 'a'", 1, "name", "expected ':' after the name, found 'a'"),
    ("name =\n'a'", 1, "name", "expected ':' after the name, found '='"),
    ("name:\n", 2, "name", "found the end of the text"),
    ("layer: 'conv'", 1, "layer[0]", "expected '{' and fields of LayerParameter, found 'conv'"),
    ("state: [ { } ]", 1, "state", "expected '{' and fields of NetState, found '['"),
    ("input_dim: [1, 2\n 3]", 2, "input_dim[1]", "expected ',' or ']' after it, found 3"),
    ("input_dim: [1, 2, ]", 1, "input_dim[2]", "found ']'"),
    ("layer { [a.b]: 1 }", 1, "layer[0]", "found '['"),
    ('name: "a" // why', 1, "", "found '/'; comments begin with #"),
    ("layer { } }", 1, "", "found '}'; no '{' is open"),
    ("layer {\n name: 'a' >", 2, "layer[0]", "expected the name of a field or '}', found '>'"),
    ("layer { }\nlayer {\n pooling_param {\n }\n\n", 2, "layer[1]", "'{' is never closed; expected a '}'"),
    ("layer {\n pooling_param {\n pool: AVE\n bottom: 'a' }", 4, "layer[0].pooling_param.bottom",
     "is no field of PoolingParameter but of LayerParameter; is a '}' missing for the '{' of line 2?"),
    ("layer {\n clip_param {\n min: 1 } }", 2, "layer[0].clip_param.max", "is missing"),
    ("layer {\n pooling_param { ceil_mode: false } }", 2, "layer[0].pooling_param.ceil_mode",
     "is no field of PoolingParameter; Caffe 1.0 has round_mode: FLOOR for ceil_mode: false, and CEIL, its default"),
    ('layer { name: "r" roi_pooling_param { pooled_w: 6 } bottom: "a" type: "ROIPooling" }', 1,
     "layer[0].roi_pooling_param",
     "is no field of LayerParameter, and layer r has type ROIPooling (Caffe 1.0 has no ROIPooling: misspelt, or"),
    ('layer { name: "r" include { phase: TEST } roi_pooling_param { } type: "Pooling" }', 1,
     "layer[0].roi_pooling_param", "is no field of LayerParameter; did you mean pooling_param"),
    ("layers { type: ROI_POOLING }", 1, "layers[0].type",
     "found ROI_POOLING; did you mean POOLING? (Caffe 1.0 has no ROI_POOLING: misspelt, or of a fork)"),
    ("\ufeffname: 'a'", 1, "", r"found '\ufeff'"),
    ("name: 'a' \0", 1, "", r"found '\x00'"),
]


@pytest.mark.parametrize("text, line, field, part", MISTAKES)
def test_mistakes_are_named(text: str, line: int, field: str, part: str) -> None:
    with pytest.raises(PrototxtError) as caught:
        prototxt.parse(text, NET, "net.prototxt")
    assert str(caught.value).startswith(f"net.prototxt:{line}: {field}{': ' if field else ''}"), caught.value
    assert part in str(caught.value) and "\n" not in str(caught.value)
    assert isinstance(caught.value, UserError)


def test_one_kind_of_range_only() -> None:
    with pytest.raises(PrototxtError) as caught:
        prototxt.parse("gene {\n int_range { }\n real_range { } }", SEARCH, "s")
    assert str(caught.value) == ("s:3: gene[0].real_range: excludes int_range of line 2; "
                                 "expected one of choice, int_range, real_range")


CAFFE_TAKES = [r'name: "\xff"', r'layer { name: "\312\375" bottom: "\xe9" }',
               "state: < level: 0x1F; >", "force_backward: t", "input_dim: []", "layer [ { name: 'a' }, < top: 'b' > ]",
               "name: 'a' \"b\" # c", "layer { loss_weight: [1f, .5, 1e-3, -inf, NaN, 5.] }",
               "state { phase: 1, level: - 5 }", "layer { param {}; }"]

def test_real_caffe_takes_and_refuses_the_same(caffe_root: Path, tmp_path: Path) -> None:
    taken = CAFFE_TAKES + SPELLINGS
    refused = [text for text, *_ in MISTAKES]

    def caffe_reads(text: str) -> bool:
        file = tmp_path / f"{abs(hash(text))}.prototxt"
        file.write_bytes(text.encode())
        tool = [str(caffe_root / "bin" / "upgrade_net_proto_text"), str(file), f"{file}.out"]
        return subprocess.run(tool, capture_output=True, timeout=600).returncode == 0

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = {text for text, reads in zip(taken + refused, pool.map(caffe_reads, taken + refused)) if reads}
    assert read == set(taken)
    for text in taken:
        prototxt.parse(text, NET)


WORDS = "layer name top state level phase TEST loss_weight { } < > [ ] : , ; # 'a' ' \" \\ 1 - .5 1e 0x é"
TOKENS = st.sampled_from([*WORDS.split(), " ", "\n", "\0"])


@settings(max_examples=300, deadline=None)
@given(st.lists(TOKENS, max_size=30).map("".join))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    try:
        prototxt.parse(text, NET, "file")
    except PrototxtError as error:
        match = re.match(r"file:(\d+): ", str(error))
        assert match and 1 <= int(match[1]) <= text.count("\n") + 1


@pytest.mark.parametrize("name, text, said", [
    ("a string without an end", 'name: "' + r'\"' * 50_000, 'name: the text begins with " but does not end on its'),
    ("many of them", '"\\"' * 50_000, "expected the name of a field, found"),
    ("a whole number", "input_dim: 1" + "0" * 300_000, "input_dim[0]: expected a whole number in -2147483648..2147"),
    ("a field", "x" * 300_000 + ": 1", "x" * 37 + "...: is no field of NetParameter"),
    ("a field's beginning", "layer { type: 'Conv' " + "input_" * 50_000 + "}", "layer[0].input_input_"),
    ("an enum", "layer { pooling_param { pool: " + "M" * 300_000 + " } }", "layer[0].pooling_param.pool: expected"),
])
def test_long_ones_are_refused_at_once(name: str, text: str, said: str) -> None:
    """What is quadratic in their length takes minutes here."""
    with pytest.raises(PrototxtError) as error:
        prototxt.parse(text, NET, "file")
    assert str(error.value).startswith(f"file:1: {said}") and len(str(error.value)) < 400


def test_names_in_bytes_of_other_encodings_are_read_and_stay_distinct(tmp_path: Path) -> None:
    """GBK, Latin-1 and UTF-8, as bytes and as escapes; where menndl itself writes, in search files, UTF-8 alone."""
    (tmp_path / "net").write_bytes(b'layer { name: "\xca\xfd" top: "caf\xe9" } layer { name: "caf\xc3\xa9" }'
                                   + rb'layer { name: "\312\375" bottom: "caf\xe9" }')
    first, second, third = prototxt.load(tmp_path / "net", NET).message.layer
    assert (first.name, first.top[0], second.name) == (b"\xca\xfd".decode("latin-1"), "caf\xe9", "caf\xe9")
    assert (third.name, third.bottom[0]) == (first.name, first.top[0])
    with pytest.raises(PrototxtError, match="search:1: net: expected a text of UTF-8"):
        prototxt.parse(r'net: "caf\xe9"', SEARCH, "search")


def test_no_text_makes_the_search_for_tokens_slow() -> None:
    comments = "\n".join("#" * 200 + " # ' \"" for _ in range(200))
    hard = "name: 'a'" + " " * 5000 + comments + "\n" + "-" * 2000 + "'" * 2001
    with pytest.raises(PrototxtError):
        prototxt.parse(hard, NET)
