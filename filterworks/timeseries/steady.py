"""Moving means of samples that are all numbers, eight at once.

A series may lie in up to three pieces, as it does where its ends are continued on both sides: its samples
are summed where they are.

Sources: those of :mod:`~filterworks.timeseries.averages`; Blelloch, CMU-CS-90-190 (1990), for sums of eight.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from filterworks.machine.intrinsics import (
    Doubles,
    Integers,
    as_double,
    bits_of,
    eight_at,
    eight_of,
    equal_lanes,
    first_of,
    last_of,
    one_on,
    put_eight,
    running_sums,
    running_sums_back,
)
from filterworks.machine.translation import translated
from filterworks.timeseries.parts import Lines

# Samples that are summed before what is left over is looked at.
CHUNK = 64
# Samples of a window that are summed anew for each result.
FEW = 24
_INFINITE = 0x7FF0000000000000
# Of samples in two pieces.
_TORN = 0x4000000000000000


@translated
def _shift(seams: Integers, start: int, stop: int) -> int:
    """Return how far from their place in the line samples lie; `_TORN` if not all in one piece."""
    shift = _TORN
    if stop <= seams[0]:
        shift = seams[2]
    elif start >= seams[0] and stop <= seams[1]:
        shift = seams[3]
    elif start >= seams[1]:
        shift = seams[4]
    return shift


@translated
def _sample(line: Doubles, seams: Integers, place: int) -> float:
    shift = seams[4]
    if place < seams[1]:
        shift = seams[2] if place < seams[0] else seams[3]
    return line[place + shift]  # type: ignore[no-any-return]  # NumPy does not say what it holds


@translated
def _means_of_few(line: Doubles, count: int, window: int, out: Doubles) -> int:
    """Write means, each from the sum of its own samples, in order; 0 if one is no number."""
    full = as_double(window)
    place = 0
    while place + 8 <= count:
        sums = eight_at(line, place)
        for k in range(1, window):
            sums = sums + eight_at(line, place + k)
        means = sums / eight_of(full)
        put_eight(out, place, means)
        if equal_lanes(means - means, eight_of(0.0)) != 255:
            return 0
        place = place + 8
    while place < count:
        total = line[place]
        for k in range(1, window):
            total = total + line[place + k]
        mean = total / full
        out[place] = mean
        if bits_of(mean) & _INFINITE == _INFINITE:
            return 0
        place = place + 1
    return 1


@translated
def _level(line: Doubles, seams: Integers, size: int, window: int, out: Doubles) -> None:
    """Write over the means of windows whose samples are all equal: they are that sample.

    Two samples that differ rule out every window that holds both, so few samples are looked at.
    """
    first = 0
    # The samples from `first` to this one are equal.
    known = 0
    while first + window <= size:
        end = first + window - 1
        place = end
        held = _sample(line, seams, end)
        while place > known and _sample(line, seams, place - 1) == held:
            place = place - 1
        if place > known:
            first = place
        else:
            out[first] = _sample(line, seams, first)
            first = first + 1
        known = end


@translated
def steady_means(line: Doubles, seams: Integers, size: int, window: int, sums: Doubles, out: Doubles) -> int:
    """Write the means of every whole window of a line whose samples are all numbers; else return 0.

    It also returns 0 where a sum is too large to be one. The last bits may be others than those of
    :func:`~filterworks.timeseries.averages.moving_means`: sums of eight are made in another order.

    Parameters
    ----------
    line, size, window, out
        As there; a line may be in three pieces, the first of them at this address.
    seams
        Places where the second and the third piece begin, and how many samples from its place in the
        line each piece lies.
    sums
        The numbers of :func:`~filterworks.timeseries.averages.room_for`, to work with.
    """
    fine = 1
    if window <= FEW:
        fine = _means_of_few(line, size - window + 1, window, out)
    else:
        fine = _means_of_many(line, seams, size, window, sums, out)
    if fine == 1 and window > 1:
        _level(line, seams, size, window, out)
    return fine


@translated
def _sum(line: Doubles, seams: Integers, start: int, stop: int) -> float:
    eights = eight_of(0.0)
    shift = _shift(seams, start, stop)
    while start + 8 <= stop and shift != _TORN:
        eights = eights + eight_at(line, start + shift)
        start = start + 8
    total = last_of(running_sums(eights))
    while start < stop:
        total = total + _sample(line, seams, start)
        start = start + 1
    return total


@translated
def _sums_behind(window: int, sums: Doubles) -> None:
    """Write for each chunk of a stretch what those behind it sum to, and what rounding leaves over."""
    high = 0.0
    low = 0.0
    chunk = (window + CHUNK - 1) // CHUNK - 1
    while chunk >= 0:
        place = CHUNK + 3 * chunk
        part = sums[place]
        sums[place + 1] = high
        sums[place + 2] = low
        total = high + part
        rest = total - high
        low = low + ((high - (total - rest)) + (part - rest))
        # Of infinities nothing is left over.
        low = low if low == low else 0.0
        high = total
        chunk = chunk - 1


@translated
def _sums_to_the_end(line: Doubles, seams: Integers, start: int, size: int, sums: Doubles) -> None:
    """Write the sums from each sample of a chunk to its last."""
    part = 0.0
    shift = _shift(seams, start, start + size)
    j = size
    while j >= 8 and shift != _TORN:
        j = j - 8
        leaving = running_sums_back(eight_at(line, start + shift + j))
        put_eight(sums, j, leaving + eight_of(part))
        part = part + first_of(leaving)
    while j > 0:
        j = j - 1
        part = part + _sample(line, seams, start + j)
        sums[j] = part


@translated
def _means_of_many(
    line: Doubles, seams: Integers, size: int, window: int, sums: Doubles, out: Doubles
) -> int:
    """Write means; 0 if one is no number.

    A chunk enters the windows of one stretch, which sums it up, and leaves those of the next.
    """
    count = size - window + 1
    full = as_double(window)
    begin = 0
    while begin < window:
        end = window if window < begin + CHUNK else begin + CHUNK
        sums[CHUNK + 3 * (begin // CHUNK)] = _sum(line, seams, begin, end)
        begin = end
    start = 0
    while start < count:
        _sums_behind(window, sums)
        high = 0.0
        low = 0.0
        begin = 0
        while begin < window and start + begin < count:
            size_of_chunk = CHUNK if begin + CHUNK < window else window - begin
            place = start + begin
            _sums_to_the_end(line, seams, place, size_of_chunk, sums)
            chunk = CHUNK + 3 * (begin // CHUNK)
            other = sums[chunk + 1]
            base = high + other
            rest = base - high
            lower = ((high - (base - rest)) + (other - rest)) + (low + sums[chunk + 2])
            lower = lower if lower == lower else 0.0
            part = 0.0
            stop = place + size_of_chunk if place + size_of_chunk < count else count
            # What enters with the last window lies behind the line.
            known = stop + window if stop < count else size
            shift = _shift(seams, place + window, known)
            while place + 8 <= stop and place + window + 8 <= size and shift != _TORN:
                entering = running_sums(eight_at(line, place + window + shift))
                parts = eight_at(sums, place - start - begin) + (one_on(entering) + eight_of(part))
                means = (eight_of(base) + (eight_of(lower) + parts)) / eight_of(full)
                put_eight(out, place, means)
                if equal_lanes(means - means, eight_of(0.0)) != 255:
                    return 0
                part = part + last_of(entering)
                place = place + 8
            while place < stop:
                mean = (base + (lower + (sums[place - start - begin] + part))) / full
                out[place] = mean
                if bits_of(mean) & _INFINITE == _INFINITE:
                    return 0
                if place + window < size:
                    part = part + _sample(line, seams, place + window)
                place = place + 1
            sums[chunk] = part
            total = high + part
            rest = total - high
            low = low + ((high - (total - rest)) + (part - rest))
            # Of infinities nothing is left over.
            low = low if low == low else 0.0
            high = total
            begin = begin + CHUNK
        start = start + window
    return 1


def seams_of(pieces: list[Lines]) -> NDArray[np.int64]:
    """Return for each line where the second and third of up to three pieces begin, and how far each lies.

    Source of the five numbers: :func:`steady_means`. Lines are each in one piece of memory.
    """
    first = pieces[0]
    column = np.arange(len(first))
    seams = np.zeros((len(first), 5), np.int64)
    seams[:, :2] = sum(piece.shape[1] for piece in pieces)
    place = 0
    for index, piece in enumerate(pieces):
        if index:
            seams[:, index - 1] = place
        apart = piece.ctypes.data - first.ctypes.data + column * (piece.strides[0] - first.strides[0])
        seams[:, 2 + index] = apart // piece.itemsize - place
        place += piece.shape[1]
    return seams
