"""Whatever is asked of a filter: a clear refusal, or a result with a row for each row."""

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from filterworks.errors import ArgumentError
from filterworks.timeseries import SERIES_OPERATIONS, Options, Sampling, SeriesChain, custom, lengths
from filterworks.timeseries.chain import COMMON

VALUES = st.one_of(
    st.integers(-3, 30),
    st.integers(),
    st.floats(0.01, 0.6),
    st.floats(allow_nan=True, allow_infinity=True),
    st.booleans(),
    st.none(),
    st.lists(st.integers(-2, 9), max_size=4),
    st.sampled_from(["5s", "3ms", "2h", "1/4s", "0.2Hz", "s", "sample", "1/2/5", "hann", "mean", "past", "center", "omit", "wrap", "mirror", "constant", "propagate", "raise", ""]),
    st.text(max_size=4),
)  # fmt: skip


PLAUSIBLE = {
    "window": [1, 4, 5, 31, "4s", "500ms", "hann"],
    "sigma": [0.3, 2, "2s"],
    "order": [0, 1, 2],
    "derivative": [0, 1, 2],
    "per": ["s", "sample", "h"],
    "alpha": [0.5, 1],
    "span": [1, 8.5],
    "halflife": [3, "2s"],
    "adjust": [True, False],
    "lag": [1, 9, 40],
    "cutoff": [0.1, "0.1Hz", "1/4s"],
    "low": [0.1, "0.1Hz"],
    "high": [0.3, "0.3Hz"],
    "transition": [0.1, "0.05Hz"],
    "taps": ["1/2/-4/3", [0, 1, 5], 9],
    "nan_policy": ["omit", "propagate", "raise"],
    "boundary": ["omit", "wrap", "mirror", "constant"],
    "align": ["past", "center"],
}


def value(key):
    return st.sampled_from(PLAUSIBLE[key] * 3) | VALUES if key in PLAUSIBLE else VALUES


@st.composite
def tables(draw):
    name = draw(st.sampled_from(list(SERIES_OPERATIONS)))
    parameters = SERIES_OPERATIONS[name].parameters
    needed = [key for key, one in parameters.items() if one.default is one.empty]
    others = draw(st.lists(st.sampled_from([*parameters, *COMMON]), max_size=2, unique=True))
    return {"name": name, **{key: draw(value(key)) for key in {*needed, *others}}}


@settings(deadline=None, max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(tables(), min_size=1, max_size=2),
    rows=st.integers(0, 20),
    sampling=st.sampled_from([Sampling(), Sampling(step=1.0), Sampling(False, 1.0)]),
    options=st.sampled_from([Options(), Options("past", "omit", None, True), Options(nan_policy="omit")]),
)
def test_any_parameters(steps, rows, sampling, options):
    x = np.random.default_rng(rows).normal(size=(rows, 2))
    x[3:5, 0] = np.nan
    seconds = np.cumsum(np.random.default_rng(1).exponential(size=rows) + 0.01)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lengths, "LONGEST", 5000)
        try:
            chain = SeriesChain.from_steps(steps)
            stream = chain.stream(2, sampling, options)
        except ArgumentError:
            event("refused")
            return
    event("filtered")
    assert SeriesChain.parse(str(chain)) == chain
    if any(("nan_policy", "raise") in step.parameters for step in chain.steps):
        x = np.nan_to_num(x)
    parts = [stream.push(x[:7], seconds[:7]), stream.push(x[7:], seconds[7:]), stream.finish()]
    assert np.concatenate(parts).shape == x.shape


ONE_OF_EACH = [
    "mean:window=5",
    "gaussian:sigma=1.5",
    "binomial:window=5",
    "triangular:window=5",
    "median:window=4",
    "savgol:window=5",
    "exponential:alpha=0.5",
    "cumulative:function=sum",
    "difference",
    "derivative",
    "lowpass:cutoff=0.2",
    "highpass:cutoff=0.2",
    "bandpass:low=0.1,high=0.2",
    "bandstop:low=0.1,high=0.2",
    "matched:taps=1/2/-4/3",
    "kernel:taps=1/2/-4/3",
    *(design.__name__ for design in custom.NAMED),
]


@pytest.mark.parametrize("text", ONE_OF_EACH)
@pytest.mark.parametrize("value", [0.0, 1e-320, 1e300, -1e300, np.nan, np.inf])
def test_extremes_raise_no_warnings(text, value):
    chain = SeriesChain.parse(text)
    x = np.full((12, 1), value)
    x[6] = 1.0
    assert chain(x, options=Options(allow_infinite=True)).shape == x.shape  # warnings are errors


def test_each_filter_is_among_them():
    assert {text.split(":")[0] for text in ONE_OF_EACH} == set(SERIES_OPERATIONS)
