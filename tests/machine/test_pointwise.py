"""Loops over samples give the bits of NumPy and of OpenCV, wherever the samples lie."""

import cv2
import numpy as np
import pytest

from filterworks.arguments import saturate, saturate_counted
from filterworks.errors import MissingDataError
from filterworks.filters import unsharp_mask
from filterworks.filters.edges import _length
from filterworks.machine import pointwise
from filterworks.machine.compiler import obstacle

DEPTHS = {"uint8": cv2.CV_8U, "int8": cv2.CV_8S, "uint16": cv2.CV_16U, "int16": cv2.CV_16S}


def lying(values, offset):
    """The values at an address that is `offset` samples into an array."""
    room = np.empty(values.size + offset, values.dtype)[offset:]
    room[:] = values
    return room


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 15, 1003])
@pytest.mark.parametrize("offset", [0, 1, 3])
def test_lengths(dtype, size, offset):
    rng = np.random.default_rng(size)
    a, b = (rng.normal(scale=100, size=size).astype(dtype) for _ in range(2))
    got = lying(a, offset)
    pointwise.write_length(got, lying(b, 1))
    assert got.tobytes() == np.sqrt(a * a + b * b).tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("out", DEPTHS)
@pytest.mark.parametrize("size", [1, 15, 5003])
def test_rounding(dtype, out, size):
    rng = np.random.default_rng(size)
    values = (rng.integers(-140_000, 140_000, size) / 2).astype(dtype)
    values[: size // 2] /= 256
    row = values.reshape(1, -1)
    got = np.empty(size, out)
    pointwise.write_rounded(lying(values, 1), got)
    assert got.tobytes() == cv2.addWeighted(row, 1.0, row, 0.0, 0.0, dtype=DEPTHS[out]).tobytes()


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "u2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("out", [None, "u1", "i2", "f2", "f4", "f8"])
@pytest.mark.parametrize("threshold", [0, 7.3])
def test_sharpening_gives_the_bits_of_numpy(dtype, out, threshold, monkeypatch):
    x = (np.random.default_rng(1).random((41, 53)) * 200 - (0 if dtype[0] in "?u" else 100)).astype(dtype)
    results = []
    for is_ready in (True, False):
        unsharp_mask(np.ones((300, 300)), 2.0, method="separable")  # the compiler is there
        assert pointwise.is_ready() or not is_ready
        monkeypatch.setattr(pointwise, "is_ready", lambda is_ready=is_ready: is_ready)
        one = unsharp_mask(x, 1.3, 1.7, threshold=threshold, dtype=out and np.dtype(out), method="direct")
        results.append((one.dtype, one.tobytes()))
        monkeypatch.undo()
    assert results[0] == results[1]
    assert obstacle() is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("out", DEPTHS)
@pytest.mark.parametrize("absolute", [False, True])
def test_what_lies_outside_is_counted(dtype, out, absolute, monkeypatch):
    rng = np.random.default_rng(3)
    values = (rng.integers(-140_000, 140_000, (7, 173)) / 2).astype(dtype)
    values[:4] /= 256
    info = np.iinfo(out)
    edges = [info.min - 0.5, info.max + 0.5, info.max + 0.6, info.min - 0.6, np.inf, -np.inf, -0.0]
    values[5, :7] = edges
    results = []
    for is_ready in (True, False):
        monkeypatch.setattr(pointwise, "is_ready", lambda is_ready=is_ready: is_ready)
        values[2, 9] = 1
        made, outside = saturate_counted(values[:, 1:], np.dtype(out), absolute=absolute)
        results.append((made.tobytes(), outside))
        values[2, 9] = np.nan
        with pytest.raises(MissingDataError):
            saturate_counted(values, np.dtype(out), absolute=absolute)
    values[2, 9] = 1
    shown = np.abs(values[:, 1:].astype(np.float64)) if absolute else values[:, 1:].astype(np.float64)
    assert results[0] == results[1]
    assert results[0][1] == np.sum((shown < info.min - 0.5) | (shown > info.max + 0.5))


def test_without_the_compiler_the_bits_are_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(scale=200, size=(2, 31, 77)).astype("float32")
    results = []
    for is_ready in (True, False):
        monkeypatch.setattr(pointwise, "is_ready", lambda is_ready=is_ready: is_ready)
        length = _length(list(x.copy()), x.dtype)
        results.append((length.tobytes(), saturate(length, np.dtype("uint8")).tobytes(),
                        saturate(x[:, ::2, ::3], np.dtype("int16")).tobytes()))  # fmt: skip
    assert results[0] == results[1]
