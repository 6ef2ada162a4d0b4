import pickle
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filterworks.errors import ArgumentError
from filterworks.timeseries import OrderError, Recogniser, Sampling, recognise
from filterworks.timeseries.lengths import as_length


def test_even_times_are_recognised():
    tenths = recognise(np.arange(1000) * 0.1)
    assert (tenths.regular, tenths.length) == (True, 1000)
    assert tenths.step == pytest.approx(0.1, rel=1e-12)
    at_60_hertz = np.round(np.arange(600) / 60, 3)  # written in milliseconds
    assert recognise(at_60_hertz).regular
    assert recognise([5.0]) == Sampling(True, None, 1)
    assert recognise([]) == Sampling(True, None, 0)


def test_uneven_times_are_recognised():
    left_out = np.delete(np.arange(1000) * 0.5, 77)
    assert recognise(left_out) == Sampling(False, 0.5, 999)
    assert not recognise([0, 1, 2.1, 3], jitter=0.05).regular
    assert recognise([0, 1, 2.1, 3], jitter=0.2).regular


@given(st.lists(st.floats(0.001, 10), min_size=1, max_size=50), st.lists(st.integers(0, 50), max_size=6))
def test_parts_give_the_same_answer(steps, cuts):
    seconds = np.cumsum(steps)
    recogniser = Recogniser()
    for part in np.split(seconds, sorted(cuts)):
        recogniser.push(part)
    assert recogniser.finish() == recognise(seconds)


def test_the_median_step_of_long_series_does_not_depend_on_the_parts(monkeypatch):
    monkeypatch.setattr("filterworks.timeseries.sampling._KEPT", 16)
    seconds = np.cumsum(np.random.default_rng(0).exponential(size=1000) + 0.01)
    answers = set()
    for size in (1, 3, 7, 100, 1000):
        recogniser = Recogniser()
        for start in range(0, 1000, size):
            recogniser.push(seconds[start : start + size])
        answers.add(recogniser.finish())
    assert len(answers) == 1
    assert all(abs(one.step - np.median(np.diff(seconds))) < 0.6 for one in answers)


@pytest.mark.parametrize(
    ("seconds", "index", "message"),
    [
        ([0, 1, 1, 2], 2, "the time of sample 2 repeats that of the sample before it"),
        ([0, 1, 2, 1.5], 3, "the time of sample 3 is earlier than that of the sample before it"),
        ([0, np.nan, 2], 1, "the time of sample 1 is missing"),
        ([np.nan], 0, "the time of sample 0 is missing"),
        ([0, np.inf], 1, "the time of sample 1 is missing"),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 9])
def test_times_out_of_order_are_named(seconds, index, message, size):
    recogniser = Recogniser()
    with pytest.raises(OrderError, match=message) as caught:
        deque((recogniser.push(seconds[start : start + size]) for start in range(0, 9, size)), maxlen=0)
    assert caught.value.index == index
    assert pickle.loads(pickle.dumps(caught.value)).index == index


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5min", 300),
        ("30s", 30),
        ("250ms", 0.25),
        ("3 us", 3e-6),
        ("2µs", 2e-6),
        ("10ns", 1e-8),
        ("1.5h", 5400),
        ("1e1d", 864000),
    ],
)
def test_lengths_in_time(text, seconds):
    length = as_length("window", text)
    assert length.timed
    assert length.amount == pytest.approx(seconds)


@pytest.mark.parametrize(
    "value", ["", "min", "5 parsecs", "-5s", "0s", "1.2.3s", 0, -1, 2.5, True, None, [3]]
)
def test_lengths_that_are_none(value):
    with pytest.raises(ArgumentError, match="`window` must be"):
        as_length("window", value)
