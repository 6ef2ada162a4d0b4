"""A long CSV filtered by whole processes, against polars and pandas: ``python -m tests.benchmarks.series [ROWS]``.

Each contender is a process of its own that reads the file, filters three columns of floats and writes a
file; they take turns. Peak memory is the largest of each. Modules are loaded as they are where packages
are installed: compiled, after a first run that does not count.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

ROWS = 4_000_000
TURNS = 5
MEAN = """
import sys, polars as pl
pl.scan_csv(sys.argv[1]).with_columns(pl.col("a", "b", "c").rolling_mean(101, center=True)).sink_csv(sys.argv[2])
"""
PANDAS_MEAN = """
import sys, pandas as pd
frame = pd.read_csv(sys.argv[1])
frame[["a", "b", "c"]] = frame[["a", "b", "c"]].rolling(101, center=True).mean()
frame.to_csv(sys.argv[2], index=False)
"""
GAUSSIAN = """
import sys, polars as pl
from scipy import ndimage
frame = pl.read_csv(sys.argv[1])
frame.with_columns(
    pl.Series(name, ndimage.gaussian_filter1d(frame[name].to_numpy(), 25)) for name in ("a", "b", "c")
).write_csv(sys.argv[2])
"""
# Reports its own peak and processor time, which a parent would otherwise mix with those of its other children.
OWN = """
import resource, sys
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_maxrss // 1024, used.ru_utime + used.ru_stime, file=sys.stderr)
"""


def ours(text):
    return (
        "import sys\n"
        f"sys.argv = ['filterworks', 'series', sys.argv[1], '-o', sys.argv[2], '-f', {text!r}, '-q']\n"
        "from filterworks.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
    )


def environment(folder):
    """Return variables with which Python keeps what it compiles."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPYCACHEPREFIX": str(Path(folder) / "compiled")}


def run(code, source, folder):
    """Return seconds, seconds of the processors and MiB of one process."""
    out = Path(folder) / "out.csv"
    for left in (out, out.with_name(".filterworks.sqlite")):
        left.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + OWN, source, out],
        capture_output=True,
        text=True,
        check=True,
        env=environment(folder),
    )
    taken = time.perf_counter() - start
    peak, busy = done.stderr.split()[-2:]
    return taken, float(busy), int(peak)


def compare(title, contenders, source, folder, turns=TURNS):
    seconds = {name: [] for name in contenders}
    processors = {name: [] for name in contenders}
    peaks = dict.fromkeys(contenders, 0)
    small = Path(folder) / "small.csv"
    make(small, 1000)
    for code in contenders.values():
        run(code, small, folder)
    for _ in range(turns):
        for name, code in contenders.items():
            taken, busy, peak = run(code, source, folder)
            seconds[name].append(taken)
            processors[name].append(busy)
            peaks[name] = max(peaks[name], peak)
    base = statistics.median(seconds["filterworks"])
    print(title)
    for name, times in seconds.items():
        median = statistics.median(times)
        busy = statistics.median(processors[name])
        print(
            f"  {name:<28} {median:6.2f} s  {median / base:5.2f} of ours  {busy:6.2f} s busy  {peaks[name]:6d} MiB"
        )


def make(path, rows):
    rng = np.random.default_rng(0)
    part = 1_000_000
    with path.open("wb") as file:
        for first in range(0, rows, part):
            count = min(part, rows - first)
            values = rng.normal(size=(3, count))
            frame = pl.DataFrame({"a": values[0].round(4), "b": (values[1] * 100).round(4), "c": values[2]})
            frame.write_csv(file, include_header=first == 0)


def main():
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.csv"
        make(source, rows)
        print(
            f"{rows} rows × 3 columns, {source.stat().st_size / 1e6:.0f} MB, whole processes, medians of {TURNS}"
        )
        compare("mean of 101 samples", {
            "filterworks": ours("mean:window=101"),
            "polars, lazy": MEAN,
        }, source, folder)  # fmt: skip
        compare(
            "the same", {"filterworks": ours("mean:window=101"), "pandas": PANDAS_MEAN}, source, folder, 1
        )
        compare(
            "gaussian σ=25",
            {"filterworks": ours("gaussian:sigma=25"), "polars and scipy.ndimage": GAUSSIAN},
            source,
            folder,
        )
        large = Path(folder) / "large.csv"
        make(large, 5 * rows)
        _, _, small = run(ours("mean:window=101"), source, folder)
        taken, _, peak = run(ours("mean:window=101"), large, folder)
        print(f"{5 * rows} rows: {taken:.2f} s, {peak} MiB at most ({small} MiB for {rows})")


if __name__ == "__main__":
    sys.exit(main())
