"""One call beside every peer: data types × structures × sizes × dimensions, in one process, in turns.

Run with ``python -m tests.benchmarks.convolution [name ...] [--rounds N] [--plot FILE]``; needs torch (and
matplotlib for the plot). ``ratio`` is the best peer's time divided by ours, ``limit`` is ours divided by the
machine's (copying input and output, or multiply-adds at the speed of a matrix product), ``regret`` is the time of the
engine that was chosen divided by that of the fastest engine. What is freed is kept for all of them: new pages
take up to 8 ms of a result, and whoever happens to get them would pay.
"""

import argparse
import math
import os
import statistics
import time
from dataclasses import dataclass, field

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin while others are timed

import numpy as np
import torch

import filterworks as fw
from filterworks.batch.memory import keep_freed_memory
from tests.benchmarks.peers import PEERS, multiply_adds

# A peer that is so many times slower than ours is timed once.
_FAR = 6
IMAGE = (1800, 2400)


@dataclass(frozen=True)
class Case:
    """One problem."""

    group: str
    shape: tuple
    dtype: str
    kind: str
    size: tuple
    axes: tuple | None = None
    stride: int = 0
    dilation: int = 0
    rounded: bool = False

    @property
    def name(self):
        sides = "×".join(map(str, self.size))
        extra = f" stride {self.stride}" * bool(self.stride) + f" dilation {self.dilation}" * bool(
            self.dilation
        )
        out = "→uint8" if self.rounded else ""
        return f"{'×'.join(map(str, self.shape))} {self.dtype}{out} {self.kind} {sides}{extra}"

    @property
    def options(self):
        found = {"axes": self.axes, "stride": self.stride or 1, "dilation": self.dilation or 1}
        return {**found, "dtype": self.dtype if self.rounded else None}


@dataclass
class Outcome:
    """What was measured, in seconds."""

    case: Case
    ours: float
    peers: dict = field(default_factory=dict)
    engines: dict = field(default_factory=dict)
    chosen: str = ""
    limit: float = 0.0

    @property
    def best(self):
        return min(self.peers, key=self.peers.get)

    @property
    def ratio(self):
        return self.peers[self.best] / self.ours

    @property
    def regret(self):
        return self.engines[self.chosen] / min(self.engines.values())


def cases():
    """Yield every case."""
    for dtype in ("uint8", "uint16", "float32", "float64"):
        for k in (3, 5, 9, 13, 25, 51, 101):
            yield Case("dense", IMAGE, dtype, "dense", (k, k))
        for k in (3, 9, 25, 51, 101):
            yield Case("separable", IMAGE, dtype, "separable", (k, k))
        for k in (3, 9, 25, 101):
            yield Case("box", IMAGE, dtype, "box", (k, k))
    for dtype in ("float32", "float64"):
        for k in (5, 33, 129, 1025, 8193):
            yield Case("1-D", (3_000_000,), dtype, "dense", (k,))
        yield Case("1-D", (3_000_000,), dtype, "box", (101,))
        yield Case("3-D", (96, 160, 160), dtype, "dense", (3, 3, 3))
        yield Case("3-D", (96, 160, 160), dtype, "separable", (9, 9, 9))
        yield Case("strided, dilated", IMAGE, dtype, "dense", (5, 5), stride=2)
        yield Case("strided, dilated", IMAGE, dtype, "dense", (5, 5), dilation=3)
    for dtype in ("uint8", "float32"):
        colour = (1200, 1600, 3)
        for kind, k in (("dense", 5), ("dense", 9), ("separable", 9), ("separable", 25), ("box", 9)):
            yield Case("colour", colour, dtype, kind, (k, k), axes=(0, 1))
    for kind, k in (("dense", 5), ("dense", 9), ("separable", 9), ("separable", 25), ("box", 25)):
        yield Case("rounded", IMAGE, "uint8", kind, (k, k), rounded=True)
    yield Case("small", (64, 64), "float32", "dense", (5, 5))
    yield Case("small", (64, 64), "uint8", "dense", (5, 5))
    yield Case("small", (64, 64), "float64", "separable", (7, 7))
    yield Case("small", (1000,), "float64", "dense", (5,))
    yield Case("small", (1000,), "float64", "dense", (65,))


def problem(case):
    """Return data, kernel and factors."""
    rng = np.random.default_rng(0)
    x = (rng.random(case.shape) * 250).astype(case.dtype)
    if case.kind == "dense":
        kernel = rng.random(case.size) + 0.1
        return x, kernel / kernel.sum(), None
    if case.kind == "box":
        factors = [np.full(k, 1 / k) for k in case.size]
    else:
        factors = [f / f.sum() for f in (rng.random(k) + 0.1 for k in case.size)]
    kernel = factors[0]
    for factor in factors[1:]:
        kernel = np.multiply.outer(kernel, factor)
    return x, kernel, factors


def check(ours, theirs, case, name):
    """Refuse to compare what is not the same."""
    tolerance = 1.01 if case.rounded else 2e-2 if "float64" not in case.dtype else 1e-8
    error = np.abs(ours.astype(float) - theirs).max()
    assert ours.shape == theirs.shape, (case.name, name, ours.shape, theirs.shape)
    assert error <= tolerance, (case.name, name, error)


def once(function):
    """Return the seconds of one call; many calls where one is too short for the clock."""
    start = time.perf_counter()
    function()
    spent = time.perf_counter() - start
    if spent > 2e-4:
        return spent
    start = time.perf_counter()
    for _ in range(50):
        function()
    return (time.perf_counter() - start) / 50


def measure(case, rounds):
    """Return the medians of ours, of each engine in reach and of each peer, all in turns."""
    x, kernel, factors = problem(case)
    functions = {"auto": lambda: fw.correlate(x, kernel, **case.options)}
    plan = fw.plan(x, np.flip(kernel), **case.options)
    near = [name for name, t in plan.estimates.items() if t < 4 * min(plan.estimates.values())]
    for name in near:
        functions[f"engine {name}"] = lambda name=name: fw.correlate(x, kernel, method=name, **case.options)
    ours = functions["auto"]()
    first = min(once(functions["auto"]) for _ in range(3))
    outcome = Outcome(case, 0.0, chosen=plan.engine)
    for name, make in PEERS.items():
        peer = make(x, kernel, factors, case)
        if peer is None:
            continue
        check(ours, peer(), case, name)
        spent = once(peer)
        if spent < _FAR * first:
            functions[name] = peer
        else:
            outcome.peers[name] = spent
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            times[name].append(once(function))
    for name, values in times.items():
        median = statistics.median(values)
        if name == "auto":
            outcome.ours = median
        elif name.startswith("engine "):
            outcome.engines[name.removeprefix("engine ")] = median
        else:
            outcome.peers[name] = median
    outcome.limit = limit(case, x, kernel, ours)
    return outcome


def limit(case, x, kernel, out):
    """Return the least time that the machine allows."""
    double = out.dtype == np.float64
    moved = x.nbytes + out.nbytes
    return max(moved / copy_speed(), multiply_adds(case, kernel, out.shape) / product_speed(double))


def copy_speed(_kept=[]):  # noqa: B006 -- measured once
    """Return bytes read and written per second by a copy."""
    if not _kept:
        a = np.ones(1 << 22, np.float32)
        b = np.empty_like(a)
        _kept.append(2 * a.nbytes / min(once(lambda: np.copyto(b, a)) for _ in range(20)))
    return _kept[0]


def product_speed(double, _kept={}):  # noqa: B006 -- measured once
    """Return multiply-adds per second of a matrix product."""
    if double not in _kept:
        a = np.ones((1024, 1024), np.float64 if double else np.float32)
        _kept[double] = 1024**3 / min(once(lambda: a @ a) for _ in range(10))
    return _kept[double]


def mean(values):
    """Return the geometric mean."""
    return math.exp(statistics.fmean(map(math.log, values)))


def summary(outcomes):
    """Return a Markdown table by group."""
    lines = ["| | cases | ratio: mean | least | regret: mean | most |", "|---|---|---|---|---|---|"]
    groups = dict.fromkeys(o.case.group for o in outcomes)
    for group in groups:
        members = [o for o in outcomes if o.case.group == group]
        lines.append(f"| {group} | {_row(members)} |")
    large = [o for o in outcomes if o.case.group != "small"]
    return "\n".join([*lines, f"| **all but small** | {_row(large)} |"] if large else lines)


def _row(members):
    ratios, regrets = [o.ratio for o in members], [o.regret for o in members]
    return (
        f"{len(members)} | {mean(ratios):.2f} | {min(ratios):.2f} | {mean(regrets):.2f} | {max(regrets):.2f}"
    )


def plot(outcomes, path):
    """Save the ratio of each case as a point, by group."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    groups = list(dict.fromkeys(o.case.group for o in outcomes))
    for index, group in enumerate(groups):
        members = [o for o in outcomes if o.case.group == group]
        spread = np.linspace(-0.3, 0.3, len(members))
        axes.scatter(index + spread, [o.ratio for o in members], s=18)
    axes.axhline(1, color="0.4", linewidth=1)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel("best peer's time / ours")
    axes.grid(axis="y", color="0.9")
    figure.savefig(path, dpi=90)


def main():
    """Print one row per case and the means of each group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only cases whose name or group holds one of these")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--plot", help="save the ratios as a picture")
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    keep_freed_memory()
    warm = np.ones((600, 600), np.float32)
    for method in ("direct", "fft", "separable"):
        fw.correlate(warm, np.ones((9, 9)), method=method)
    outcomes = []
    for case in cases():
        if options.names and not any(n in case.name or n == case.group for n in options.names):
            continue
        outcome = measure(case, options.rounds)
        outcomes.append(outcome)
        print(
            f"{case.name:52} {outcome.ours * 1e3:8.3f} ms {outcome.chosen:17} {outcome.best:20} "
            f"ratio {outcome.ratio:6.2f}  limit {outcome.ours / outcome.limit:5.1f}  regret {outcome.regret:4.2f}",
            flush=True,
        )
    print(f"\n{summary(outcomes)}")
    if options.plot:
        plot(outcomes, options.plot)


if __name__ == "__main__":
    main()
