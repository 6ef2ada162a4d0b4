"""Loops over the bytes of plain rows, to be translated: numbers out of them, and results into them.

Plain means: no quotes, and every row with as many fields as the header.
"""

from __future__ import annotations

from filterworks.machine.decimals import double_bits, write_number
from filterworks.machine.intrinsics import (
    Bytes,
    Doubles,
    Integers,
    Places,
    bits_of,
    double_of,
    less,
    put_word,
    word_at,
)
from filterworks.machine.translation import translated

_MISSING = 0x7FF8000000000000


@translated
def read_number(text: Bytes, size: int, start: int, point: int, table: Integers, found: Integers) -> int:  # noqa: C901  # one pass, one state
    """Read the number that begins at `start`: its bits into `found`; return the place after it, or -1."""
    place = start
    sign = 0
    if text[place] == 45:
        sign = 1 << 63
        place = place + 1
    elif text[place] == 43:
        place = place + 1
    first = place
    digits = 0
    digit = text[place] - 48
    while less(digit, 10):
        digits = digits * 10 + digit
        place = place + 1
        digit = text[place] - 48
    count = place - first
    exponent = 0
    if text[place] == point:
        place = place + 1
        mark = place
        while place + 8 <= size:
            word = word_at(text, place)
            if ((word & 0xF0F0F0F0F0F0F0F0) | (((word + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0) >> 4)) != (
                0x3333333333333333
            ):
                break
            word = word - 0x3030303030303030
            word = word * 10 + (word >> 8)
            upper = (word & 0x000000FF000000FF) * 0x000F424000000064
            lower = ((word >> 16) & 0x000000FF000000FF) * 0x0000271000000001
            digits = digits * 100000000 + ((upper + lower) >> 32)
            place = place + 8
        digit = text[place] - 48
        while less(digit, 10):
            digits = digits * 10 + digit
            place = place + 1
            digit = text[place] - 48
        exponent = mark - place
        count = count - exponent
    if count == 0:
        return -1
    if count > 19:
        while text[first] == 48 or text[first] == point:
            count = count - (1 if text[first] == 48 else 0)
            first = first + 1
        if count > 19:
            return -1
    if text[place] | 32 == 101:
        place = place + 1
        down = 0
        if text[place] == 45:
            down = 1
            place = place + 1
        elif text[place] == 43:
            place = place + 1
        mark = place
        power = 0
        digit = text[place] - 48
        while less(digit, 10) and power < 10000:
            power = power * 10 + digit
            place = place + 1
            digit = text[place] - 48
        if place == mark:
            return -1
        exponent = exponent - power if down == 1 else exponent + power
    bits = double_bits(digits, exponent, table)
    if bits < 0:
        return -1
    found[0] = bits | sign
    return place


@translated
def scan_rows(  # noqa: C901  # one pass, one state
    text: Bytes,
    size: int,
    signs: Integers,
    columns: int,
    slots: Integers,
    table: Integers,
    values: Doubles,
    capacity: int,
    spans: Places,
    ends: Places,
    odd: Integers,
    room: int,
    found: Integers,
) -> int:
    """Take rows apart; return how many there are, or -1 where the text is not plain.

    Parameters
    ----------
    text, size
        Whole lines; a line end comes last.
    signs
        Delimiter, and what stands before the decimals.
    columns, slots
        For each column which of `values` it becomes, or -1.
    table
        Powers of ten.
    values, capacity
        A line of `capacity` numbers for each column that is one.
    spans, ends
        For each row, where each of its numbers begins and ends; where the row ends.
    odd, room
        Rows and numbers that were not understood, and how many there may be; the count is left in
        ``found[1]``.
    found
        Two numbers to work with.
    """
    delimiter = signs[0]
    point = signs[1]
    place = 0
    row = 0
    count = 0
    mark = 0
    last = columns - 1
    while place < size:
        for column in range(columns):
            slot = slots[column]
            start = place
            stop = -1
            if slot >= 0:
                sign = text[place]
                if sign == delimiter or sign == 10 or sign == 13:
                    found[0] = _MISSING
                    stop = place
                else:
                    stop = read_number(text, size, place, point, table, found)
                    if stop >= 0:
                        place = stop
                        sign = text[place]
                        if sign != delimiter and sign != 10 and sign != 13:
                            stop = -1
                            place = start
            if stop < 0:
                sign = text[place]
                while sign != delimiter and sign != 10:
                    place = place + 1
                    sign = text[place]
            end = place
            if sign == 10 and end > start and text[end - 1] == 13:
                end = end - 1
            if sign == 13:
                place = place + 1
                if text[place] != 10:
                    return -1
                sign = 10
            if slot >= 0:
                if stop < 0:
                    if count >= room:
                        return -1
                    odd[2 * count] = row
                    odd[2 * count + 1] = slot
                    count = count + 1
                    found[0] = _MISSING
                values[slot * capacity + row] = double_of(found[0])
                spans[mark] = start
                spans[mark + 1] = end
                mark = mark + 2
            if (sign == 10) != (column == last):
                return -1
            if column == last:
                ends[row] = end
            place = place + 1
        row = row + 1
    found[1] = count
    return row


@translated
def copy_bytes(text: Bytes, start: int, stop: int, out: Bytes, place: int) -> int:
    """Copy bytes; up to seven more may be overwritten."""
    while start + 8 <= stop:
        put_word(out, place, word_at(text, start))
        start = start + 8
        place = place + 8
    while start < stop:
        out[place] = text[start]
        start = start + 1
        place = place + 1
    return place


@translated
def write_result(
    value: float,
    was: float,
    text: Bytes,
    start: int,
    stop: int,
    signs: Integers,
    table: Integers,
    out: Bytes,
    place: int,
) -> int:
    """Write a result; one that is missing as it was if it was missing before, else as nothing."""
    bits = bits_of(value) & 0x7FFFFFFFFFFFFFFF
    if bits < 0x7FF0000000000000:
        return write_number(value, out, place, signs[1], table)
    if bits == 0x7FF0000000000000:
        if value < 0.0:
            out[place] = 45
            place = place + 1
        out[place] = 105
        out[place + 1] = 110
        out[place + 2] = 102
        return place + 3
    if was != was:
        return copy_bytes(text, start, stop, out, place)
    return place


@translated
def render_rows(
    text: Bytes,
    size: int,
    signs: Integers,
    rows: int,
    count: int,
    results: Doubles,
    stride: int,
    values: Doubles,
    capacity: int,
    spans: Places,
    ends: Places,
    adds: int,
    table: Integers,
    out: Bytes,
) -> int:
    """Write rows with their results in place of `count` numbers each, or after them; return the size.

    Parameters
    ----------
    text, size, signs, values, capacity, spans, ends, table
        As :func:`scan_rows` was given them, or filled them.
    results, stride
        A line of `stride` numbers for each column.
    adds
        1: results come as further columns.
    out
        With room for 32 bytes more than the longest result.
    """
    done = 0
    place = 0
    mark = 0
    for row in range(rows):
        if adds != 0:
            place = copy_bytes(text, done, ends[row], out, place)
            done = ends[row]
        for n in range(count):
            if adds == 0:
                place = copy_bytes(text, done, spans[mark], out, place)
                done = spans[mark + 1]
            else:
                out[place] = signs[0]
                place = place + 1
            place = write_result(
                results[n * stride + row], values[n * capacity + row],
                text, spans[mark], spans[mark + 1], signs, table, out, place,
            )  # fmt: skip
            mark = mark + 2
    return copy_bytes(text, done, size, out, place)
