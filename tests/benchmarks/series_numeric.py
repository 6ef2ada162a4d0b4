"""Filters along time beside scipy.ndimage, scipy.signal, pandas and polars, in one process, in turns.

Run with ``python -m tests.benchmarks.series_numeric [name ...]``. Above 1 the ratio says that
filterworks is faster.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import polars as pl
from scipy import ndimage, signal

from filterworks.timeseries import Sampling, SeriesChain, recognise
from tests.benchmarks.timing import interleaved


def cases(rows):
    """Yield (name, our call, peer, the peer's call)."""
    rng = np.random.default_rng(0)
    one, three = rng.normal(size=(rows, 1)), rng.normal(size=(rows, 3))
    gappy = np.where(rng.random(three.shape) < 0.02, np.nan, three)
    seconds = np.cumsum(rng.exponential(size=rows) + 1e-3)
    uneven = recognise(seconds)
    timed = pd.DataFrame(one, index=pd.to_datetime(np.round(seconds * 1e9).astype(np.int64)))
    frame = pd.DataFrame(one)
    table = pl.DataFrame(three, schema=["a", "b", "c"])

    def ours(chain, x, **options):
        parsed = SeriesChain.parse(chain)
        return lambda: parsed(x, **options)

    for window in (5, 101, 10_001, 30_001, 100_001, 1_000_001, 2_500_001, 3_000_001):
        yield (
            f"mean {window}",
            ours(f"mean:window={window}", one),
            "ndimage.uniform_filter1d",
            lambda window=window: ndimage.uniform_filter1d(one, window, axis=0),
        )
    yield (
        "mean 101, 3 columns",
        ours("mean:window=101", three),
        "polars.rolling_mean",
        lambda: table.select(pl.all().rolling_mean(101, center=True)),
    )
    yield (
        "mean 101, 3 columns with gaps",
        ours("mean:window=101", gappy),
        "pandas.rolling",
        lambda: pd.DataFrame(gappy).rolling(101, center=True, min_periods=1).mean(),
    )
    yield (
        "gaussian 25, 3 columns",
        ours("gaussian:sigma=25", three),
        "ndimage.gaussian_filter1d",
        lambda: ndimage.gaussian_filter1d(three, 25, axis=0),
    )
    yield (
        "savgol 51",
        ours("savgol:window=51,order=3", one),
        "signal.savgol_filter",
        lambda: signal.savgol_filter(one, 51, 3, axis=0, mode="nearest"),
    )
    yield (
        "lowpass 501 taps",
        ours("lowpass:cutoff=0.01,taps=501", one),
        "signal.oaconvolve",
        lambda: signal.oaconvolve(one[:, 0], signal.firwin(501, 0.02), "same"),
    )
    yield (
        "median 101",
        ours("median:window=101", one),
        "ndimage.median_filter",
        lambda: ndimage.median_filter(one[:, 0], 101),
    )
    yield (
        "exponential",
        ours("exponential:alpha=0.05", one),
        "pandas.ewm",
        lambda: frame.ewm(alpha=0.05).mean(),
    )
    yield (
        "uneven mean 30 s, past",
        lambda: SeriesChain.parse("mean:window=30s,align=past")(one, seconds=seconds, sampling=uneven),
        "pandas.rolling",
        lambda: timed.rolling("30s").mean(),
    )
    yield (
        "uneven median 30 s, past",
        lambda: SeriesChain.parse("median:window=30s,align=past")(one, seconds=seconds, sampling=uneven),
        "pandas.rolling",
        lambda: timed.rolling("30s").median(),
    )
    yield (
        "uneven savgol 30 s",
        lambda: SeriesChain.parse("savgol:window=30s")(one, seconds=seconds, sampling=uneven),
        "even savgol 31 (ours)",
        ours("savgol:window=31", one, sampling=Sampling()),
    )


def main():
    """Print one row per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only cases whose name holds one of these")
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{'case':32} {'filterworks':>11} {'peer':>11} {'ratio':>6}")
    for name, ours, peer, theirs in cases(options.rows):
        if options.names and not any(word in name for word in options.names):
            continue
        times = interleaved({"ours": ours, "theirs": theirs}, options.repeats)
        mine, other = times["ours"], times["theirs"]
        print(f"{name:32} {mine * 1e3:8.0f} ms {other * 1e3:8.0f} ms {other / mine:6.2f}  {peer}", flush=True)


if __name__ == "__main__":
    main()
