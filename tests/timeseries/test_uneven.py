"""Unevenly sampled series beside a direct loop over all samples."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from filterworks.timeseries import Options, Sampling, SeriesChain, recognise, stages

WINDOW = 5.0


@pytest.fixture(scope="module")
def seconds():
    steps = np.random.default_rng(0).exponential(size=300) + 1e-3
    steps[150] = 40.0  # a gap that no window bridges
    return np.cumsum(steps) + 1000.0


@pytest.fixture(scope="module")
def values(seconds):
    x = np.stack([np.sin(seconds / 9), np.cumsum(np.random.default_rng(1).normal(size=seconds.size))], axis=1)
    x[np.random.default_rng(2).random(x.shape) < 0.1] = np.nan
    return x


@pytest.fixture(params=[8, 1 << 16])
def blocks(request, monkeypatch):
    monkeypatch.setattr(stages, "BLOCK", request.param)


def filtered(text, values, seconds, **options):
    return SeriesChain.parse(text)(
        values, seconds=seconds, sampling=recognise(seconds), options=Options(**options)
    )


def looped(values, seconds, past, combine):
    """Combine the samples of each window, given their values and distances from its centre."""
    out = np.full(values.shape, np.nan)
    for i in range(len(values)):
        distance = seconds - seconds[i]
        inside = (distance > -WINDOW) & (distance <= 0) if past else np.abs(distance) <= WINDOW / 2
        for column in range(values.shape[1]):
            chosen = inside & ~np.isnan(values[:, column])
            if chosen.any():
                out[i, column] = combine(
                    values[chosen, column], distance[chosen] + (WINDOW / 2 if past else 0)
                )
    return out


def triangle(x, distance):
    weights = 1 - np.abs(distance) / (WINDOW / 2)
    return np.sum(weights * x) / np.sum(weights) if np.sum(weights) > 0 else np.nan


@pytest.mark.parametrize("align", ["center", "past"])
@pytest.mark.parametrize(
    ("chain", "combine"),
    [
        ("mean:window=5s", lambda x, distance: x.mean()),
        ("median:window=5000ms", lambda x, distance: np.median(x)),
        ("triangular:window=5s", triangle),
        (
            "gaussian:sigma=625ms",
            lambda x, distance: np.average(x, weights=np.exp(-(distance**2) / (2 * 0.625**2))),
        ),
    ],
)
def test_weights_are_by_time_distance(values, seconds, align, chain, combine, blocks):
    expected = looped(values, seconds, align == "past", combine)
    got = filtered(chain, values, seconds, align=align, fill=True)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
    kept = filtered(chain, values, seconds, align=align)
    np.testing.assert_array_equal(np.isnan(kept), np.isnan(values) | np.isnan(expected))


@pytest.mark.parametrize("align", ["center", "past"])
@pytest.mark.parametrize(
    ("derivative", "per", "factor"), [(0, "s", 1), (1, "s", 1), (1, "min", 60), (2, "s", 1)]
)
def test_savgol_is_a_local_fit(values, seconds, align, derivative, per, factor, blocks):
    def fit(x, distance):
        if x.size <= 2:
            return np.nan
        at = distance - WINDOW / 2 if align == "past" else distance
        polynomial = np.polynomial.Polynomial.fit(at, x, 2)
        return (polynomial.deriv(derivative) if derivative else polynomial)(0.0) * factor**derivative

    expected = looped(values, seconds, align == "past", fit)
    chain = f"savgol:window=5s,order=2,derivative={derivative},per={per}"
    got = filtered(chain, values, seconds, align=align, fill=True, nan_policy="omit")
    # Three samples within a few milliseconds determine a second derivative to fewer digits.
    np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "chain", ["mean:window=5s", "median:window=5s", "gaussian:sigma=1s", "savgol:window=9s"]
)
def test_propagated_gaps_reach_their_windows(values, seconds, chain):
    reach = {"mean": 2.5, "median": 2.5, "gaussian": 4.0, "savgol": 4.5}[chain.split(":")[0]]
    got = filtered(chain, values, seconds, nan_policy="propagate")
    complete = filtered(chain, np.nan_to_num(values), seconds)
    for column in range(2):
        gaps = seconds[np.isnan(values[:, column])]
        near = np.abs(seconds[:, None] - gaps).min(axis=1) <= reach
        np.testing.assert_array_equal(np.isnan(got[:, column]), near | np.isnan(complete[:, column]))


def test_past_means_equal_pandas(values, seconds):
    frame = pd.DataFrame(values, index=pd.to_datetime(seconds, unit="s"))
    expected = frame.rolling("5s").mean().to_numpy()
    got = filtered("mean:window=5s", values, seconds, align="past", fill=True)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_exponential_halflife_equals_pandas(values, seconds):
    times = pd.to_datetime(np.round(seconds * 1e9).astype(np.int64))
    expected = pd.DataFrame(values).ewm(halflife="3s", times=times).mean().to_numpy()
    got = filtered("exponential:halflife=3s", values, seconds, fill=True)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_derivative_equals_numpy_gradient(values, seconds):
    x = np.nan_to_num(values)
    expected = np.gradient(x, seconds, axis=0)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(filtered("derivative", x, seconds), expected, rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(
        filtered("derivative:per=h", x, seconds), 3600 * expected, rtol=0, atol=1e-9 * 3600 * scale
    )
    np.testing.assert_allclose(
        filtered("derivative:per=sample", x, seconds), np.gradient(x, axis=0), rtol=0, atol=1e-12
    )


def test_windows_in_samples_count_rows(values, seconds):
    even = SeriesChain.parse("mean:window=5 | difference:lag=2")(values)
    np.testing.assert_array_equal(filtered("mean:window=5 | difference:lag=2", values, seconds), even)


def test_an_even_series_and_an_uneven_one_agree_inside():
    seconds = np.arange(200) * 0.5
    x = np.random.default_rng(0).normal(size=(200, 1))
    for chain in ("mean:window=7s", "gaussian:sigma=2s", "median:window=7s", "savgol:window=7s,derivative=1"):
        even = SeriesChain.parse(chain)(x, sampling=Sampling(step=0.5))
        uneven = SeriesChain.parse(chain)(x, seconds=seconds, sampling=Sampling(False, 0.5))
        np.testing.assert_allclose(even[20:-20], uneven[20:-20], rtol=0, atol=1e-12)
        omitted = (
            SeriesChain.parse(chain)(x, sampling=Sampling(step=0.5), options=Options(boundary="omit"))
            if chain != "savgol:window=7s,derivative=1"
            else uneven
        )
        np.testing.assert_allclose(omitted, uneven, rtol=0, atol=1e-12)


@pytest.mark.parametrize("align", ["center", "past"])
def test_long_median_windows(align):
    seconds = np.cumsum(np.random.default_rng(3).exponential(size=1500))
    x = np.round(np.random.default_rng(4).normal(size=1500), 1)  # many of them equal
    x[3::7] = np.nan
    got = filtered("median:window=600s", x, seconds, align=align, fill=True)
    for i in range(0, 1500, 13):
        distance = seconds - seconds[i]
        inside = (distance > -600) & (distance <= 0) if align == "past" else np.abs(distance) <= 300
        assert got[i] == pytest.approx(np.nanmedian(x[inside]), abs=1e-12)


@pytest.mark.parametrize("align", ["center", "past"])
@pytest.mark.parametrize("window", [0.5, 3, 40, 1000])
def test_means_are_as_exact_as_sums_can_be(seconds, window, align, blocks):
    """No drift: nothing of a sample is left in windows that do not hold it."""
    rng = np.random.default_rng(6)
    x = rng.normal(size=seconds.size) * 10.0 ** rng.integers(-3, 4, seconds.size)
    x[[10, 120]] = 1e16, -1e300
    x[60:110] = 0.1
    x[[80, 200, 201]] = np.nan
    x[250] = np.inf
    back, ahead = (window, 0) if align == "past" else (window / 2, window / 2)
    got = filtered(f"mean:window={window}s", x, seconds, align=align, allow_infinite=True, fill=True)
    kept = filtered(
        f"mean:window={window}s", x, seconds, align=align, allow_infinite=True, nan_policy="propagate"
    )
    for row, centre in enumerate(seconds):
        held = x[
            (seconds > centre - back if ahead == 0 else seconds >= centre - back)
            & (seconds <= centre + ahead)
        ]
        there = held[~np.isnan(held)]
        if there.size == 0:
            assert np.isnan(got[row])
        elif np.ptp(there) == 0:
            assert got[row] == there[0]
        else:
            assert got[row] == pytest.approx(
                math.fsum(there) / there.size, rel=1e-12, abs=1e-14 * np.abs(there).max()
            )
        assert np.isnan(kept[row]) == (there.size < held.size)
        assert there.size < held.size or kept[row] == got[row]


@pytest.mark.parametrize(
    "chain", ["mean:window=30s", "median:window=9s", "gaussian:sigma=2s", "savgol:window=9s"]
)
def test_real_blocks_side_by_side_and_one_after_the_other(chain):
    """Whole series are computed by several threads, streams by one: the bits are the same."""
    rng = np.random.default_rng(0)
    x, seconds = rng.normal(size=(300_000, 1)), np.cumsum(rng.exponential(size=300_000) + 1e-3)
    x[70_000:70_050] = np.nan
    parsed, sampling = SeriesChain.parse(chain), recognise(seconds)
    stream = parsed.stream(1, sampling)
    cuts = [0, 1, 2, 131_071, 131_072, 140_000, 299_999, 300_000]
    parts = [stream.push(x[a:b], seconds[a:b]) for a, b in pairwise(cuts)]
    whole = parsed(x, seconds=seconds, sampling=sampling)
    assert np.concatenate([*parts, stream.finish()]).tobytes() == whole.tobytes()


@pytest.mark.parametrize("text", ["mean:window=3s", "gaussian:sigma=3s", "triangular:window=3s"])
@pytest.mark.parametrize("align", ["center", "past"])
def test_weighted_means_of_large_samples_do_not_overflow(text, align):
    """They are those of samples that are smaller by a power of two; the infinite and the missing stay so."""
    seconds = np.array([0, 1, 2.5, 3, 4.2, 5, 6, 7.5, 30, 31, 60, 61, 62])
    x = np.array([1.5e308] * 4 + [1e308] * 4 + [np.inf, 1.7e308, 1.7e308, np.nan, -1.7e308])[:, None]
    options = {"align": align, "nan_policy": "propagate", "allow_infinite": True}
    got = filtered(text, np.hstack([x, x / 2**30]), seconds, **options)
    np.testing.assert_array_equal(got[:, 0], got[:, 1] * 2**30)
    # Where a window begins, the weight of a triangle is 0.
    assert np.isfinite(got[2:8]).all()
    assert not np.isfinite(got[8]).any()
    level = filtered(text, np.full((13, 1), np.finfo(float).max), seconds, align=align)
    np.testing.assert_allclose(level[2:8], np.finfo(float).max, rtol=1e-15)
