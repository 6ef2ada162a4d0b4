"""Low-, high- and band-pass and band-stop filters by the window method.

The taps are those of scipy.signal.firwin: an ideal response under a window, of linear phase.
Source: Oppenheim & Schafer, "Discrete-Time Signal Processing", 7.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np

from filterworks.arguments import as_choice, as_int, as_number
from filterworks.errors import ArgumentError, must
from filterworks.timeseries import lengths
from filterworks.timeseries.lengths import as_seconds
from filterworks.timeseries.linear import Design, Linear, Taps
from filterworks.timeseries.options import Setting
from filterworks.timeseries.sampling import Sampling

Frequency = float | str

# Each window, and its transition width times the number of taps, in cycles per sample.
# Source: Ifeachor & Jervis, "Digital Signal Processing", table 7.3.
WINDOWS: dict[str, tuple[Callable[[int], Taps], float]] = {
    "hamming": (np.hamming, 3.3),
    "hann": (np.hanning, 3.1),
    "blackman": (np.blackman, 5.5),
    "boxcar": (np.ones, 0.9),
}
_HERTZ = {"mHz": 1e-3, "Hz": 1.0, "kHz": 1e3, "MHz": 1e6}


def _frequency(name: str, value: object) -> tuple[float, bool]:
    """Return a frequency, and whether it is in Hz whatever the series."""
    if not isinstance(value, str):
        return as_number(name, value, above=0), False
    text = value.strip()
    if text.startswith("1/"):
        return 1.0 / as_seconds(name, text[2:]), True
    for unit, factor in sorted(_HERTZ.items(), key=lambda item: -len(item[0])):
        if text.endswith(unit):
            try:
                return as_number(name, float(text.removesuffix(unit)), above=0) * factor, True
            except ValueError:
                break
    raise ArgumentError(must(name, "a frequency such as 0.5, 0.5Hz, 2kHz or 1/12h", value))


def _pass(
    kind: str,
    cutoffs: dict[str, Frequency],
    transition: Frequency | None,
    window: str,
    taps: int | None,
) -> Design:
    edges = {name: _frequency(name, value) for name, value in cutoffs.items()}
    values = [value for value, _ in edges.values()]
    if values != sorted(set(values)):
        raise ArgumentError(must("high", f"above low={cutoffs['low']}", cutoffs["high"]))
    as_choice("window", window, tuple(WINDOWS))
    if taps is not None and as_int("taps", taps, 1) % 2 == 0:
        raise ArgumentError(must("taps", "odd, so that the filter delays nothing", taps))
    if taps is not None and transition is not None:
        raise ArgumentError("give either `taps` or the `transition` width that they follow from")
    width = None if transition is None else _frequency("transition", transition)
    timed = any(is_hertz for _, is_hertz in [*edges.values(), *([width] if width else [])])
    return Linear(
        partial(_taps, kind, edges, width and width[0], window, taps, timed),
        averages=kind in ("lowpass", "bandstop"),
        timed=timed,
        clocked=True,
    )


def _taps(
    kind: str,
    edges: dict[str, tuple[float, bool]],
    transition: float | None,
    window: str,
    taps: int | None,
    timed: bool,
    setting: Setting,
) -> Taps:
    rate, unit = _rate(setting.sampling, timed)
    nyquist = rate / 2
    for name, (value, _) in edges.items():
        if value >= nyquist:
            accepted = f"below the Nyquist frequency, {nyquist:g} {unit} (half the sampling rate)"
            raise ArgumentError(must(name, accepted, value))
    places = [value / nyquist for value, _ in edges.values()]
    if taps is None:
        taps = _count(places, transition and transition / nyquist, window)
    return firwin(taps, places, kind, window)


def _rate(sampling: Sampling, timed: bool) -> tuple[float, str]:
    if sampling.is_timed or timed:
        return 1.0 / sampling.known_step("a cut-off frequency"), "Hz"
    return 1.0, "cycles per sample"


def _count(places: list[float], transition: float | None, window: str) -> int:
    """Return the odd number of taps that a transition takes; all in units of the Nyquist frequency.

    Unless given, the transition is half as wide as the narrowest band.
    """
    corners = [0.0, *places, 1.0]
    width = transition or min(high - low for low, high in pairwise(corners)) / 2
    count = math.ceil(WINDOWS[window][1] / (width / 2))
    if count > lengths.LONGEST:
        raise ArgumentError(f"so narrow a transition takes {count} taps; widen it with `transition`")
    return count + 1 - count % 2


def firwin(count: int, places: list[float], kind: str, window: str) -> Taps:
    """Return the taps of scipy.signal.firwin; `places` are cut-offs in units of the Nyquist frequency.

    Examples
    --------
    >>> firwin(3, [0.5], "lowpass", "hamming").round(4)
    array([0.0462, 0.9076, 0.0462])
    """
    corners = places if kind in ("highpass", "bandpass") else [0.0, *places]
    if len(corners) % 2:
        corners = [*corners, 1.0]
    offsets = np.arange(count) - (count - 1) / 2
    taps = np.zeros(count)
    bands = list(zip(corners[::2], corners[1::2], strict=True))
    for low, high in bands:
        taps += high * np.sinc(high * offsets) - low * np.sinc(low * offsets)
    taps *= WINDOWS[window][0](count)
    low, high = bands[0]
    centre = 0.0 if low == 0 else 1.0 if high == 1 else (low + high) / 2
    return np.asarray(taps / np.sum(taps * np.cos(np.pi * offsets * centre)))


def lowpass(
    cutoff: Frequency, transition: Frequency | None = None, window: str = "hamming", taps: int | None = None
) -> Design:
    """Keep what is slower than `cutoff`: in Hz where the series has times, else in cycles per sample.

    `cutoff` may also be written 0.5Hz, 2kHz, or as a period, 1/12h. `transition` is the width between
    what passes and what does not, half of the narrowest band unless given; `taps` follow from it.

    Examples
    --------
    >>> from filterworks.timeseries import SeriesChain
    >>> x = np.cos(np.arange(400) * 0.05) + np.cos(np.arange(400) * 2.5)
    >>> y = SeriesChain.parse("lowpass:cutoff=0.1")(x)
    >>> bool(np.abs(y - np.cos(np.arange(400) * 0.05))[50:-50].max() < 0.01)
    True
    """
    return _pass("lowpass", {"cutoff": cutoff}, transition, window, taps)


def highpass(
    cutoff: Frequency, transition: Frequency | None = None, window: str = "hamming", taps: int | None = None
) -> Design:
    """Keep what is faster than `cutoff`; the parameters are those of lowpass."""
    return _pass("highpass", {"cutoff": cutoff}, transition, window, taps)


def bandpass(
    low: Frequency,
    high: Frequency,
    transition: Frequency | None = None,
    window: str = "hamming",
    taps: int | None = None,
) -> Design:
    """Keep what is between `low` and `high`; the other parameters are those of lowpass."""
    return _pass("bandpass", {"low": low, "high": high}, transition, window, taps)


def bandstop(
    low: Frequency,
    high: Frequency,
    transition: Frequency | None = None,
    window: str = "hamming",
    taps: int | None = None,
) -> Design:
    """Remove what is between `low` and `high`; the other parameters are those of lowpass."""
    return _pass("bandstop", {"low": low, "high": high}, transition, window, taps)
