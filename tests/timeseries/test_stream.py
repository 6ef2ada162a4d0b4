from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from filterworks.errors import ArgumentError
from filterworks.timeseries import Options, SampleError, Sampling, SeriesChain, stages


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(stages, "BLOCK", 8)


def pushed(stream, values, cuts, seconds=None):
    """The result of pushing `values` cut at `cuts`."""
    edges = [0, *sorted(cuts), len(values)]
    parts = [stream.push(values[a:b], None if seconds is None else seconds[a:b]) for a, b in pairwise(edges)]
    return np.concatenate([*parts, stream.finish()])


def test_mean_equals_ndimage():
    x = np.random.default_rng(0).normal(size=(200_000, 2))
    got = SeriesChain.parse("mean:window=101")(x)
    assert np.abs(got - ndimage.uniform_filter1d(x, 101, axis=0)).max() < 1e-12


def test_errors():
    with pytest.raises(ArgumentError, match="did you mean 'mean'"):
        SeriesChain.parse("maen:window=3")
    with pytest.raises(ArgumentError, match="mean needs a value for `window`"):
        SeriesChain.parse("mean")
    stream = SeriesChain.parse("mean:window=3").stream(2)
    with pytest.raises(SampleError, match="row 1 of column 1 is infinite") as caught:
        stream.push([[1, 2], [3, np.inf]])
    assert (caught.value.index, caught.value.column) == (1, 1)


@settings(deadline=None, max_examples=40)
@given(
    size=st.integers(1, 60),
    cuts=st.lists(st.integers(0, 60), max_size=8),
    chain=st.sampled_from(
        ["mean:window=5", "gaussian:sigma=3s | mean:window=4", "mean:window=30s,boundary=wrap"]
    ),
    regular=st.booleans(),
)
def test_any_partition_gives_identical_bits(size, cuts, chain, regular):
    original, stages.BLOCK = stages.BLOCK, 8
    try:
        rng = np.random.default_rng(size)
        x = rng.normal(size=(size, 2))
        x[rng.random(x.shape) < 0.2] = np.nan
        t = np.arange(size) * 1.0 if regular else np.cumsum(rng.exponential(size=size) + 1e-3)
        sampling = Sampling(True, 1.0) if regular else Sampling(False, 1.0)
        parsed = SeriesChain.parse(chain)
        whole = pushed(parsed.stream(2, sampling, Options()), x, [], t)
        parts = pushed(parsed.stream(2, sampling, Options()), x, [min(c, size) for c in cuts], t)
        assert whole.shape == x.shape
        assert whole.tobytes() == parts.tobytes()
    finally:
        stages.BLOCK = original
