"""Digits and doubles, both ways, beside Python's own."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from filterworks.machine.decimals import double_bits, powers, write_number
from filterworks.machine.intrinsics import Bytes, Integers, double_of
from filterworks.machine.translation import translated

RNG = np.random.default_rng(0)
SAMPLES = {
    "any bits": RNG.integers(0, 2**64, 60_000, dtype=np.uint64).view(np.float64),
    "normal": RNG.normal(size=60_000),
    "four decimals": RNG.normal(size=20_000).round(4),
    "whole": RNG.integers(-(10**9), 10**9, 20_000).astype(float),
    "wide": np.exp(RNG.normal(size=30_000) * 30),
    "around 1e16": (RNG.normal(size=20_000) * 1e16).round(),
    "powers of two": 2.0 ** np.arange(-1074, 1024),
    "powers of ten": 10.0 ** np.arange(-323, 309),
    "subnormal": RNG.integers(1, 2**52, 10_000, dtype=np.uint64).view(np.float64),
    "edges": np.array(
        [0.0, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-5, 9e-6, 1e15, 1e16, 2**53]
    ),
}


@translated
def write_all(values: Integers, count: int, out: Bytes, table: Integers, found: Integers) -> int:
    place = 0
    for i in range(count):
        place = write_number(double_of(values[i]), out, place, 46, table, found)
        out[place] = 10
        place = place + 1
    return place


@pytest.mark.parametrize("name", SAMPLES)
def test_the_shortest_digits_are_those_of_polars_and_read_back(name):
    values = np.ascontiguousarray(SAMPLES[name][np.isfinite(SAMPLES[name])])
    out = np.zeros(values.size * 34 + 64, np.uint8)
    found = np.zeros(1, np.int64)
    size = write_all.compiled(
        values.ctypes.data, values.size, out.ctypes.data, powers().ctypes.data, found.ctypes.data
    )
    text = out[:size].tobytes()
    assert text == pl.DataFrame({"": values}).write_csv(include_header=False).encode()
    read = np.array([float(line) for line in text.split()])
    assert read.tobytes() == values.tobytes()


def as_double(digits, exponent):
    signed = digits - (1 << 64) if digits >= 1 << 63 else digits
    bits = double_bits.compiled(signed, exponent, powers().ctypes.data)
    return None if bits < 0 else float(np.int64(bits).view(np.float64))


@pytest.mark.parametrize("count", [1, 5, 15, 16, 17, 18, 19])
def test_digits_give_the_nearest_double(count):
    for exponent in range(-340, 310, 3):
        for digits in RNG.integers(10 ** (count - 1), 10**count, 4, dtype=np.uint64).tolist():
            got = as_double(digits, exponent)
            assert got is None or got == float(f"{digits}e{exponent}")
            if 1e-300 < float(f"{digits}e{exponent}") < 1e300:
                assert got is not None


@pytest.mark.parametrize(
    ("digits", "exponent"),
    [
        (9007199254740993, 0),
        (9007199254740995, 0),
        (18014398509481985, -1),
        (2**64 - 1, 0),
        (1, 23),
        (5, -1),
        (0, 5),
    ],
)
def test_halfway_goes_to_even(digits, exponent):
    assert as_double(digits, exponent) == float(f"{digits}e{exponent}")


@pytest.mark.parametrize(("digits", "exponent"), [(1, 309), (2, 308), (1, -324), (1, -400), (1, 5000)])
def test_what_is_too_large_or_small_is_left_to_others(digits, exponent):
    assert as_double(digits, exponent) is None
