"""Moving medians from sorted stretches, each as long as a window and kept as a list of what is still inside.

Source: Suomela, "Median filtering is equivalent to sorting" (2014).
"""

from __future__ import annotations

import numpy as np

from filterworks.machine.compiler import CompilerError, obstacle
from filterworks.machine.intrinsics import Doubles, Integers, Places, double_of
from filterworks.machine.translation import translated
from filterworks.timeseries.parts import Lines

_INFINITE = 0x7FF0000000000000


@translated
def _link(
    order: Integers, begin: int, window: int, links: Places, after: int, before: int, ranks: int
) -> None:
    """Chain the samples of a stretch in their order, from the tail around to it."""
    last = window
    for i in range(window):
        place = order[begin + i]
        links[after + last] = place
        links[before + place] = last
        links[ranks + place] = i
        last = place
    links[after + last] = window
    links[before + window] = last


@translated
def moving_medians(
    line: Doubles, order: Integers, count: int, window: int, links: Places, out: Doubles
) -> None:
    """Write the medians of `count` windows of a line.

    Parameters
    ----------
    line, order
        Whole stretches of `window` samples, none of them missing, and the sorted order of each.
    links
        Six numbers for each sample of a stretch and six more, to work with.
    """
    half = window // 2
    infinity = double_of(_INFINITE)
    after = 0
    before = window + 1
    ranks = 2 * before
    new_after = 3 * before
    new_before = 4 * before
    new_ranks = 5 * before
    _link(order, 0, window, links, after, before, ranks)
    # The median, and how many smaller ones there are: in the old stretch and in the new one.
    middle = order[half]
    small = half
    place = 0
    while place < count:
        start = (place // window) * window
        i = place - start
        new = start + window
        if i == 0:
            new_middle = window
            new_small = 0
        upper = infinity if middle == window else line[start + middle]
        if new_middle != window and line[new + new_middle] < upper:
            upper = line[new + new_middle]
        if window % 2 == 1:
            out[place] = upper
        else:
            one = links[before + middle]
            two = links[new_before + new_middle]
            lower = 0.0 - infinity if one == window else line[start + one]
            if i > 0 and two != window and line[new + two] > lower:
                lower = line[new + two]
            # Halved first, so that two large values do not overflow.
            out[place] = lower * 0.5 + upper * 0.5
        place = place + 1
        if place == count:
            break
        if i == 0:
            _link(order, new, window, links, new_after, new_before, new_ranks)
            j = window - 1
            while j >= 0:
                links[new_after + links[new_before + j]] = links[new_after + j]
                links[new_before + links[new_after + j]] = links[new_before + j]
                j = j - 1
        links[after + links[before + i]] = links[after + i]
        links[before + links[after + i]] = links[before + i]
        # What comes next cannot be foreseen, so it is chosen without branches.
        is_small = middle == window or links[ranks + i] < links[ranks + middle]
        moved = links[after + middle] if middle == i else middle
        moved = links[before + moved] if small > 0 else moved
        middle = middle if is_small else moved
        small = small - (1 if small > 0 else 0)
        links[new_after + links[new_before + i]] = i
        links[new_before + links[new_after + i]] = i
        is_small = new_middle == window or links[new_ranks + i] < links[new_ranks + new_middle]
        new_middle = links[new_before + new_middle] if is_small else new_middle
        one_more = small + new_small < half
        value = line[start + middle]
        is_old = middle != window and (new_middle == window or value <= line[new + new_middle])
        is_old = is_old or new_middle == window
        old_moves = one_more and is_old
        new_moves = one_more and not is_old
        middle = links[after + middle] if old_moves else middle
        new_middle = links[new_after + new_middle] if new_moves else new_middle
        small = small + (1 if old_moves else 0)
        new_small = new_small + (1 if new_moves else 0)
        if i == window - 1:
            middle = new_middle
            small = new_small
            old = after
            after = new_after
            new_after = old
            old = before
            before = new_before
            new_before = old
            old = ranks
            ranks = new_ranks
            new_ranks = old


def can_sort() -> bool:
    """Return whether medians can be compiled here."""
    if obstacle() is not None:
        return False
    try:
        moving_medians.compiled  # noqa: B018  # what it is asked for is kept
    except CompilerError:
        return False
    return True


def sorted_medians(line: Lines, window: int, out: Lines) -> None:
    """Write the medians of all whole windows of a line in which no sample is missing."""
    stretches = -(-line.size // window)
    padded = np.full(stretches * window + 1, np.inf)
    padded[: line.size] = line
    order = np.argsort(padded[:-1].reshape(stretches, window), axis=1)
    links = np.empty(6 * (window + 1), np.int32)
    moving_medians.compiled(
        padded.ctypes.data, order.ctypes.data, out.size, window, links.ctypes.data, out.ctypes.data
    )
