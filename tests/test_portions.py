"""Bands of the first axis equal the whole, for every boundary and for data with gaps."""

import itertools

import numpy as np
import pytest

import filterworks as fw
from filterworks import portions
from tests.reference import filtered

BOUNDARIES = ("constant", "nearest", "symmetric", "mirror", "wrap", "omit")


@pytest.fixture
def small_bands(monkeypatch):
    monkeypatch.setattr(portions, "_BAND", 20)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    ("shape", "sizes", "axes"),
    [((60, 7), (3, 4), None), ((500,), (6,), None), ((40, 9, 3), (3, 2), (0, 1)), ((30, 12), (5,), (1,))],
)
def test_data_with_gaps_in_bands_equal_the_definition(small_bands, boundary, shape, sizes, axes):
    rng = np.random.default_rng(5)
    x = rng.normal(size=shape)
    x[rng.random(shape) < 0.1] = np.nan
    x[(x.shape[0] // 2, *(0,) * (x.ndim - 1))] = np.inf
    kernel = rng.random(sizes) + 0.1
    for stride, mode, policy in itertools.product((1, 2), ("same", "full"), ("propagate", "omit")):
        options = {"boundary": boundary, "stride": stride, "mode": mode, "nan_policy": policy, "axes": axes}
        expected = filtered(x, kernel, flip=False, **options)
        for method in ("auto", "fft", "opencv", "plain"):
            got = fw.correlate(x, kernel, method=method, **options)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("origin", [-30, -4, 0, 3, 29])
def test_bands_that_lie_outside_altogether(small_bands, origin):
    x = np.random.default_rng(0).normal(size=(90, 2))
    kernel = np.arange(1.0, 62).reshape(61, 1)
    for boundary in ("constant", "omit", "wrap"):
        options = {"boundary": boundary, "origin": (origin, 0), "nan_policy": "omit"}
        x[3, 1] = np.nan
        np.testing.assert_allclose(
            fw.correlate(x, kernel, **options),
            filtered(x, kernel, flip=False, **options),
            rtol=1e-9,
            atol=1e-9,
        )


@pytest.mark.parametrize(("dtype", "options"), [
    ("float32", {"boundary": "omit"}), ("float64", {"boundary": "omit"}), ("uint8", {"boundary": "omit"}),
    ("float64", {"method": "fft"}), ("float32", {"nan_policy": "omit"}), ("float64", {"boundary": "mirror"}),
])  # fmt: skip
def test_no_more_than_two_copies_and_64_mib(dtype, options):
    import tracemalloc

    x = np.ones((2600, 2000), dtype)
    if dtype != "uint8":
        x[100, 100] = np.nan
    kernel = np.random.default_rng(0).random((9, 9))
    fw.correlate(x[:200, :200], kernel, **options)
    tracemalloc.start()
    try:
        out = fw.correlate(x, kernel, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak - out.nbytes <= 2 * x.nbytes + (64 << 20)
