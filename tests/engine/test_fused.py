"""Both passes at once give the bits of one after the other, wherever a line is cut and whatever lies outside."""

import numpy as np
import pytest
from scipy import signal

import filterworks as fw
from filterworks import convolution
from filterworks.engine import separable, unstaged, written

RNG = np.random.default_rng(5)
ROWS, LINE = np.array([1.0, -2, 4, 8, 3]), np.array([3.0, 1, -2, 5, 1, 1, 0.5, 2])
KERNEL = np.outer(ROWS, LINE) / 20


@pytest.fixture
def both(monkeypatch):
    """Return a function that filters with and without the fused loop, and tells whether there was one."""

    def filtered(x, kernel=KERNEL, chunk=1 << 13, **options):
        monkeypatch.setattr(unstaged, "_CHUNK", chunk)
        results = []
        for repays in (1 << 60, 1):
            monkeypatch.setattr(written, "_REPAYS", repays)
            written.Written.tallies.clear()
            forget()
            results.append(fw.correlate(x, kernel, method="separable", **options))
        names = {name for (name, _), tally in written.Written.tallies.items() if tally.is_ready}
        return *results, "both_passes" in names

    yield filtered
    forget()


def forget():
    separable._plane.cache_clear()
    convolution._recall.cache_clear()


@pytest.mark.parametrize("boundary", ["constant", "nearest", "symmetric", "mirror", "wrap", "omit"])
@pytest.mark.parametrize("chunk", [160, 8192])
@pytest.mark.parametrize("colours", [1, 3])
def test_lines_in_parts_and_every_boundary(both, boundary, chunk, colours):
    x = RNG.integers(0, 250, (45, 700, colours)).astype(np.uint8)
    expected, found, was_fused = both(x, axes=(0, 1), boundary=boundary, chunk=chunk, dtype=np.uint8)
    assert found.tobytes() == expected.tobytes()
    # The far end of a line is not in the same part of it.
    assert was_fused == (boundary != "wrap" or chunk > 700 * colours)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", "f2", "i4", "f4", "f8"])
@pytest.mark.parametrize("out", [None, "u1", "f8"])
def test_every_dtype(both, dtype, out):
    x = (RNG.random((40, 260)) * 200 - (100 if dtype[0] in "if" else 0)).astype(dtype)
    expected, found, was_fused = both(x, dtype=out and np.dtype(out))
    assert was_fused
    assert found.dtype == expected.dtype
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["same", "valid", "full"])
@pytest.mark.parametrize("dilation", [1, (1, 3), (4, 2)])
@pytest.mark.parametrize("align", ["contiguous", "every second row", "transposed", "reversed"])
def test_modes_holes_and_layouts(both, mode, dilation, align):
    large = RNG.normal(size=(120, 260)).astype(np.float32)
    x = {
        "contiguous": large,
        "every second row": large[::2],
        "transposed": np.asfortranarray(large),
        "reversed": large[::-1],
    }[align]
    expected, found, was_fused = both(x, mode=mode, dilation=dilation)
    assert was_fused
    assert found.tobytes() == expected.tobytes()
    y, x_step = np.broadcast_to(dilation, 2)
    spread = np.zeros(((len(ROWS) - 1) * y + 1, (len(LINE) - 1) * x_step + 1))
    spread[::y, ::x_step] = KERNEL
    exact = signal.correlate(x.astype(np.float64), spread, mode=mode, method="direct")
    np.testing.assert_allclose(found, exact, rtol=0, atol=2e-5)


def test_stacks_of_planes_and_what_lies_outside_of_rows(both):
    x = RNG.normal(size=(3, 9, 200)).astype(np.float32)
    for boundary in ("constant", "mirror"):
        kernel = np.outer(np.arange(1.0, 22), LINE)
        expected, found, was_fused = both(x, kernel, axes=(1, 2), boundary=boundary)
        assert was_fused
        assert found.tobytes() == expected.tobytes()


def test_a_sample_that_is_no_number_stays_in_its_windows(both):
    x = RNG.normal(size=(50, 300)).astype(np.float32)
    x[20, 100], x[30, 0] = np.nan, np.inf
    expected, found, was_fused = both(x)
    assert was_fused
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.isfinite(found).sum() == found.size - 5 * 8 - 5 * 5


@pytest.mark.parametrize("shape", [(7, 300), (50, 60), (50, 95)])
def test_what_is_smaller_than_a_tile_goes_the_other_way(both, shape):
    x = RNG.normal(size=shape).astype(np.float32)
    if shape == (50, 95):
        x = x.astype(np.float64)[:, :47]
    expected, found, was_fused = both(x)
    assert not was_fused
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("vector_bytes", [16, 32])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_narrower_vectors(both, vector_bytes, dtype, monkeypatch):
    for module in ("machine.loops", "machine.unrolled", "engine.taps", "engine.fused"):
        monkeypatch.setattr(f"filterworks.{module}.vector_bytes", lambda: vector_bytes)
    x = (RNG.random((45, 300)) * 250).astype(dtype)
    expected, found, was_fused = both(x, boundary="mirror")
    assert was_fused
    assert found.tobytes() == expected.tobytes()
