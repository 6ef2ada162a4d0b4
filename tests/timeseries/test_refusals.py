"""Every message that a person may get from a chain."""

from collections import deque

import numpy as np
import pytest

from filterworks.errors import ArgumentError
from filterworks.timeseries import Options, OrderError, SampleError, Sampling, SeriesChain

TIMED = Sampling(step=0.1)
UNEVEN = Sampling(False, 0.1)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ("maen:window=3", "unknown filter 'maen': did you mean 'mean'"),
        ("", "a filter's name is missing"),
        ("mean", "mean needs a value for `window`, as in mean:window=2"),
        ("mean:windw=3", "mean: unknown parameter 'windw': did you mean 'window'"),
        ("mean:window=0", "mean: `window` must be an integer of at least 1; got 0"),
        ("mean:window=3parsec", "mean: `window` must be a number of samples, or a time such as 30s"),
        ("mean:window=3,align=future", "mean: unknown align 'future'"),
        ("mean:window=3,boundary=reflect", "mean: boundary 'reflect' means two different things"),
        ("mean:window=3,nan_policy=skip", "mean: unknown nan_policy 'skip'"),
        ("gaussian:sigma=-1", "gaussian: `sigma` must be a finite number above 0; got -1"),
        ("savgol:window=4", "savgol: `window` must be odd, so that the fit has a middle; got 4"),
        ("savgol:window=5,order=5", "savgol: `order` must be below the 5 samples of a window; got 5"),
        ("savgol:window=5,derivative=1,per=year", "savgol: `per` must be sample or a unit of time"),
        ("savgol:window=5,derivative=3", "savgol: `derivative` must be at most the polynomial's order, 2; got 3"),
        ("gaussian:sigma=3,order=99", "gaussian: `order` must be at most 10; got 99"),
        ("log:sigma=1e9", "log: its kernel would be longer than 16777216 samples"),
        ("derivative:per=parsec", "derivative: `per` must be sample or a unit of time"),
        ("exponential", "exponential: give one of alpha, span and halflife; got none"),
        ("exponential:alpha=0.5,span=3", "exponential: give one of .* got alpha and span"),
        ("exponential:alpha=0", "exponential: `alpha` must be a finite number above 0 and at most 1"),
        ("exponential:span=0.5", "exponential: `span` must be a finite number of at least 1"),
        ("exponential:alpha=0.5,adjust=maybe", "exponential: `adjust` must be true or false; got 'maybe'"),
        ("cumulative:function=median", "cumulative: unknown function 'median'"),
        ("difference:lag=0", "difference: `lag` must be an integer of at least 1"),
        ("lowpass:cutoff=0", "lowpass: `cutoff` must be a finite number above 0"),
        ("lowpass:cutoff=5 parsecs", "lowpass: `cutoff` must be a frequency such as 0.5"),
        ("lowpass:cutoff=xHz", "lowpass: `cutoff` must be a frequency such as 0.5"),
        ("bandpass:low=2,high=1", "bandpass: `high` must be above low=2; got 1"),
        ("lowpass:cutoff=0.1,taps=10", "lowpass: `taps` must be odd"),
        ("lowpass:cutoff=0.1,taps=11,transition=0.1", "lowpass: give either `taps` or the `transition`"),
        ("lowpass:cutoff=0.1,window=haming", "lowpass: unknown window 'haming': did you mean 'hamming'"),
        ("matched", "matched: give either `taps`, such as 1/2/1, or `template`, the name of a file"),
        ("matched:taps=0/1,template=a.txt", "matched: give either `taps`, such as 1/2/1, or `template`"),
        ("kernel:path=missing.txt", "kernel: `path`: no kernel can be read from missing.txt"),
        ("matched:taps=1/1/1", "matched: the template is flat"),
        ("matched:taps=0/1,threshold=2", "matched: `threshold` must be a finite number of at least -1 and at most 1"),
        ("matched:template=nowhere.csv", "matched: `template`: no kernel can be read from nowhere.csv"),
        ("kernel:taps=1/a/2", "kernel: `taps` must be numbers separated by /, such as 1/2/1; got '1/a/2'"),
        ("kernel:taps=[[1,2],[3,4]]", "kernel: `taps` must be one row of real numbers"),
        ("kernel:taps=1/nan", "kernel: `taps` must be finite numbers"),
        ("kernel:taps=1/2,flip=1", "kernel: `flip` must be true or false"),
        ("disk:radius=3", "unknown filter 'disk'"),
        ("log:sigma=x", "log: "),
    ],
)  # fmt: skip
def test_chains_that_cannot_be(chain, message):
    with pytest.raises(ArgumentError, match=message):
        SeriesChain.parse(chain)


@pytest.mark.parametrize(
    ("chain", "sampling", "options", "message"),
    [
        ("mean:window=5s", Sampling(), {}, "mean: `window`=5s needs the time of the samples"),
        ("exponential:halflife=5s", Sampling(), {}, "exponential: `halflife`=5s needs the time"),
        ("derivative:per=s", Sampling(), {}, "derivative: a derivative per unit of time needs the time"),
        ("lowpass:cutoff=2Hz", Sampling(), {}, "lowpass: a cut-off frequency needs the time of the samples"),
        ("lowpass:cutoff=0.5", Sampling(), {}, "lowpass: `cutoff` must be below the Nyquist frequency, 0.5 cycles per sample .*; got 0.5"),
        ("lowpass:cutoff=7", TIMED, {}, r"lowpass: `cutoff` must be below the Nyquist frequency, 5 Hz \(half the sampling rate\); got 7"),
        ("bandstop:low=4,high=6", TIMED, {}, "bandstop: `high` must be below the Nyquist frequency, 5 Hz"),
        ("lowpass:cutoff=1,transition=1e-9", TIMED, {}, "lowpass: so narrow a transition takes .* taps; widen it"),
        ("lowpass:cutoff=1", UNEVEN, {}, "lowpass: a cut-off frequency needs evenly spaced times, and these are uneven; resample first, for example to the median step of 0.1 s"),
        ("binomial:window=5s", UNEVEN, {}, "binomial: `window`=5s needs evenly spaced times"),
        ("gaussian:sigma=5s,order=1", UNEVEN, {}, "gaussian: `sigma`=5s needs evenly spaced times"),
        ("savgol:window=5,derivative=1", UNEVEN, {}, "savgol: `window` must be a time, such as 30s, for a derivative per s on uneven"),
        ("savgol:window=5s,derivative=1,per=sample", UNEVEN, {}, "savgol: a derivative on uneven times is per unit of time"),
        ("mean:window=1000000000", TIMED, {}, "mean: `window` must be at most 16777216 samples; 1e\\+09 is 1e\\+09"),
        ("mean:window=999999d", TIMED, {}, "mean: `window` must be at most 16777216 samples; 999999d is 8.64e\\+11"),
        ("gaussian:sigma=1e9", TIMED, {}, "gaussian: `sigma` must be at most 16777216 samples; "),
        ("gaussian:sigma=1,truncate=1e12", TIMED, {}, "gaussian: `truncate` must be such that at most 16777216 samples count"),
        ("difference:lag=100000000", TIMED, {}, "difference: its window of 100000001 samples is longer than 33554432"),
        ("binomial:window=1001", TIMED, {}, r"binomial: `window` must be at most 1000 samples \(gaussian:sigma=15.82 is alike\)"),
        ("savgol:window=0.2s,order=4", TIMED, {}, "savgol: `order` must be below the 3 samples of a window; got 4"),
        ("exponential:halflife=5s,adjust=false", UNEVEN, {}, "exponential: `adjust` must be true on uneven times"),
        ("derivative", TIMED, {"nan_policy": "omit"}, "derivative: it does not average, so missing samples cannot be left out"),
        ("difference", TIMED, {"nan_policy": "omit"}, "difference: it does not average"),
        ("kernel:taps=1/-1", TIMED, {"nan_policy": "omit"}, "kernel: it does not average, so its weights cannot be renormalised"),
        ("highpass:cutoff=1", TIMED, {"boundary": "omit"}, "highpass: it does not average, so its weights cannot be renormalised"),
    ],
)  # fmt: skip
def test_series_that_a_chain_cannot_filter(chain, sampling, options, message):
    with pytest.raises(ArgumentError, match=message):
        SeriesChain.parse(chain).stream(1, sampling, Options(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"align": "left"}, "unknown align 'left'"),
        ({"boundary": "round"}, "unknown boundary 'round'"),
        ({"nan_policy": "drop"}, "unknown nan_policy 'drop'"),
        ({"fill": 1}, "`fill` must be true or false; got 1"),
        ({"allow_infinite": "yes"}, "`allow_infinite` must be true or false"),
    ],
)
def test_options_that_are_none(options, message):
    with pytest.raises(ArgumentError, match=message):
        Options(**options)


@pytest.mark.parametrize("size", [1, 2, 10])
@pytest.mark.parametrize(
    ("policy", "index", "column", "message"),
    [
        (None, 7, 1, "row 7 of column 1 is infinite, which only allow_infinite permits"),
        ("raise", 4, 2, "row 4 of column 2 is missing, which nan_policy='raise' forbids"),
    ],
)
def test_the_first_sample_that_is_not_allowed_is_named(policy, index, column, message, size):
    x = np.ones((10, 3))
    x[4, 2] = x[6, 0] = np.nan
    x[7, 1] = x[7, 2] = -np.inf
    stream = SeriesChain.parse("mean:window=3").stream(3, options=Options(nan_policy=policy))
    with pytest.raises(SampleError, match=message) as caught:
        deque((stream.push(x[start : start + size]) for start in range(0, 10, size)), maxlen=0)
    assert (caught.value.index, caught.value.column) == (index, column)


def test_a_step_may_refuse_missing_samples():
    with pytest.raises(SampleError, match="row 1 of column 0 is missing"):
        SeriesChain.parse("mean:window=3,nan_policy=raise")([1, np.nan])


def test_pushes_that_do_not_fit():
    stream = SeriesChain.parse("mean:window=3s").stream(2, UNEVEN)
    with pytest.raises(ArgumentError, match=r"`values` must be rows of 2 columns; got \(3,\)"):
        stream.push([1, 2, 3])
    with pytest.raises(ArgumentError, match="`seconds` must be one time for each of the 1 rows"):
        stream.push([[1, 2]], [0, 1])
    with pytest.raises(
        ArgumentError, match="the `seconds` of the samples must come with each push, or with none"
    ):
        stream.push([[1, 2]])
    stream.push([[1, 2], [3, 4]], [0, 2])
    with pytest.raises(OrderError, match="the time of sample 2 repeats"):
        stream.push([[1, 2]], [2])
    stream.finish()
    with pytest.raises(ArgumentError, match="nothing can be pushed after `finish`"):
        stream.push([[1, 2]], [0])
    with pytest.raises(ArgumentError, match="the series has ended already"):
        stream.finish()
