"""The matched filter against scipy.signal and the definition: scores, gaps, peaks, blocks."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage, signal

from filterworks.timeseries import Options, Sampling, SeriesChain, stages

TEMPLATES = [
    [0.0, 1.0],
    [0.0, 2.0, 5.0, 1.0, -3.0],
    [1.0, 2.0, 4.0, 0.5, 0.25, -1.0, 0.0, 7.0],
    np.random.default_rng(3).normal(size=31).round(3).tolist(),
]
SIZES = ["2", "5", "8", "31"]


def written(template, **parameters):
    given = "".join(f",{name}={value}" for name, value in parameters.items())
    return f"matched:taps={'/'.join(f'{tap!r}' for tap in template)}{given}"


def reach(size, align):
    return (size - 1, 0) if align == "past" else (size // 2, size - 1 - size // 2)


def correlated(x, template, align="center"):
    """Normalised cross-correlation by scipy.signal's sums: raw products, means and squares."""
    size, out = len(template), np.empty(x.shape)
    shape = np.asarray(template) - np.mean(template)
    for column in range(x.shape[1]):
        line = np.pad(x[:, column] - x[:, column].mean(), reach(size, align), mode="symmetric")
        products = signal.correlate(line, shape, mode="valid", method="direct")
        sums = signal.correlate(line, np.ones(size), mode="valid", method="direct")
        squares = signal.correlate(line**2, np.ones(size), mode="valid", method="direct")
        out[:, column] = products / np.sqrt((squares - sums**2 / size) * np.sum(shape**2))
    return out


def looped(x, template, align="center"):
    """The correlation coefficient of each window with what is there of the template, a window at a time."""
    template, size = np.asarray(template), len(template)
    out = np.full(x.shape, np.nan)
    padded = np.pad(x, [reach(size, align), (0, 0)], mode="symmetric")
    for row, column in np.ndindex(*x.shape):
        window = padded[row : row + size, column]
        there = ~np.isnan(window)
        if 2 * there.sum() >= size and not np.isnan(x[row, column]):
            pair = window[there], template[there]
            flat = min(np.ptp(pair[0]), np.ptp(pair[1])) == 0
            out[row, column] = 0.0 if flat else np.corrcoef(*pair)[0, 1]
    return out


def run(chain, x, options=None, cuts=(), block=None):
    """The scores and the peaks (column, row, score) of a stream that is cut at `cuts`."""
    stream = SeriesChain.parse(chain).stream(
        x.shape[1], Sampling(step=0.5), options or Options(), block=block
    )
    edges = [0, *cuts, len(x)]
    parts = [stream.push(x[a:b], np.arange(a, b) * 0.5) for a, b in pairwise(edges)]
    scores = np.concatenate([*parts, stream.finish()])
    return scores, sorted((peak.column, peak.row, peak.score) for peak in stream.report.peaks)


def highest(scores, threshold, distance):
    """Places whose score is the greatest within `distance` and reaches the threshold: by the definition."""
    filled = np.where(np.isnan(scores), -np.inf, scores)
    around = ndimage.maximum_filter1d(filled, 2 * distance + 1, axis=0, mode="constant", cval=-np.inf)
    rows, columns = np.nonzero((filled == around) & (filled >= threshold))
    return sorted((int(c), int(r), scores[r, c]) for r, c in zip(rows, columns, strict=True))


def walk(rows, seed=0):
    return 1e4 + np.cumsum(np.random.default_rng(seed).normal(size=(rows, 3)), axis=0)


@pytest.mark.parametrize("align", ["center", "past"])
@pytest.mark.parametrize("template", TEMPLATES, ids=SIZES)
def test_scores_equal_scipy(template, align):
    x = walk(700)
    scores, _ = run(written(template), x, Options(align=align))
    # Of two samples the sums of squares leave nothing but rounding.
    expected = correlated(x, template, align) if len(template) > 2 else looped(x, template, align)
    np.testing.assert_allclose(scores, expected, atol=1e-9)


@pytest.mark.parametrize("align", ["center", "past"])
@pytest.mark.parametrize("template", TEMPLATES[1:], ids=SIZES[1:])
def test_gaps_equal_a_loop(template, align):
    x = walk(300, seed=1)
    x[np.random.default_rng(2).random(x.shape) < 0.15] = np.nan
    x[100:160, 1] = np.nan
    scores, _ = run(written(template), x, Options(align=align, nan_policy="omit", fill=False))
    expected = looped(x, template, align)
    there = ~np.isnan(x)
    np.testing.assert_allclose(scores[there], expected[there], atol=1e-9)
    spread, _ = run(written(template), x, Options(align=align))
    clean = looped(np.where(np.isnan(x), 0.0, x), template, align)
    padded = np.pad(np.isnan(x), [reach(len(template), align), (0, 0)], mode="symmetric")
    hit = np.lib.stride_tricks.sliding_window_view(padded, len(template), axis=0).any(axis=-1)
    np.testing.assert_allclose(spread, np.where(hit, np.nan, clean), atol=1e-9)


@pytest.mark.parametrize("template", TEMPLATES[1:], ids=SIZES[1:])
def test_peaks_equal_find_peaks(template):
    """Templates far apart in noise: scipy.signal finds the same, and each where it was put."""
    rng = np.random.default_rng(4)
    x, size = 50 + 0.02 * rng.normal(size=(2000, 3)), len(template)
    put = [sorted(rng.choice(np.arange(1, 30), 9, replace=False) * 60 + k) for k in range(3)]
    for column, starts in enumerate(put):
        for start in starts:
            x[start : start + size, column] += np.asarray(template) * rng.uniform(1, 4)
    scores, peaks = run(written(template, threshold=0.999, distance=size), x)
    before, _ = reach(size, "center")
    assert [(c, r) for c, r, _ in peaks] == [(c, start + before) for c in range(3) for start in put[c]]
    for column in range(3):
        found, told = signal.find_peaks(scores[:, column], height=0.999, distance=size)
        assert [r for c, r, _ in peaks if c == column] == found.tolist()
        np.testing.assert_array_equal([s for c, _, s in peaks if c == column], told["peak_heights"])


@pytest.mark.parametrize("policy", [None, "omit"])
@pytest.mark.parametrize(("threshold", "distance"), [(0.3, 1), (0.5, 4), (-1, 7), (0.2, 40)])
def test_peaks_of_any_data_are_the_greatest_around(threshold, distance, policy):
    x = walk(600, seed=5)
    x[40:55, 0] = x[200, 1] = np.nan
    chain = written(TEMPLATES[1], threshold=threshold, distance=distance)
    scores, peaks = run(chain, x, Options(nan_policy=policy))
    expected = looped(x, TEMPLATES[1])
    if policy is None:
        expected[np.isnan(scores)] = np.nan
    told = highest(scores, threshold, distance)
    assert peaks == told
    assert [peak[:2] for peak in told] == [peak[:2] for peak in highest(expected, threshold, distance)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 64, 1000])
def test_no_block_changes_scores_or_peaks(monkeypatch, size):
    """Compared with scipy.signal, not with another block."""
    template, x = TEMPLATES[2], walk(400, seed=6)
    chain = written(template, threshold=0.4, distance=5)
    expected = correlated(x, template)
    places = [(c, r) for c, r, _ in highest(expected, 0.4, 5)]
    assert len(places) > 20
    monkeypatch.setattr(stages, "BLOCK", size)
    for cuts in ((), range(1, 400), range(size, 400, size), (399,)):
        scores, peaks = run(chain, x, cuts=cuts)
        np.testing.assert_allclose(scores, expected, atol=1e-9)
        assert [(c, r) for c, r, _ in peaks] == places


def test_of_equal_scores_the_first_is_the_peak_and_the_ends_have_peaks():
    x = np.tile([0.0, 1, 3], 4)[:, None]
    _, peaks = run("matched:taps=0/1/3,threshold=0.99,distance=3,boundary=nearest", x)
    assert [row for _, row, _ in peaks] == [1]
    _, peaks = run("matched:taps=0/1/3,threshold=0.99,distance=2,boundary=nearest", x)
    assert [row for _, row, _ in peaks] == [1, 4, 7, 10]
    _, peaks = run("matched:taps=3/1/0,threshold=0.9,boundary=nearest", np.array([[9.0], [3], [0], [0], [0]]))
    assert [row for _, row, _ in peaks] == [1]
