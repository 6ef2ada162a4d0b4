from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterworks.errors import ArgumentError
from filterworks.timeseries import OrderError, Resampler, resample, resampling


@pytest.fixture(scope="module")
def seconds():
    return np.cumsum(np.random.default_rng(0).exponential(size=300)) + 100


@pytest.fixture(scope="module")
def values():
    x = np.random.default_rng(1).normal(size=(300, 2))
    x[5, 0] = x[20:30, 1] = np.nan
    return x


def test_mean_equals_pandas(seconds, values):
    frame = pd.DataFrame(values, index=pd.to_datetime(seconds, unit="s"))
    expected = frame.resample("2s").mean()
    times, got = resample(seconds, values, "2s", start=0.0)
    np.testing.assert_allclose(got, expected.to_numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(times, expected.index.astype("datetime64[ns]").astype(np.int64) / 1e9)


def test_linear_equals_numpy_interp(seconds, values):
    complete = np.nan_to_num(values)
    times, got = resample(seconds, complete, 0.7, "linear")
    np.testing.assert_allclose(times, np.arange(times.size) * 0.7 + seconds[0])
    assert times[-1] <= seconds[-1] < times[-1] + 0.7
    for column in range(2):
        np.testing.assert_allclose(got[:, column], np.interp(times, seconds, complete[:, column]), atol=1e-12)


@pytest.mark.parametrize("method", ["nearest", "previous", "linear"])
def test_other_methods_equal_a_loop(seconds, values, method):
    times, got = resample(seconds, values, 0.7, method)
    for time, row in zip(times, got, strict=True):
        before = np.flatnonzero(seconds <= time + 1e-9)[-1]
        after = min(before + (seconds[before] < time - 1e-9), len(seconds) - 1)
        share = (time - seconds[before]) / (seconds[after] - seconds[before]) if after > before else 0
        if method == "previous":
            expected = values[before]
        elif method == "nearest":
            expected = values[after if share > 0.5 else before]
        else:
            expected = values[before] * (1 - share) + values[after] * share if share else values[before]
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_times_on_the_grid_stay_as_they_are():
    seconds = np.arange(1000) * 0.1
    x = np.random.default_rng(0).normal(size=1000)
    x[7] = np.nan
    for method in resampling.METHODS:
        times, got = resample(seconds, x, 0.1, method)
        np.testing.assert_allclose(times, seconds, atol=1e-12)
        np.testing.assert_array_equal(got, x)


def test_a_start_fixes_the_grid():
    times, got = resample([10.2, 11.1, 12.9], [1, 2, 3], 1, "mean", start=0)
    assert (times.tolist(), got.tolist()) == ([10, 11, 12], [1, 2, 3])
    times, got = resample([10.2, 11.1, 12.9], [1, 2, 3], 1, "previous", start=0)
    assert (times.tolist(), got.tolist()) == ([11, 12], [1, 2])


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(resampling.METHODS),
    seed=st.integers(0, 99),
    size=st.integers(0, 60),
    cuts=st.lists(st.integers(0, 60), max_size=9),
    step=st.sampled_from([0.1, 1.0, 3.0, 50.0]),
)
def test_any_partition_gives_identical_bits(method, seed, size, cuts, step):
    rng = np.random.default_rng(seed)
    seconds = np.cumsum(rng.choice([0.1, 0.2, 1.0, 7.0], size=size))
    x = np.where(rng.random((size, 2)) < 0.1, np.nan, rng.normal(size=(size, 2)))
    answers = []
    for places in ([], sorted(min(cut, size) for cut in cuts), range(size)):
        resampler = Resampler(step, method, columns=2)
        parts = [resampler.push(seconds[a:b], x[a:b]) for a, b in pairwise([0, *places, size])]
        parts.append(resampler.finish())
        answers.append([np.concatenate(arrays).tobytes() for arrays in zip(*parts, strict=True)])
    assert answers[0] == answers[1] == answers[2]


def test_refusals():
    with pytest.raises(ArgumentError, match="unknown method 'man': did you mean 'mean'"):
        Resampler(1, "man")
    with pytest.raises(ArgumentError, match="`step` must be a finite number above 0"):
        Resampler(0)
    with pytest.raises(ArgumentError, match="`step` must be a time such as 30s"):
        Resampler("1 parsec")
    with pytest.raises(ArgumentError, match="`values` must be one row of 1 columns for each time"):
        Resampler(1).push([0, 1], [[1], [2], [3]])
    with pytest.raises(OrderError, match="the time of sample 2 repeats"):
        resample([0, 1, 1], [1, 2, 3], 1)
    with pytest.raises(ArgumentError, match="a gap before 1e\\+12 s would take 1000000000000 rows of 1 s"):
        resample([0, 1e12], [1, 2], 1)
