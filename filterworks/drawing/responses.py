"""What a linear chain of a series does to an impulse and to waves of every frequency."""

from __future__ import annotations

import numpy as np

from filterworks.arguments import Array
from filterworks.drawing.plots import Response
from filterworks.errors import ArgumentError
from filterworks.timeseries import Options, Sampling, SeriesChain

# Samples of the shortest and longest series that an impulse is put into.
_SHORT, _LONG = 1 << 10, 1 << 17
# What is left of a response at its ends, relative to its largest value, when it counts as over.
_OVER = 1e-9
# What is too small to be seen.
_UNSEEN = 1e-4
_FREQUENCIES = 4096


def response_of(chain: SeriesChain, options: Options, rate: float | None) -> Response:
    """Return the impulse and frequency response of a chain.

    Parameters
    ----------
    rate
        Samples per second; None: windows must be in samples.

    Raises
    ------
    ArgumentError
        If the chain needs a rate or is not linear.
    """
    if chain.needs_time and rate is None:
        raise ArgumentError(f"{chain} works in units of time: give the samples per second with --rate")
    sampling = Sampling(True, 1.0 / rate) if rate is not None else Sampling()
    _check_linear(chain, options, sampling)
    length = _SHORT
    while True:
        impulse = np.zeros(length + 1)
        impulse[length // 2] = 1.0
        response = chain(impulse, sampling=sampling, options=options)
        size = np.abs(response)
        edges = max(size[: length // 32].max(), size[-(length // 32) :].max())
        if edges <= _OVER * size.max() or length >= _LONG:
            break
        length *= 4
    return _described(response, length // 2, rate)


def _check_linear(chain: SeriesChain, options: Options, sampling: Sampling) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 400))
    both, one, other = (
        chain(x, sampling=sampling, options=options) for x in (first + 2 * second, first, second)
    )
    expected = one + 2 * other
    if not np.allclose(both, expected, rtol=0, atol=1e-8 * max(float(np.nanmax(np.abs(expected))), 1e-300)):
        raise ArgumentError(f"{chain} is not linear: it has no response of its own to an impulse or a wave")


def _described(response: Array, centre: int, rate: float | None) -> Response:
    size = np.abs(response)
    used = np.flatnonzero(size > _UNSEEN * size.max()) if size.max() else np.array([centre])
    low, high = min(int(used[0]), centre), max(int(used[-1]), centre)
    margin = max((high - low) // 10, 2)
    shown = slice(max(low - margin, 0), min(high + margin + 1, response.size))
    points = max(2 * _FREQUENCIES, 1 << (response.size - 1).bit_length())
    gain = np.abs(np.fft.rfft(response, points))
    frequencies = np.fft.rfftfreq(points) * (rate or 1.0)
    decibels = 20 * np.log10(np.maximum(gain, 1e-15))
    places = (np.arange(response.size) - centre)[shown] / (rate or 1.0)
    return Response(places, response[shown], frequencies, decibels, rate)
