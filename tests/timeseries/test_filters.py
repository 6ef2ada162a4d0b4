"""Evenly sampled series beside scipy, numpy and pandas."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage, signal

import filterworks as fw
from filterworks import kernels
from filterworks.timeseries import Options, Sampling, SeriesChain

BOUNDARIES = {
    "symmetric": "reflect",
    "mirror": "mirror",
    "nearest": "nearest",
    "wrap": "wrap",
    "constant": "constant",
}
PADS = {
    "symmetric": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
    "constant": "constant",
}


@pytest.fixture(scope="module")
def series():
    return np.cumsum(np.random.default_rng(1).normal(size=(500, 2)), axis=0)


@pytest.fixture(scope="module")
def gappy(series):
    x = series.copy()
    x[np.random.default_rng(2).random(x.shape) < 0.15] = np.nan
    x[100:140, 0] = np.nan
    return x


def filtered(text, x, sampling=None, **options):
    return SeriesChain.parse(text)(x, sampling=sampling, options=Options(**options))


def assert_close(got, expected, tolerance=1e-9):
    scale = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * max(scale, 1))


@pytest.mark.parametrize(("ours", "theirs"), BOUNDARIES.items())
@pytest.mark.parametrize(
    ("chain", "taps"),
    [
        ("mean:window=7", np.ones(7) / 7),
        ("mean:window=8", np.ones(8) / 8),
        ("mean:window=900", np.ones(900) / 900),
        ("gaussian:sigma=3.3", kernels.gaussian_factor(3.3)),
        ("gaussian:sigma=2,order=1", kernels.gaussian_factor(2, order=1)),
        ("binomial:window=5", np.array([1, 4, 6, 4, 1]) / 16),
        ("triangular:window=9", signal.windows.triang(9) / signal.windows.triang(9).sum()),
        ("triangular:window=6", signal.windows.triang(6) / signal.windows.triang(6).sum()),
        ("kernel:taps=1/2/-4/3", np.array([1.0, 2, -4, 3])),
        ("kernel:taps=1/2/5,flip=true", np.array([5.0, 2, 1])),
        ("laplacian", np.array([1.0, -2, 1])),
        ("savgol:window=11,order=3", signal.savgol_coeffs(11, 3, use="dot")),
    ],
)
def test_linear_filters_equal_ndimage_at_every_boundary(series, ours, theirs, chain, taps):
    expected = ndimage.correlate1d(series, taps, axis=0, mode=theirs)
    assert_close(filtered(chain, series, boundary=ours), expected)


@pytest.mark.parametrize(("ours", "pad"), PADS.items())
@pytest.mark.parametrize(
    ("chain", "taps"),
    [
        ("mean:window=7", np.ones(7) / 7),
        ("mean:window=8", np.ones(8) / 8),
        ("kernel:taps=1/2/-4/3", np.array([1.0, 2, -4, 3])),
        ("gaussian:sigma=3.3", kernels.gaussian_factor(3.3)),
        ("savgol:window=9,order=2", signal.savgol_coeffs(9, 2, pos=8, use="dot")),
        ("savgol:window=9,order=2,derivative=1", signal.savgol_coeffs(9, 2, deriv=1, pos=8, use="dot")),
    ],
)
def test_past_windows_end_at_the_sample(series, ours, pad, chain, taps):
    padded = np.pad(series, [(taps.size - 1, 0), (0, 0)], mode=pad)
    expected = np.stack([np.correlate(column, taps, "valid") for column in padded.T], axis=1)
    assert_close(filtered(chain, series, boundary=ours, align="past"), expected)


@pytest.mark.parametrize("window", [1, 4, 7, 60, 450])
@pytest.mark.parametrize("align", ["center", "past"])
@pytest.mark.parametrize(("ours", "win"), [("mean", None), ("median", None), ("triangular", "triang")])
def test_omitted_samples_and_boundaries_equal_pandas(gappy, ours, win, window, align):
    rolling = pd.DataFrame(gappy).rolling(window, min_periods=1, center=align == "center", win_type=win)
    expected = (rolling.median() if ours == "median" else rolling.mean()).to_numpy()
    got = filtered(f"{ours}:window={window}", gappy, boundary="omit", align=align, fill=True)
    assert_close(got, expected)
    kept = filtered(f"{ours}:window={window}", gappy, boundary="omit", align=align)
    assert_close(kept, np.where(np.isnan(gappy), np.nan, expected))


@pytest.mark.parametrize(
    "chain", ["mean:window=5", "median:window=5", "savgol:window=5", "kernel:taps=1/2/3/4/5"]
)
@pytest.mark.parametrize("boundary", ["symmetric", "omit"])
def test_propagated_gaps_reach_exactly_their_windows(series, chain, boundary):
    x = series.copy()
    x[50, 0] = np.nan
    got = filtered(chain, x, nan_policy="propagate", boundary=boundary)
    assert np.flatnonzero(np.isnan(got[:, 0])).tolist() == [48, 49, 50, 51, 52]
    assert not np.isnan(got[:, 1]).any()
    clean = filtered(chain, series, boundary=boundary)
    assert_close(got[~np.isnan(got)], clean[~np.isnan(got)])


@pytest.mark.parametrize(
    "chain",
    ["mean:window=5", "median:window=5", "savgol:window=5,derivative=1", "matched:taps=0/1/2/1/4", "kernel:taps=1/2/3/4/5"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("boundary", "outside"), [("symmetric", [0]), ("mirror", [0, 1]), ("nearest", []), ("omit", [])]
)
def test_propagated_gaps_reach_windows_that_hold_them_mirrored(series, chain, boundary, outside):
    x = series.copy()
    x[3, 0] = np.nan
    got = filtered(chain, x, nan_policy="propagate", boundary=boundary, align="past")
    short = [0, 1] if boundary == "omit" and chain.startswith(("savgol", "matched")) else []
    assert np.flatnonzero(np.isnan(got[:, 0])).tolist() == [*outside, *short, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("ours", "theirs"), BOUNDARIES.items())
@pytest.mark.parametrize("window", [5, 31, 451])
def test_median_equals_ndimage(series, ours, theirs, window):
    expected = ndimage.median_filter(series, size=(window, 1), mode=theirs)
    assert_close(filtered(f"median:window={window}", series, boundary=ours), expected)


@pytest.mark.parametrize("mode", ["mirror", "nearest", "wrap", "constant"])
@pytest.mark.parametrize("derivative", [0, 1, 2, 3])
def test_savgol_equals_scipy(series, mode, derivative):
    expected = signal.savgol_filter(series, 15, 4, deriv=derivative, delta=0.25, axis=0, mode=mode)
    chain = f"savgol:window=15,order=4,derivative={derivative}"
    assert_close(filtered(chain, series, Sampling(step=0.25), boundary=mode), expected)
    per_hour = filtered(chain + ",per=min", series, Sampling(step=15.0), boundary=mode)
    assert_close(per_hour, expected)
    per_sample = filtered(chain + ",per=sample", series, Sampling(step=0.25), boundary=mode)
    assert_close(per_sample, expected * 0.25**derivative)


def test_savgol_fits_the_samples_that_are_there(gappy):
    got = filtered("savgol:window=9,order=2", gappy, boundary="omit", fill=True)
    for row in range(len(gappy)):
        for column in range(2):
            rows = np.arange(max(row - 4, 0), min(row + 5, len(gappy)))
            rows = rows[~np.isnan(gappy[rows, column])]
            expected = np.nan
            if rows.size > 2:
                expected = np.polynomial.Polynomial.fit(rows - row, gappy[rows, column], 2)(0.0)
            np.testing.assert_allclose(got[row, column], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("adjust", [True, False])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("alpha=0.3", {"alpha": 0.3}), ("span=9", {"span": 9}), ("halflife=4.5", {"halflife": 4.5})],
)
def test_exponential_equals_pandas(series, gappy, ours, theirs, adjust):
    chain = f"exponential:{ours},adjust={str(adjust).lower()}"
    for x in (series, gappy):
        expected = pd.DataFrame(x).ewm(**theirs, adjust=adjust).mean().to_numpy()
        assert_close(filtered(chain, x, fill=True), expected)
        assert_close(filtered(chain, x), np.where(np.isnan(x), np.nan, expected))


def test_exponential_halflife_in_time_is_a_number_of_even_steps(series):
    expected = filtered("exponential:halflife=4", series)
    assert_close(filtered("exponential:halflife=2s", series, Sampling(step=0.5)), expected)


@pytest.mark.parametrize("function", ["sum", "mean", "min", "max"])
def test_cumulative_equals_pandas(gappy, function):
    expected = getattr(pd.DataFrame(gappy).expanding(), function)().to_numpy()
    assert_close(filtered(f"cumulative:function={function}", gappy, fill=True), expected)
    assert_close(
        filtered(f"cumulative:function={function}", gappy), np.where(np.isnan(gappy), np.nan, expected)
    )
    after = filtered(f"cumulative:function={function}", gappy, nan_policy="propagate")
    first = int(np.argmax(np.isnan(gappy[:, 1])))
    assert np.isnan(after[first:, 1]).all()
    assert not np.isnan(after[:first, 1]).any()


def test_cumulative_sums_do_not_drift():
    x = np.array([1e16, 1.0, 1.0, -1e16, 1.0])
    assert filtered("cumulative", x).tolist() == [1e16, 1e16, 1e16 + 2, 2.0, 3.0]


def test_moving_means_do_not_drift_and_confine_nan():
    x = np.ones(2000)
    x[0] = 1e16
    got = filtered("mean:window=3", x)
    assert (got[2:] == 1.0).all()


def test_difference_equals_pandas(gappy):
    for lag in (1, 7, 600):
        assert_close_or_nan(
            filtered(f"difference:lag={lag}", gappy), pd.DataFrame(gappy).diff(lag).to_numpy()
        )


def assert_close_or_nan(got, expected):
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)


def test_derivative_equals_numpy_gradient(series):
    assert_close(filtered("derivative", series), np.gradient(series, axis=0))
    assert_close(filtered("derivative", series, Sampling(step=0.1)), np.gradient(series, 0.1, axis=0))
    assert_close(
        filtered("derivative:per=min", series, Sampling(step=0.1)), np.gradient(series, 0.1 / 60, axis=0)
    )
    past = filtered("derivative", series, align="past")
    assert np.isnan(past[0]).all()
    assert_close(past[1:], np.diff(series, axis=0))
    for count in (1, 2):
        expected = np.gradient(series[:2], axis=0) if count == 2 else [[np.nan] * 2]
        np.testing.assert_allclose(filtered("derivative", series[:count]), expected)


@pytest.mark.parametrize("window", ["hamming", "hann", "blackman", "boxcar"])
@pytest.mark.parametrize(
    ("chain", "cutoff", "pass_zero"),
    [
        ("lowpass:cutoff=1.5", 1.5, "lowpass"),
        ("highpass:cutoff=1500mHz", 1.5, "highpass"),
        ("bandpass:low=1,high=2", [1, 2], "bandpass"),
        ("bandstop:low=1Hz,high=0.002kHz", [1, 2], "bandstop"),
    ],
)
def test_passes_equal_firwin(series, chain, cutoff, pass_zero, window):
    taps = signal.firwin(51, cutoff, window=window, pass_zero=pass_zero, fs=10)
    expected = ndimage.correlate1d(series, taps, axis=0, mode="reflect")
    assert_close(filtered(f"{chain},taps=51,window={window}", series, Sampling(step=0.1)), expected)


def test_taps_follow_from_the_transition():
    """A Hamming window's stop band lies 53 dB below, its pass band is flat to 0.02 dB."""
    x = np.zeros(4001)
    x[2000] = 1.0
    response = filtered("lowpass:cutoff=10,transition=2", x, Sampling(step=0.01))
    frequency, gain = np.fft.rfftfreq(4001, 0.01), np.abs(np.fft.rfft(response))
    assert np.abs(20 * np.log10(gain[frequency < 9])).max() < 0.05
    assert (20 * np.log10(gain[frequency > 11])).max() < -50
    assert np.count_nonzero(response) <= 167


def test_cutoffs_without_a_time_are_in_cycles_per_sample(series):
    with_time = filtered("lowpass:cutoff=1", series, Sampling(step=0.1))
    assert_close(filtered("lowpass:cutoff=0.1", series), with_time)
    assert_close(filtered("lowpass:cutoff=1/10s", series, Sampling(step=1.0)), with_time)


def test_matched_scores_are_correlation_coefficients(series):
    template = np.array([0.0, 2, 5, 1, -3])
    got = filtered("matched:taps=0/2/5/1/-3", series, boundary="nearest")
    padded = np.pad(series, [(2, 2), (0, 0)], mode="edge")
    for row in range(len(series)):
        for column in range(2):
            expected = np.corrcoef(padded[row : row + 5, column], template)[0, 1]
            assert got[row, column] == pytest.approx(expected, abs=1e-9)


def test_matched_finds_each_template_once(series):
    template = np.array([0.0, 2, 5, 1, -3])
    x = 1e6 + 0.01 * np.random.default_rng(0).normal(size=(400, 2))
    places = [[30, 200, 333], [77]]
    for column, rows in enumerate(places):
        for row in rows:
            x[row - 2 : row + 3, column] += 3 * template
    stream = SeriesChain.parse("matched:taps=0/2/5/1/-3,threshold=0.999").stream(2, Sampling(step=0.5))
    stream.push(x, np.arange(400) * 0.5 + 9)
    stream.finish()
    found = [(peak.column, peak.row, peak.seconds) for peak in stream.report.peaks]
    assert found == [(0, 30, 24.0), (1, 77, 47.5), (0, 200, 109.0), (0, 333, 175.5)]
    assert all(peak.score > 0.999 for peak in stream.report.peaks)


def test_matched_templates_come_from_files(tmp_path, series):
    path = tmp_path / "template.csv"
    path.write_text("0\n2\n5\n1\n-3\n")
    chain = SeriesChain.from_steps([{"name": "matched", "template": str(path)}])
    np.testing.assert_array_equal(chain(series), filtered("matched:taps=0/2/5/1/-3", series))


def test_matched_flat_windows_score_nothing_and_gaps_may_be_left_out(series):
    flat = np.full(50, 1e5 / 3)
    assert (filtered("matched:taps=0/2/5/1", flat) == 0).all()
    x = np.tile([0.0, 2, 5, 1, -3], 5)
    x[12] = np.nan
    assert np.isnan(filtered("matched:taps=0/2/5/1/-3", x)[10:15]).all()
    assert filtered("matched:taps=0/2/5/1/-3", x, nan_policy="omit")[12] == pytest.approx(1.0)


def test_time_windows_become_samples():
    x = np.random.default_rng(0).normal(size=100)
    minute = Sampling(step=60.0)
    for text, centred, past in [
        ("5min", 5, 5),
        ("4min", 5, 4),
        ("90s", 1, 2),
        ("121s", 3, 3),
        ("1h", 61, 60),
    ]:
        for align, count in (("center", centred), ("past", past)):
            got = filtered(f"mean:window={text}", x, minute, align=align)
            np.testing.assert_array_equal(got, filtered(f"mean:window={count}", x, align=align))
    tenth = Sampling(step=0.1)
    assert_close(filtered("mean:window=0.6s", x, tenth), filtered("mean:window=7", x))
    assert_close(filtered("gaussian:sigma=300ms", x, tenth), filtered("gaussian:sigma=3", x))


def test_a_chain_is_its_filters_one_after_the_other(gappy):
    chain = (
        "mean:window=5 | savgol:window=7,order=2 | derivative | gaussian:sigma=2,boundary=nearest,align=past"
    )
    expected = gappy
    for part in chain.split(" | "):
        expected = filtered(part, expected, fill=True)
    np.testing.assert_array_equal(filtered(chain, gappy, fill=True), expected)


def test_infinities_are_data_only_when_allowed(series):
    x = series.copy()
    x[9, 0] = np.inf
    got = filtered("mean:window=3", x, allow_infinite=True)
    assert np.flatnonzero(np.isinf(got[:, 0])).tolist() == [8, 9, 10]


@pytest.mark.parametrize("value", [7.0, 0.1, 1 / 3, -1e300, 1.7e308, 5e-324])
@pytest.mark.parametrize("window", [2, 3, 49, 101, 1001])
def test_the_mean_of_equal_samples_is_that_sample(value, window):
    x = np.full(300, value)
    x[[3, 70, 71]] = np.nan
    got = filtered(f"mean:window={window}", x)
    assert np.array_equal(got, x, equal_nan=True)
    assert filtered(f"mean:window={window}", np.array([value])) == value


@pytest.mark.parametrize("window", [4, 5, 63, 64, 65, 128, 500])
def test_the_mean_does_not_drift_and_nothing_leaves_its_windows(window):
    x = np.ones(5000)
    x[0], x[1500], x[3000] = 1e16, np.inf, np.nan
    got = filtered(f"mean:window={window}", x, boundary="omit", allow_infinite=True, nan_policy="propagate")
    back, ahead = window // 2, window - 1 - window // 2
    assert np.array_equal(np.flatnonzero(np.isnan(got)), np.arange(3000 - ahead, 3000 + back + 1))
    assert np.array_equal(np.flatnonzero(np.isinf(got)), np.arange(1500 - ahead, 1500 + back + 1))
    # Alone but for these, every window holds ones.
    clean = np.ones(5000, bool)
    for place in (0, 1500, 3000):
        clean[max(place - ahead, 0) : place + back + 1] = False
    assert np.array_equal(got[clean], np.ones(clean.sum()))


def test_the_mean_of_large_samples_does_not_overflow():
    x = np.array([1.5e308, 1.0e308, 1.7e308, -1.7e308, 1.2e308])
    expected = np.array(
        [float((a / 4 + b / 4 + c / 4) / 0.75) for a, b, c in zip(x[:-2], x[1:-1], x[2:], strict=True)]
    )
    np.testing.assert_allclose(filtered("mean:window=3", x)[1:-1], expected, rtol=1e-14)


@pytest.mark.parametrize("window", [1, 2, 3, 4, 8, 15, 40, 41])
@pytest.mark.parametrize("kind", ["many values", "few values", "infinite"])
def test_medians_equal_numpy_window_by_window(window, kind):
    rng = np.random.default_rng(window)
    x = rng.normal(size=150) if kind == "many values" else rng.integers(0, 4, 150).astype(float)
    if kind == "infinite":
        x[rng.random(150) < 0.3] = np.inf
    padded = np.pad(x, (window // 2, window - 1 - window // 2), mode="symmetric")
    expected = np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)
    assert np.array_equal(filtered(f"median:window={window}", x, allow_infinite=True), expected)


@pytest.mark.parametrize("window", [1, 2, 7, 8, 9, 24, 25, 31, 33, 63, 64, 65, 71, 72, 73, 128, 130, 200])
def test_means_of_finite_samples_in_windows_of_any_length(window):
    rng = np.random.default_rng(window)
    for size in (window, window + 1, window + 7, window + 8, 3 * window + 70, 1000):
        x = rng.normal(size=size) * 10.0 ** rng.integers(-3, 4, size)
        got = filtered(f"mean:window={window},align=past", x, boundary="omit")
        expected = [math.fsum(x[i - window + 1 : i + 1]) / window for i in range(window - 1, size)]
        bound = 1e-13 * np.abs(x).max()
        np.testing.assert_allclose(got[window - 1 :], expected, rtol=0, atol=bound)


@pytest.mark.parametrize("boundary", ["constant", "nearest", "symmetric", "mirror", "wrap"])
@pytest.mark.parametrize("size", [1, 7, 64, 130, 333])
def test_means_whose_windows_reach_outside_on_both_sides(boundary, size):
    """The samples lie in three pieces, whose ends fall anywhere in the chunks that are summed."""
    modes = {"constant": "constant", "nearest": "edge", "mirror": "reflect"}
    x = np.random.default_rng(size).normal(size=(size, 2)) + 5
    for window in (25, 64, 97, 200, 451, 900):
        back, ahead = window // 2, window - 1 - window // 2
        padded = np.pad(x, ((back, ahead), (0, 0)), modes.get(boundary, boundary))
        expected = [[math.fsum(row) / window for row in padded[i : i + window].T] for i in range(size)]
        got = filtered(f"mean:window={window}", x, boundary=boundary)
        np.testing.assert_allclose(got, expected, rtol=1e-14, atol=0)
        assert np.array_equal(got[:, 1], filtered(f"mean:window={window}", x[:, 1].copy(), boundary=boundary))


@pytest.mark.parametrize("window", [3, 24, 40, 100])
def test_equal_and_large_samples_anywhere_in_a_series(window):
    x = np.random.default_rng(0).normal(size=700)
    x[211 : 211 + window] = 0.1
    x[400 : 404 + window] = 1e-300
    x[600:602] = 1.7e308
    got = filtered(f"mean:window={window},align=past", x, boundary="omit")
    assert got[210 + window] == 0.1
    assert (got[399 + window : 404 + window] == 1e-300).all()
    assert got[209 + window] != 0.1 != got[211 + window]
    expected = [math.fsum(x[i - window + 1 : i + 1] / window) for i in range(window - 1, 700)]
    np.testing.assert_allclose(got[window - 1 :], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("window", [2, 7, 25, 40])
def test_means_of_equal_samples_are_those_also_after_missing_ones(window):
    x = np.full(120, 0.1)
    x[20] = 0.2
    x[21:24] = np.nan
    x[70] = np.nan
    got = fw.series(x, f"mean:window={window}", align="past")
    windows = [x[i - window + 1 : i + 1] for i in range(window, x.size)]
    level = np.array([np.isfinite(one[-1]) and np.nanmin(one) == np.nanmax(one) for one in windows])
    assert level.sum() > 20
    assert set(got[window:][level]) <= {0.1, 0.2}


def test_means_around_infinities_are_infinite_whatever_the_others_add_up_to():
    x = np.full(12, 1.7e308)
    x[4] = -np.inf
    got = fw.series(x, "mean:window=5", allow_infinite=True)
    np.testing.assert_array_equal(got[2:7], -np.inf)
    np.testing.assert_allclose(got[[0, 1, *range(7, 12)]], 1.7e308)
    x[8] = np.inf
    got = fw.series(x, "mean:window=5", allow_infinite=True)
    np.testing.assert_array_equal(got[2:11], [-np.inf] * 4 + [np.nan] + [np.inf] * 4)


@pytest.mark.parametrize("window", [25, 101, 4001])
def test_means_that_overflow_are_as_exact_as_others(window):
    x = np.linspace(1.6e308, 1.7e308, 9000)
    x[4500:4503] = 5e-324, np.nan, -1.7e308
    got = fw.series(x, f"mean:window={window}", align="past", boundary="omit", nan_policy="omit")
    for row in (window - 1, 3 * window // 2, 4499, 4501 + window // 2, 8999):
        known = x[max(row - window + 1, 0) : row + 1]
        known = known[~np.isnan(known)]
        assert got[row] == pytest.approx(math.fsum(known / 2**30) / known.size * 2**30, rel=4e-16)


@pytest.mark.parametrize("window", [3, 30, 200])
def test_means_of_columns_however_they_lie_in_memory(window):
    x = np.random.default_rng(window).normal(size=(500, 6))
    expected = np.stack([fw.series(column.copy(), f"mean:window={window}") for column in x.T], axis=1)
    for laid in (x, np.asfortranarray(x), np.asfortranarray(x[:, ::-1])[:, ::-1], np.repeat(x, 2, 0)[::2]):
        np.testing.assert_array_equal(fw.series(laid, f"mean:window={window}"), expected)
    alike = np.broadcast_to(x[:, :1], x.shape)
    np.testing.assert_array_equal(fw.series(alike, f"mean:window={window}"), expected[:, [0] * 6])


@pytest.mark.parametrize("window", [3, 30, 200])
def test_means_that_overflow_leave_the_others_as_they_are(window):
    rng = np.random.default_rng(window)
    x = np.full(1000, np.finfo(float).max)
    x[:300] = rng.normal(size=300) * 1e-300
    x[300:310], x[900] = 1.7e308, -np.inf
    got = fw.series(x, f"mean:window={window}", align="past", boundary="omit", allow_infinite=True)
    small = fw.series(x[:300], f"mean:window={window}", align="past", boundary="omit")
    np.testing.assert_allclose(got[:300], small, rtol=1e-14)
    assert (got[310 + window : 900] == np.finfo(float).max).all()
    np.testing.assert_array_equal(got[900 : 900 + window], [-np.inf] * min(window, 100))
    assert np.isfinite(np.delete(got, np.arange(900, 900 + window)[: 1000 - 900])).all()


def test_running_means_of_large_samples_do_not_overflow():
    x = np.array([1e-3, 1.7e308, 1.5e308, -1.7e308, 1.2e308, -1.4e308, 1.7e308, 1e3, np.inf, 1.0])
    for chain in ("cumulative:function=mean", "exponential:alpha=0.1"):
        got = fw.series(x[:8], chain)
        np.testing.assert_allclose(got[1:], fw.series(x[:8] / 2**30, chain)[1:] * 2**30, rtol=1e-14)
        np.testing.assert_array_equal(fw.series(x, chain, allow_infinite=True)[8:], np.inf)
        level = fw.series(np.full(20, np.finfo(float).max), chain)
        np.testing.assert_allclose(level, np.finfo(float).max, rtol=1e-15)
    np.testing.assert_array_equal(fw.series(x[1:5], "cumulative")[1:], np.inf)
