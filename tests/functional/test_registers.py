"""Layers by compiled loops equal those by matrix products, whatever the geometry."""

import numpy as np
import pytest

from filterworks import functional
from filterworks.functional import direct, registers
from filterworks.functional.columns import correlate_by_columns
from filterworks.functional.registers import correlate_by_registers, registers_can
from filterworks.shapes import spread_size
from filterworks.tiles import Window


def random_layer(rng, dtype):
    groups, outputs, channels, batch = (int(rng.integers(1, n)) for n in (4, 10, 7, 3))
    windows = []
    for size in (rng.integers(1, 4), rng.integers(1, 9), rng.integers(1, 90)):
        kernel, stride, dilation = (int(rng.integers(1, n)) for n in (4, 3, 3))
        span = spread_size(kernel, dilation)
        low = int(rng.integers(0, span))
        out = max((int(size) + 2 * low - span) // stride + 1, 0)
        windows.append(Window(int(size), out, kernel, stride, dilation, low))
    x = rng.normal(size=(batch, groups * channels, *(w.size for w in windows))).astype(dtype)
    weight = rng.normal(size=(groups, outputs, channels, *(w.kernel for w in windows))).astype(dtype)
    bias = rng.normal(size=(groups, outputs)).astype(dtype) if rng.random() < 0.5 else None
    return x, weight, tuple(windows), bias, (batch, groups, outputs, *(w.out for w in windows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(60))
def test_any_layer_equals_the_matrix_product(dtype, seed):
    rng = np.random.default_rng(seed)
    x, weight, windows, bias, shape = random_layer(rng, dtype)
    if 0 in shape:
        return
    boundary = [None, "nearest", "wrap"][seed % 3]
    got, expected = np.full(shape, np.nan, dtype), np.empty(shape, np.float64)
    correlate_by_registers(x, weight, windows, got, bias, boundary)
    exact = [a if a is None else a.astype(np.float64) for a in (x, weight, bias)]
    correlate_by_columns(exact[0], exact[1], windows, expected, exact[2], boundary)
    scale = np.abs(x).max() * np.abs(weight).sum(axis=(2, 3, 4, 5)).max() + 1
    assert np.abs(got - expected).max() <= (2e-6 if dtype == "float32" else 1e-14) * scale


def test_strided_views_and_foreign_dtypes_are_read_and_written():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (2, 3, 1, 20, 140)).astype(np.uint8)[:, :, :, ::2, ::2]
    weight = rng.normal(size=(1, 5, 3, 1, 3, 3)).astype(np.float32)
    windows = (Window(1, 1), Window(10, 10, 3, low=1), Window(70, 70, 3, low=1))
    wide = np.full((2, 1, 5, 1, 20, 140), 7, np.float32)
    out = wide[..., ::2, ::2]
    correlate_by_registers(x, weight, windows, out, None, None)
    expected = np.empty(out.shape, np.float32)
    correlate_by_columns(x.astype(np.float32), weight, windows, expected, None, None)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-3)
    assert (wide[..., 1::2, :] == 7).all()
    assert (wide[..., 1::2] == 7).all()


def test_nan_stays_in_its_windows():
    x = np.ones((1, 2, 1, 9, 64), np.float32)
    x[0, 1, 0, 4, 30] = np.nan
    weight = np.zeros((1, 4, 2, 1, 3, 3), np.float32)
    windows = (Window(1, 1), Window(9, 9, 3, low=1), Window(64, 64, 3, low=1))
    out = np.empty((1, 1, 4, 1, 9, 64), np.float32)
    correlate_by_registers(x, weight, windows, out, None, None)
    found = np.argwhere(np.isnan(out[0, 0, 2, 0]))
    assert found.min(axis=0).tolist() == [3, 29]
    assert found.max(axis=0).tolist() == [5, 31]
    assert len(found) == 9


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_layers_take_this_way_and_small_ones_do_not(dtype, monkeypatch):
    monkeypatch.setattr(registers.planner, "is_worth_starting", lambda engine, saving: True)
    calls = []

    def spy(*arguments):
        calls.append(arguments)
        correlate_by_registers(*arguments)

    monkeypatch.setattr(direct, "correlate_by_registers", spy)
    rng = np.random.default_rng(1)
    x, weight = rng.normal(size=(1, 8, 60, 64)).astype(dtype), rng.normal(size=(16, 4, 3, 3)).astype(dtype)
    functional.conv2d(x, weight, groups=2, padding=1)
    assert len(calls) == 1
    functional.conv2d(x[..., :8, :8], weight, groups=2, padding=1)
    functional.conv2d(x.astype(complex), weight, groups=2, padding=1)
    assert len(calls) == 1
    windows = (Window(1, 1), Window(60, 60, 3, low=1), Window(64, 64, 3, low=1))
    layer = weight.reshape(2, 8, 4, 1, 3, 3)
    out = np.empty((1, 2, 8, 1, 60, 64), dtype)
    assert registers_can(layer, windows, out)
    monkeypatch.setattr(registers, "obstacle", lambda: "no compiler")
    assert not registers_can(layer, windows, out)
