"""Samples as TIFF stores them, to be translated.

Their bytes may be swapped, and predictors leave something smaller of them. Sources: Adobe, TIFF Revision 6.0,
section 14; Adobe, TIFF Technical Note 3 (2005), for floating-point numbers.
"""

from __future__ import annotations

from filterworks.machine.intrinsics import (
    Bytes,
    Integers,
    four_at,
    put_four,
    put_two,
    put_word,
    reversed_bytes,
    two_at,
    word_at,
)
from filterworks.machine.translation import translated

# Values of the tag.
NO_PREDICTOR, DIFFERENCES, FLOATS = 1, 2, 3


@translated
def sample_at(data: Bytes, place: int, size: int) -> int:
    """Return a sample of 1, 2, 4 or 8 bytes, the first of them the lowest."""
    if size == 2:
        return two_at(data, place)
    if size == 1:
        return data[place]  # type: ignore[no-any-return]  # NumPy does not say what it holds
    if size == 4:
        return four_at(data, place)
    return word_at(data, place)


@translated
def put_sample(data: Bytes, place: int, size: int, value: int) -> None:
    """Write a sample of 1, 2, 4 or 8 bytes."""
    if size == 2:
        put_two(data, place, value)
    elif size == 1:
        data[place] = value
    elif size == 4:
        put_four(data, place, value)
    else:
        put_word(data, place, value)


@translated
def restore_line(room: Bytes, line: int, columns: int, shape: Integers, out: Bytes, place: int) -> None:
    """Write the first samples of a line to `out`; the line may be overwritten.

    Parameters
    ----------
    room, line
        Where the line lies.
    shape
        Bytes of a sample, channels, whether bytes are swapped, predictor, bytes of a line of a segment,
        bytes from a pixel of the image to the next, and from a row to the next.
    out, place
        Where the samples go, one behind the other.
    """
    if shape[3] == FLOATS:
        restore_floats(room, line, columns * shape[1], shape, out, place)
    elif shape[3] == NO_PREDICTOR and shape[2] == 0:
        copy_bytes(room, line, columns * shape[0] * shape[1], out, place)
    else:
        restore_differences(room, line, columns, shape, out, place)


@translated
def copy_bytes(source: Bytes, start: int, size: int, out: Bytes, place: int) -> None:
    """Copy bytes, and no other ones."""
    done = 0
    while done + 8 <= size:
        put_word(out, place + done, word_at(source, start + done))
        done = done + 8
    while done < size:
        out[place + done] = source[start + done]
        done = done + 1


@translated
def restore_differences(
    room: Bytes, line: int, columns: int, shape: Integers, out: Bytes, place: int
) -> None:
    """Sum up the differences of a line, or only swap its bytes."""
    size = shape[0]
    shift = 64 - 8 * size
    summed = -1 if shape[3] == DIFFERENCES else 0
    step = size * shape[1]
    for channel in range(shape[1]):
        source = line + channel * size
        target = place + channel * size
        value = 0
        for _column in range(columns):
            sample = sample_at(room, source, size)
            if shape[2] != 0:
                sample = reversed_bytes(sample) >> shift
            value = sample + (value & summed)
            put_sample(out, target, size, value)
            source = source + step
            target = target + step


@translated
def restore_floats(room: Bytes, line: int, count: int, shape: Integers, out: Bytes, place: int) -> None:
    """Sum up the bytes of a line, and put together numbers: their first bytes come first, then the next."""
    end = line + shape[4]
    for channel in range(shape[1]):
        value = 0
        at = line + channel
        while at < end:
            value = value + room[at]
            room[at] = value
            at = at + shape[1]
    across = shape[4] // shape[0]
    for number in range(count):
        value = 0
        at = line + number
        while at < end:
            value = (value << 8) | room[at]
            at = at + across
        put_sample(out, place + number * shape[0], shape[0], value)


@translated
def filter_line(
    image: Bytes, place: int, inside: int, columns: int, shape: Integers, raw: Bytes, line: int
) -> None:
    """Write a line of samples to `raw` as it is stored.

    Parameters
    ----------
    image, place, inside
        Where the samples are, and how many columns; the last one goes on.
    columns, raw, line
        How many are stored, and where.
    shape
        As for :func:`restore_line`.
    """
    if shape[3] == FLOATS:
        filter_floats(image, place, inside, columns, shape, raw, line)
    else:
        filter_differences(image, place, inside, columns, shape, raw, line)


@translated
def filter_differences(
    image: Bytes, place: int, inside: int, columns: int, shape: Integers, raw: Bytes, line: int
) -> None:
    """Write the differences of a line, or its samples."""
    size = shape[0]
    shift = 64 - 8 * size
    differs = -1 if shape[3] == DIFFERENCES else 0
    for channel in range(shape[1]):
        source = place + channel * size
        target = line + channel * size
        before = 0
        for column in range(columns):
            value = sample_at(image, source, size)
            sample = value - (before & differs)
            before = value
            if shape[2] != 0:
                sample = reversed_bytes(sample << shift)
            put_sample(raw, target, size, sample)
            source = source + (shape[5] if column + 1 < inside else 0)
            target = target + size * shape[1]


@translated
def filter_floats(
    image: Bytes, place: int, inside: int, columns: int, shape: Integers, raw: Bytes, line: int
) -> None:
    """Take numbers apart, their first bytes first, and write the differences of all these bytes."""
    end = line + shape[4]
    across = shape[4] // shape[0]
    for column in range(columns):
        for channel in range(shape[1]):
            value = sample_at(image, place + channel * shape[0], shape[0])
            shift = 8 * shape[0]
            at = line + column * shape[1] + channel
            while at < end:
                shift = shift - 8
                raw[at] = value >> shift
                at = at + across
        place = place + (shape[5] if column + 1 < inside else 0)
    for channel in range(shape[1]):
        before = 0
        at = line + channel
        while at < end:
            value = raw[at]
            raw[at] = value - before
            before = value
            at = at + shape[1]
