"""How the benchmarks measure: interleaved, in one run, medians."""

import statistics
import time


def interleaved(functions, repeats=7, before=lambda: None):
    """Return the median time of each named function; they take turns, so that noise meets all alike.

    What is done `before` each turn is not counted.
    """
    times = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for name, function in functions.items():
            before()
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
