"""The layers beside torch on the CPU, in one process, in turns.

Run with ``python -m tests.benchmarks.functional [name ...]``; needs torch. Above 1 the ratio says that
filterworks is faster.
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from filterworks import functional


class Case(NamedTuple):
    """One layer: the function's name, the shapes of its arrays, and its options."""

    name: str
    kind: str
    function: str
    shapes: tuple[tuple[int, ...], ...]
    options: dict[str, Any]


CASES = [
    Case(
        "3→64 k7 s2, 224²", "bank", "conv2d", ((1, 3, 224, 224), (64, 3, 7, 7)), {"stride": 2, "padding": 3}
    ),
    Case("1→16 k9, 1024²", "bank", "conv2d", ((1, 1, 1024, 1024), (16, 1, 9, 9)), {"padding": 4}),
    Case("3→8 k3, 720p", "bank", "conv2d", ((1, 3, 720, 1280), (8, 3, 3, 3)), {"padding": 1}),
    Case("64→64 k3, 56²", "deep", "conv2d", ((1, 64, 56, 56), (64, 64, 3, 3)), {"padding": 1}),
    Case("1×1 64→256, 56²", "deep", "conv2d", ((1, 64, 56, 56), (256, 64, 1, 1)), {}),
    Case(
        "depthwise 64 k3, 112²",
        "",
        "conv2d",
        ((1, 64, 112, 112), (64, 1, 3, 3)),
        {"padding": 1, "groups": 64},
    ),
    Case(
        "dilated 64→64 k3 d2, 56²",
        "",
        "conv2d",
        ((1, 64, 56, 56), (64, 64, 3, 3)),
        {"padding": 2, "dilation": 2},
    ),
    Case(
        "grouped 64→64 k3 g4, 56²",
        "",
        "conv2d",
        ((1, 64, 56, 56), (64, 16, 3, 3)),
        {"padding": 1, "groups": 4},
    ),
    Case(
        "transposed 64→32 k4 s2, 28²",
        "",
        "conv_transpose2d",
        ((1, 64, 28, 28), (64, 32, 4, 4)),
        {"stride": 2, "padding": 1},
    ),
    Case(
        "max_pool k3 s2, 64×112²",
        "",
        "max_pool2d",
        ((1, 64, 112, 112),),
        {"kernel_size": 3, "stride": 2, "padding": 1},
    ),
    Case("avg_pool k2, 64×112²", "", "avg_pool2d", ((1, 64, 112, 112),), {"kernel_size": 2}),
    Case("conv1d 16→32 k9, 16384", "", "conv1d", ((1, 16, 16384), (32, 16, 9)), {"padding": 4}),
    Case("conv3d 8→16 k3, 32³", "", "conv3d", ((1, 8, 32, 32, 32), (16, 8, 3, 3, 3)), {"padding": 1}),
]


def runners(case: Case) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return our call and torch's on the same float32 data, after checking that they agree."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape, dtype=np.float32) for shape in case.shapes]
    tensors = [torch.from_numpy(array) for array in arrays]
    ours = getattr(functional, case.function)
    theirs = getattr(torch.nn.functional, case.function)
    expected = theirs(*tensors, **case.options).numpy()
    np.testing.assert_allclose(ours(*arrays, **case.options), expected, atol=1e-4 * np.abs(expected).max())
    return lambda: ours(*arrays, **case.options), lambda: theirs(*tensors, **case.options)


def medians(calls: tuple[Callable[[], Any], ...], rounds: int, repeats: int = 3) -> list[float]:
    """Return the median seconds of each call, taken in turns of `repeats` calls."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for number, call in enumerate(calls):
            call()
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                times[number].append(time.perf_counter() - start)
    return [statistics.median(row) for row in times]


def workspace(call: Callable[[], Any]) -> float:
    """Return the MiB allocated at the peak of a call beyond its result."""
    tracemalloc.start()
    try:
        result = call()
        return (tracemalloc.get_traced_memory()[1] - result.nbytes) / 2**20
    finally:
        tracemalloc.stop()


def main() -> None:
    """Print one row per case and the geometric means."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only cases whose name holds one of these")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    wanted = [case for case in CASES if not options.names or any(n in case.name for n in options.names)]
    ratios = []
    print(f"{'case':30} {'filterworks':>11} {'torch':>9} {'ratio':>6} {'workspace':>10}")
    with torch.no_grad():
        for case in wanted:
            ours, theirs = runners(case)
            mine, other = medians((ours, theirs), options.rounds)
            ratios.append((case.kind, other / mine))
            print(
                f"{case.name:30} {mine * 1e3:8.2f} ms {other * 1e3:6.2f} ms {other / mine:6.2f} "
                f"{workspace(ours):6.1f} MiB",
                flush=True,
            )
    for kind, title in (("bank", "filter bank"), (None, "all")):
        chosen = [ratio for k, ratio in ratios if kind in (None, k)]
        if chosen:
            print(f"geometric mean, {title}: {statistics.geometric_mean(chosen):.2f}")


if __name__ == "__main__":
    main()
