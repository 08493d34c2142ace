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
    (r'name: "\xff"', 1, "name", "UTF-8"),
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


CAFFE_TAKES = ["state: < level: 0x1F; >", "force_backward: t", "input_dim: []", "layer [ { name: 'a' }, < top: 'b' > ]",
               "name: 'a' \"b\" # c", "layer { loss_weight: [1f, .5, 1e-3, -inf, NaN, 5.] }",
               "state { phase: 1, level: - 5 }", "layer { param {}; }"]
REFUSED_ONLY_HERE = {r'name: "\xff"'}  # C++ keeps such bytes in a text; Python's messages cannot hold them


def test_real_caffe_takes_and_refuses_the_same(caffe_root: Path, tmp_path: Path) -> None:
    taken = CAFFE_TAKES + SPELLINGS
    refused = [text for text, *_ in MISTAKES if text not in REFUSED_ONLY_HERE]

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


def test_no_text_makes_the_search_for_tokens_slow() -> None:
    comments = "\n".join("#" * 200 + " # ' \"" for _ in range(200))
    hard = "name: 'a'" + " " * 5000 + comments + "\n" + "-" * 2000 + "'" * 2001
    with pytest.raises(PrototxtError):
        prototxt.parse(hard, NET)
