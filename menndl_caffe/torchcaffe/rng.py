"""Caffe's random numbers, bit for bit: MT19937 and the distributions of Boost 1.74 in float32.

Sources: `common.cpp` (the generator), `math_functions.cpp` (which distribution with which arguments). A Boost before
1.56 draws other values from the same seed. Normal values come from a ziggurat (Marsaglia and Tsang, 2000): layers of
equal area stacked under the density; a point of a random layer is accepted at once where the layer above covers it.
Each value takes as many draws as it needs.

All this is here twice: in `rng.c`, which is compiled where a compiler is, and in NumPy, which is that one's judge and
takes ten times as long. There a run of draws is evaluated as if a value began at every one, and of these values those
are kept that do begin there.

Notation
--------
draw        one number of MT19937, an integer from 0 to 2^32 - 1, called u
f           unnormalised density: exp(-x^2 / 2), or exp(-x) of the exponential distribution
R           where the tail begins: right edge of layer 1, chosen so that the layers close at f = 1
area        of each layer: R f(R) and the tail beyond R
x[i], y[i]  right edge of layer i and y[i] = f(x[i]); x[0] = area / f(R), x[1] = R, x[layers] = 0;
            layer i spans x from 0 to x[i] and, but for layer 0 with the tail, y from y[i] to y[i + 1]
i           the layer of a draw: its low byte (exponential), or that byte's upper 7 bits (normal: bit 0 is the sign)
x           a candidate: x[i] times the upper 24 bits / 2^24
v           height within the layer, u / 2^32 of another draw; y = y[i] + v (y[i + 1] - y[i])
"""
from __future__ import annotations

import ctypes
from functools import cache
from math import erfc, exp, log, pi, sqrt
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from menndl_caffe.compiled import library
from menndl_caffe.errors import UserError

f32 = np.float32
DRAW_MAX = 2**32 - 1
ROUNDS_TO_ONE = 2**32 - 128  # from here on u / 2^32 is 1 in float32; such a draw is discarded
STATE_WORDS = 624
BLOCK = 1 << 15              # so many values at a time, which stay in the processor's cache
LONGEST = 64                 # draws that one normal value may need: the chance of more is below 1e-30
LARGEST = np.finfo(f32).max


class Generator:
    """The random numbers that Caffe makes from `seed` (0 to 2^32 - 1), in Caffe's order of draws."""

    def __init__(self, seed: int) -> None:
        functions = compiled()
        self._twister = ByNumpy(seed) if functions is None else Compiled(seed, functions)

    def draw(self) -> int:
        """One draw, 0 to 2^32 - 1 (`caffe_rng_rand`)."""
        return int(self._twister.draws(1)[0])

    def draws(self, n: int) -> np.ndarray:
        """The next n draws, uint32."""
        return self._twister.draws(n)

    def uniform(self, low: float, high: float, n: int, out: Optional[np.ndarray] = None) -> np.ndarray:
        """n float32 values between low and high, both included (`caffe_rng_uniform`); `out`: a row for them."""
        values = np.empty(n, f32) if out is None else out
        start, stop = f32(low), np.nextafter(f32(high), LARGEST)
        if stop / 2 - start / 2 > LARGEST / 2:
            self._uniform(start / 2, stop / 2, values)
            values *= 2
        else:
            self._uniform(start, stop, values)
        return values

    def gaussian(self, mean: float, std: float, n: int, out: Optional[np.ndarray] = None) -> np.ndarray:
        """n normal float32 values (`caffe_rng_gaussian`); `out`: a row for them."""
        values = np.empty(n, f32) if out is None else out
        with np.errstate(over="ignore", invalid="ignore"):  # infinite where Caffe's are
            self._twister.normals(values, f32(mean), f32(std))
        return values

    def bernoulli(self, p: Union[float, np.float32], n: int) -> np.ndarray:
        """n booleans, each True with probability p, 0 to 1 (`caffe_rng_bernoulli`).

        Computed in the precision of p: Dropout's is a float, `np.float32` that of sparse fillers. For p = 0 Boost does
        not draw.
        """
        if p == 0:
            return np.zeros(n, bool)
        draws = self.draws(n)
        if isinstance(p, np.float32):
            return draws.astype(f32) <= p * f32(DRAW_MAX)
        return draws <= np.uint32(p * DRAW_MAX)

    def shuffle(self, items: List[Any]) -> None:
        """Reorder a list as ImageData's `shuffle` does its images (`util/rng.hpp`)."""
        for last in range(len(items) - 1, 0, -1):
            other = self._below(last + 1)
            items[last], items[other] = items[other], items[last]

    def state(self) -> Dict[str, Any]:
        """All that the next draws depend on, for `set_state`: plain data that JSON can hold."""
        key, position = self._twister.state()
        return {"key": key.tolist(), "pos": position}

    def set_state(self, state: Dict[str, Any]) -> None:
        """Go on where `state` was taken; UserError where it is not such a state."""
        key, position = state["key"], state["pos"]
        if len(key) != STATE_WORDS or not 0 <= position <= STATE_WORDS:
            raise UserError(f"a random generator's state has {STATE_WORDS} words and a position up to {STATE_WORDS}, "
                            f"not {len(key)} words and position {position}")
        self._twister.set_state(np.array(key, np.uint32), position)

    def _uniform(self, start: np.float32, stop: np.float32, values: np.ndarray) -> None:
        done = 0
        while done < len(values):
            some = _scaled(self.draws(min(len(values) - done, BLOCK)), start, stop)
            some = some[some < stop]
            values[done:done + len(some)] = some
            done += len(some)

    def _below(self, n: int) -> int:
        """An integer from 0 to n - 1, by equal ranges of draws for each (Boost's `uniform_int`)."""
        size = 2**32 // n
        while True:
            number = self.draw() // size
            if number < n:
                return number


def _scaled(draws: np.ndarray, start: np.float32, stop: np.float32) -> np.ndarray:
    values = draws.astype(f32)
    values *= f32(2.0**-32)
    values *= stop - start
    values += start
    return values


class ByNumpy:
    """The twister of a seed, and its normal values, where nothing can be compiled."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.MT19937()
        self._numpy = np.random.RandomState(self._bits)
        self._numpy.seed(seed)

    def draws(self, n: int) -> np.ndarray:
        """The next n draws, uint32."""
        return self._numpy.randint(0, 2**32, n, dtype=np.uint32)

    def normals(self, values: np.ndarray, mean: np.float32, std: np.float32) -> None:
        """Fill a row of float32 with normal values."""
        done = 0
        while done < len(values):
            some = self._some(min(len(values) - done, BLOCK))
            values[done:done + len(some)] = some
            done += len(some)
        values *= std
        values += mean

    def state(self) -> Tuple[np.ndarray, int]:
        """The words, and which of them is next."""
        state = self._bits.state["state"]
        return state["key"], int(state["pos"])

    def set_state(self, key: np.ndarray, position: int) -> None:
        """Go on there."""
        self._bits.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": position}}

    def _some(self, most: int) -> np.ndarray:
        """The next standard normal values: at least one, at most so many."""
        before = self._bits.state
        values, used = _normals_of(self.draws(most + LONGEST))
        values = values[:most]
        self._bits.state = before
        self.draws(used[len(values) - 1])
        return values


class Compiled:
    """The same, compiled."""

    def __init__(self, seed: int, functions: Any) -> None:
        self._functions = functions
        self.set_state(*ByNumpy(seed).state())

    def draws(self, n: int) -> np.ndarray:
        """The next n draws, uint32."""
        draws = np.empty(n, np.uint32)
        self._functions.draws(*_addresses(self._words, draws), ctypes.c_int64(n))
        return draws

    def normals(self, values: np.ndarray, mean: np.float32, std: np.float32) -> None:
        """Fill a row of float32 with normal values."""
        self._functions.normals(*_addresses(self._words, values), ctypes.c_int64(len(values)),
                                ctypes.c_float(float(mean)), ctypes.c_float(float(std)), *_layers())

    def state(self) -> Tuple[np.ndarray, int]:
        """The words, and which of them is next."""
        return self._words[:-1], int(self._words[-1])

    def set_state(self, key: np.ndarray, position: int) -> None:
        """Go on there."""
        self._words = np.array([*key, position], np.uint32)


@cache
def compiled() -> Optional[ctypes.CDLL]:
    """The functions of rng.c, None where there are none."""
    return library(Path(__file__).with_name("rng.c"))


@cache
def _layers() -> Tuple[ctypes.Array[Any], ...]:
    """The ziggurats as rng.c takes them: the addresses of their arrays."""
    return tuple((ctypes.c_void_p * len(layers))(*_addresses(*layers)) for layers in (NORMAL, EXPONENTIAL))


def _addresses(*arrays: np.ndarray) -> List[ctypes.c_void_p]:
    return [ctypes.c_void_p(array.ctypes.data) for array in arrays]


class Ziggurat(NamedTuple):
    """The layers under a density; arrays hold one more entry than there are layers, the closing x = 0, f = 1."""

    exact_x: np.ndarray  # float64
    x: np.ndarray        # float32, as are the others
    y: np.ndarray
    widths: np.ndarray   # x[i] - x[i + 1]
    heights: np.ndarray  # y[i + 1] - y[i]


def ziggurat(layers: int, tail: float, area: float, density: Callable[[float], float],
             inverse: Callable[[float], float]) -> Ziggurat:
    """The ziggurat whose tail begins at `tail`, of layers of this area, under a density with this inverse."""
    x = [area / density(tail), tail]
    while len(x) < layers:
        x.append(inverse(density(x[-1]) + area / x[-1]))
    edges = np.array(x + [0.0])
    y = np.array([density(edge) for edge in edges])
    return Ziggurat(edges, edges.astype(f32), y.astype(f32), (edges[:-1] - edges[1:]).astype(f32),
                    (y[1:] - y[:-1]).astype(f32))


NORMAL_TAIL = 3.4426198558966521
NORMAL = ziggurat(128, NORMAL_TAIL,
                  NORMAL_TAIL * exp(-NORMAL_TAIL**2 / 2) + sqrt(pi / 2) * erfc(NORMAL_TAIL / sqrt(2)),
                  density=lambda x: exp(-x * x / 2), inverse=lambda y: sqrt(-2 * log(y)))
EXPONENTIAL_TAIL = 7.6971174701310497
EXPONENTIAL = ziggurat(256, EXPONENTIAL_TAIL, (EXPONENTIAL_TAIL + 1) * exp(-EXPONENTIAL_TAIL),
                       density=lambda x: exp(-x), inverse=lambda y: -log(y))

# By a draw's low byte: the candidate's sign and scale, and below which it is accepted at once.
NORMAL_SCALE = np.repeat(NORMAL.x[:-1], 2) * np.tile(np.array([-1, 1], f32), 128) * f32(2.0**-24)
NORMAL_COVERED = np.repeat(NORMAL.exact_x[1:], 2)


def _normals_of(draws: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """The normal values of a run of draws, and after how many draws each of them was complete."""
    usable = np.flatnonzero(draws < ROUNDS_TO_ONE)
    draws = draws[:usable[-1] + 1]
    low = draws.astype(np.uint8)
    values = (draws >> 8).astype(f32) * NORMAL_SCALE[low]
    complete = np.abs(values) < NORMAL_COVERED[low]
    slow = np.flatnonzero(~complete[:-1])
    heights_at = usable[np.searchsorted(usable, slow + 1)]
    layer = low[slow] >> 1
    accepted = _under_normal(np.abs(values[slow]), layer, draws[heights_at].astype(f32) * f32(2.0**-32))
    free = 0  # the first draw that no value has used yet
    for begin, i, last, inside in zip(slow.tolist(), layer.tolist(), heights_at.tolist(), accepted.tolist()):
        if begin < free:
            continue
        value = values[begin]
        if i == 0:
            try:
                tail, last = _tail(draws, begin + 1)
            except IndexError:  # the run ends within this value
                complete[begin:] = False
                break
            value, inside = np.copysign(tail, value), True
        free = last + 1
        complete[begin:free] = False
        if inside:
            complete[last], values[last] = True, value
    return values[complete], np.flatnonzero(complete) + 1


def _under_normal(x: np.ndarray, i: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Whether the points (x, v) of layers i are under the density, which is convex beyond x = 1, concave below.

    Boost asks chord and tangent first, which, by their rounding, decide otherwise than the density once in 2e9 values.
    That the C library's expf is not always the nearest float32 would decide once in 1e10; this is left out.
    """
    inward = NORMAL.x[i] - x
    y = NORMAL.y[i] + v * NORMAL.heights[i]
    above_chord = NORMAL.widths[i] * v - inward
    above_tangent = y - (NORMAL.y[i] + inward * NORMAL.y[i] * NORMAL.x[i])
    convex = NORMAL.exact_x[i] >= 1
    above_upper = np.where(convex, above_chord, above_tangent)
    above_lower = np.where(convex, above_tangent, above_chord)
    density = np.exp((-(x * x / f32(2))).astype(np.float64)).astype(f32)
    return (above_upper < 0) & ((above_lower < 0) | (y < density))


def _tail(draws: np.ndarray, place: int) -> Tuple[np.float32, int]:
    """A value beyond R from the draws at `place`, and the place of the last that it took; IndexError at their end."""
    while True:
        ahead, place = _exponential(draws, place)
        height, place = _exponential(draws, place)
        x = ahead / NORMAL.x[1]
        if height + height > x * x:
            return x + NORMAL.x[1], place - 1


def _exponential(draws: np.ndarray, place: int) -> Tuple[np.float32, int]:
    """An exponential value from the draws at `place`, and the place after them."""
    shift = f32(0)
    while True:
        u, place = int(draws[place]), place + 1
        i = u & 255
        x = f32((u >> 8) * 2.0**-24) * EXPONENTIAL.x[i]
        if x < EXPONENTIAL.x[i + 1]:
            return shift + x, place
        if i == 0:  # the tail is the whole over again
            shift += EXPONENTIAL.x[1]
            continue
        while draws[place] >= ROUNDS_TO_ONE:
            place += 1
        v, place = f32(draws[place]) * f32(2.0**-32), place + 1
        if EXPONENTIAL.y[i] + v * EXPONENTIAL.heights[i] < f32(exp(-x)):
            return shift + x, place
