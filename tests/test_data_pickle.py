"""Pickles that are not CIFAR-10's: none is executed, every one is refused with one line."""
from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path
from typing import Any, Tuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from menndl_caffe.data.inert_pickle import read_batch
from menndl_caffe.errors import UserError

LABELS = [3, 0, 9, 1]
PIXELS = np.random.RandomState(1).randint(0, 256, (4, 30)).astype(np.uint8)
VALID = pickle.dumps({b"labels": LABELS, b"data": PIXELS}, protocol=2)


class Calls:
    """Pickles as a call of `function`, the usual way of an attack."""

    def __init__(self, function: Any, *arguments: Any):
        self.call: Tuple[Any, Tuple[Any, ...]] = function, arguments

    def __reduce__(self) -> Tuple[Any, Tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(5))
def test_numpy_arrays_of_every_protocol(protocol: int) -> None:
    labels, pixels = read_batch(pickle.dumps({"labels": LABELS, "data": PIXELS}, protocol=protocol))
    assert labels.tolist() == LABELS
    assert (pixels == PIXELS).all()


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("where", ["data", "labels", "extra"])
def test_a_call_is_refused_and_not_made(tmp_path: Path, protocol: int, where: str) -> None:
    mark = tmp_path / "mark"
    batch = {"labels": LABELS, "data": PIXELS, where: Calls(os.mkdir, str(mark))}
    pickled = pickle.dumps(batch, protocol=protocol)
    with pytest.raises(UserError, match=r"asks for posix.mkdir \(before byte \d+ of \d+\); nothing in it was executed"):
        read_batch(pickled)
    assert not mark.exists()
    pickle.loads(pickled)
    assert mark.exists(), "the attack would have worked"


@pytest.mark.parametrize("attack", [
    b"cos\nsystem\n(S'true'\ntR.",
    b"c__builtin__\neval\n(S'1'\ntR.",
    b"cbuiltins\ngetattr\n(cnumpy\ndtype\nS'mro'\ntR.",
    b"(S'true'\nios\nsystem\n.",
    b"(cos\nsystem\nS'true'\no.",
    b"cnumpy.core.multiarray\n__builtins__\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.",
    b"\x80\x02cnumpy\nndarray\n)\x81.",
    b"P1\n.",
    b"\x80\x02\x82\x01.",
], ids=range(10))
def test_other_ways_to_a_name(attack: bytes) -> None:
    with pytest.raises(UserError, match="not a pickle of CIFAR-10"):
        read_batch(attack)


def test_known_names_do_nothing_when_called() -> None:
    """numpy's own `_reconstruct` would allocate 1 TB here, or fail."""
    huge = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L1099511627776L\ntS'b'\ntR."
    with pytest.raises(UserError, match="does not hold the dict"):
        read_batch(huge)


@pytest.mark.parametrize("bomb", [
    b"\x80\x02Nr\xff\xff\xff\x7f.",                              # memo number 2**31 - 1
    b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x.",        # bytes of 4 EB
    b"\x80\x02" + b"(" * 100_000 + b"l" * 100_000 + b".",       # deep nesting
])
def test_bombs_do_not_go_off(bomb: bytes) -> None:
    with pytest.raises(UserError, match="pickle"):
        read_batch(bomb)


@pytest.mark.parametrize(("bomb", "said"), [
    (b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.", "a key that is no text"),  # its hash takes all of the stack
    (b"\x80\x02}](K\x01e" + b"\x85" * 300_000 + b"K\x01s.", "a key that is no text"),
    (b"((t" + b"\x85" * 300_000 + b"K\x01d.", "a dict made of a list"),
    (b"\x80\x04\x8f(" + b")" + b"\x85" * 300_000 + b"\x90.", "opcode .* which no batch has"),  # a set
    (b"\x80\x02" + b"]" * 3_000_000, "more than 500,000 opcodes"),  # 56 bytes of memory for each byte
    (b"\x80\x02" + b"}0" * 3_000_000, "no batch has"),
    (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b".", "no batch has"),  # a bytearray of 1 TB
    (b"I" + b"9" * 3_000_000 + b"\n.", "a number of 3000001 characters"),  # hours, in old Pythons
    (b"L" + b"9" * 3_000_000 + b"L\n.", "a number of 3000002 characters"),
    (b"Np" + b"9" * 3_000_000 + b"\n.", "a number of 3000001 characters"),
    (b"g" + b"9" * 3_000_000 + b"\n.", "a number of 3000001 characters"),
    (b"\x80\x04cnumpy\ndtype\nB" + struct.pack("<I", 3_000_000) + bytes(3_000_000) + b"R.",
     "arguments that are no tuple"),
    (b"\x80\x02cnumpy\n\x1b[2J" + b"x" * 3000 + b"\n.", r"asks for numpy.\\u001b\[2Jx{60,80} "),
])
def test_no_stack_no_time_and_no_memory_is_lent_to_a_pickle(bomb: bytes, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_batch(bomb)


def test_what_is_nested_deep_and_is_no_key_does_no_harm() -> None:
    nested = b"\x80\x02}(X\x01\0\0\0a)" + b"\x85" * 300_000 + b"X\x06\0\0\0labels](K\x01eu."
    with pytest.raises(UserError, match="no 'data'"):
        read_batch(nested)


def test_an_array_of_a_size_in_digits_is_refused() -> None:
    shaped = VALID.replace(b"K\x04K\x1e\x86", b"X\x01\0\0\0" + b"4K\x1e\x86")
    assert shaped != VALID
    with pytest.raises(UserError, match="'data' are not an array of bytes"):
        read_batch(shaped)


@pytest.mark.parametrize(("batch", "said"), [
    ([1, 2], "does not hold the dict"),
    ({"data": PIXELS}, "no 'labels': it holds data"),
    ({"fine_labels": LABELS, "labels": LABELS}, "no 'data'"),
    ({"labels": tuple(LABELS), "data": PIXELS}, "'labels' are not a list"),
    ({"labels": [1, 2, 17, 3], "data": PIXELS}, "label 17 at record 2; 0 to 9"),
    ({"labels": [1, 2, -1, 3], "data": PIXELS}, "label -1 at record 2"),
    ({"labels": [1, "x", 3], "data": PIXELS}, "label str at record 1"),
    ({"labels": [1, 10 ** 500, 3], "data": PIXELS}, "label int at record 1"),
    ({}, "no 'labels': it holds nothing"),
    ({"labels": LABELS, "data": PIXELS.astype(np.float32)}, "'data' are not an array of bytes"),
    ({"labels": LABELS, "data": np.asfortranarray(PIXELS)}, "'data' are not an array of bytes"),
    ({"labels": LABELS, "data": PIXELS.tolist()}, "'data' are not an array of bytes"),
    ({"labels": LABELS, "data": np.array([None])}, "'data' are not an array of bytes"),
])
def test_batches_of_another_kind(batch: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_batch(pickle.dumps(batch, protocol=2))


@settings(max_examples=300, deadline=None)
@given(st.one_of(
    st.binary(max_size=60),
    st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)).map(
        lambda change: VALID[:change[0]] + bytes([change[1]]) + VALID[change[0] + 1:]),
    st.integers(0, len(VALID) - 1).map(lambda length: VALID[:length])))
def test_damage_is_an_error_of_the_user_or_harmless(pickled: bytes) -> None:
    try:
        labels, pixels = read_batch(pickled)
    except UserError:
        return
    assert labels.dtype == pixels.dtype == np.uint8
