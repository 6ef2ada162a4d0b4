"""Sharpening in one pass gives the bits of smoothing and then sharpening."""

from dataclasses import replace

import numpy as np
import pytest

from filterworks import kernels
from filterworks.convolution import correlate_factors
from filterworks.engine import sharpened, unstaged, written
from filterworks.problem import outer_weights
from filterworks.request import DEFAULTS, make_request

RNG = np.random.default_rng(12)
FACTORS = (kernels.gaussian_factor(1.3, 3.0), kernels.gaussian_factor(0.8, 4.0))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(written, "_REPAYS", 1)
    yield
    sharpened.prepare.cache_clear()


def prepared(x, amounts, *, keep=None, boundary="symmetric", axes=(0, 1), factors=FACTORS):
    options = {**DEFAULTS, "axes": axes, "boundary": boundary}
    problem = replace(make_request(x, outer_weights(factors), False, options)[0].problem, wanted=x.dtype)
    centre = tuple(low for low, _ in problem.padding)
    if keep is not None:
        padding = tuple(
            (low - kept.start, high - x.shape[axis] + kept.stop)
            for (low, high), kept, axis in zip(problem.padding, keep, axes, strict=True)
        )
        problem = replace(problem, padding=padding)
    return sharpened.prepare(problem, centre, *amounts)


def expected(x, amounts, boundary="symmetric", axes=(0, 1)):
    """Return pixels and how many were cut, NumPy step by step, each rounded to single precision."""
    smooth = correlate_factors(x, FACTORS, {"axes": axes, "boundary": boundary, "method": "separable"})
    detail = x.astype(np.float32) - smooth
    detail[np.abs(detail) < np.float32(amounts[1])] = 0
    values = detail * np.float32(amounts[0]) + x.astype(np.float32)
    top = np.iinfo(x.dtype).max
    outside = int(((values < -0.5) | (values > top + 0.5)).sum())
    return np.clip(np.rint(values), 0, top).astype(x.dtype), outside


@pytest.mark.parametrize("boundary", ["constant", "nearest", "symmetric", "mirror", "wrap"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("amounts", [(1.0, 0.0), (7.5, 0.0), (2.0, 20.0), (0.0, 0.0)])
def test_every_boundary_and_amount(boundary, dtype, amounts):
    x = RNG.integers(0, np.iinfo(dtype).max, (53, 301), dtype, endpoint=True)
    made, cut = prepared(x, amounts, boundary=boundary).sharpen(x)
    wanted, outside = expected(x, amounts, boundary)
    assert made.tobytes() == wanted.tobytes()
    assert cut == outside
    assert (cut > 0) == (amounts[0] > 0)


@pytest.mark.parametrize("chunk", [900, 8192])
@pytest.mark.parametrize("threads", [1, 4])
def test_blocks_overlap_and_count_nothing_twice(chunk, threads, monkeypatch):
    monkeypatch.setattr(unstaged, "_CHUNK", chunk)
    monkeypatch.setattr(unstaged, "usable_threads", lambda: threads)
    monkeypatch.setattr("filterworks.engine.field._WORTH_A_THREAD", 0)
    monkeypatch.setattr("filterworks.engine.field._WORTH_A_BLOCK", 0)
    x = RNG.integers(0, 256, (2, 131, 407, 3), np.uint8)
    one = prepared(x, (3.0, 0.0), axes=(1, 2))
    assert one.block_count == 2 * (2 if chunk == 900 else 1) * (1 if threads == 1 else 5)
    made, cut = one.sharpen(x)
    wanted, outside = expected(x, (3.0, 0.0), axes=(1, 2))
    assert made.tobytes() == wanted.tobytes()
    assert cut == outside


def test_a_part_of_the_result():
    x = RNG.integers(0, 256, (70, 330, 3), np.uint8)
    keep = (slice(5, 61), slice(3, 328))
    made, cut = prepared(x, (3.0, 1.0), keep=keep).sharpen(x)
    whole, _ = expected(x, (3.0, 1.0))
    assert made.tobytes() == np.ascontiguousarray(whole[keep]).tobytes()
    every = prepared(x, (3.0, 1.0), keep=(slice(0, 70), slice(0, 330))).sharpen(x)[1]
    assert 0 < cut < every


@pytest.mark.parametrize("vector_bytes", [16, 32])
def test_narrower_vectors(vector_bytes, monkeypatch):
    for module in ("machine.loops", "machine.unrolled", "engine.taps", "engine.fused"):
        monkeypatch.setattr(f"filterworks.{module}.vector_bytes", lambda: vector_bytes)
    x = RNG.integers(0, 256, (45, 301), np.uint8)
    made, cut = prepared(x, (4.0, 0.0)).sharpen(x)
    wanted, outside = expected(x, (4.0, 0.0))
    assert (made.tobytes(), cut) == (wanted.tobytes(), outside)


def test_what_it_is_not_for(monkeypatch):
    x = RNG.integers(0, 256, (64, 300), np.uint8)
    assert prepared(x, (1.0, 0.0)) is not None
    for other in (x.astype(np.int16), x.astype(np.float32), x.astype(np.uint32), x[:7], x[:, :20]):
        assert prepared(other, (1.0, 0.0)) is None
    assert prepared(x, (1.0, 0.0), boundary="omit") is None
    assert prepared(x, (1.0, 0.0), factors=(np.ones(3) / 3, FACTORS[1])) is None
    monkeypatch.setattr(written, "_REPAYS", 1 << 60)
    sharpened.prepare.cache_clear()
    written.Written.tallies.clear()
    assert prepared(x, (1.0, 0.0)).sharpen(x) is None
