"""Loops over the bytes of plain rows, to be translated: numbers out of them, and results into them.

Plain means: no quotes, and every row with as many fields as the header. The first loop marks where each
cell ends, so the next ones know where everything stands, and work on several numbers at once.
"""

from __future__ import annotations

from filterworks.machine.decimals import double_bits, write_number
from filterworks.machine.intrinsics import (
    Bytes,
    Doubles,
    Integers,
    Places,
    as_double,
    bits_of,
    double_of,
    less,
    ones,
    places_above_ascii,
    places_of,
    put_word,
    sixteen_digits,
    trailing_zeros,
    word_at,
)
from filterworks.machine.translation import rarely_translated, translated

_MISSING = 0x7FF8000000000000
# Where in the table of powers 1, 10, 100, … begin.
_WHOLE = 1334
_ZEROS = 0x3030303030303030


@translated
def mark_cells(
    text: Bytes, size: int, delimiter: int, quote: int, marks: Places, room: int, found: Integers
) -> int:
    """Find where cells end; return how many marks there are, or -1 if there is no room for them.

    Parameters
    ----------
    text, size
        Whole lines; 64 bytes more can be read.
    delimiter, quote
        Signs.
    marks, room
        -1, then the place of each delimiter and line end.
    found
        How many lines there are, and whether there are bytes above ASCII, quotes, and returns.
    """
    marks[0] = -1
    count = 1
    lines = 0
    wide = 0
    quotes = 0
    returns = 0
    place = 0
    while place < size:
        if count + 64 > room:
            return -1
        left = size - place
        # All ones, or those of the bytes that are left.
        inside = -1 if left >= 64 else (1 << (left & 63)) - 1
        ends = places_of(text, place, 10) & inside
        cells = (places_of(text, place, delimiter) & inside) | ends
        wide = wide | (places_above_ascii(text, place) & inside)
        quotes = quotes | (places_of(text, place, quote) & inside)
        returns = returns | (places_of(text, place, 13) & inside)
        lines = lines + ones(ends)
        while cells != 0:
            marks[count] = place + trailing_zeros(cells)
            cells = cells & (cells - 1)
            count = count + 1
        place = place + 64
    found[0] = lines
    found[1] = wide
    found[2] = quotes
    found[3] = returns
    return count


@translated
def digits_in(word: int) -> int:
    """Return how many of eight bytes, less 48 each, are digits, up to the first that is none."""
    # A byte of 10 or more gets its highest bit here; those after the first may be wrong.
    return trailing_zeros(((word + 0x7676767676767676) | word) & 0x8080808080808080) >> 3


@translated
def number_in(word: int, count: int) -> int:
    """Return the number that the first `count` of eight digits stand for."""
    half = 32 - 4 * count
    word = (word << half) << half
    word = word * 10 + (word >> 8)
    upper = (word & 0x000000FF000000FF) * 0x000F424000000064
    lower = ((word >> 16) & 0x000000FF000000FF) * 0x0000271000000001
    return (upper + lower) >> 32


@rarely_translated
def read_any_number(text: Bytes, start: int, point: int, table: Integers, found: Integers) -> int:  # noqa: C901  # one pass, one state
    """Read the number that begins at `start`: its bits into `found`; return the place after it, or -1.

    Up to eight bytes after the first that belongs to no number are read.
    """
    sign = text[start]
    minus = 1 << 63 if sign == 45 else 0
    place = start + (1 if sign == 45 or sign == 43 else 0)
    first = place
    digits = 0
    part = 8
    while part == 8:
        word = word_at(text, place) ^ _ZEROS
        part = digits_in(word)
        digits = digits * table[_WHOLE + part] + number_in(word, part)
        place = place + part
    count = place - first
    exponent = 0
    if text[place] == point:
        place = place + 1
        mark = place
        part = 8
        while part == 8:
            word = word_at(text, place) ^ _ZEROS
            part = digits_in(word)
            digits = digits * table[_WHOLE + part] + number_in(word, part)
            place = place + part
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
        down = 1 if text[place] == 45 else 0
        place = place + (1 if text[place] == 45 or text[place] == 43 else 0)
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
    found[0] = bits | minus
    return place


@translated
def read_number(text: Bytes, start: int, stop: int, point: int, table: Integers, found: Integers) -> int:
    """Read the number that stands between two places: its bits into `found`; return whether it is one.

    At once where it has a point, no power of ten, and no more than 16 digits besides the first seven.
    """
    sign = text[start]
    minus = 1 << 63 if sign == 45 else 0
    place = start + (1 if sign == 45 or sign == 43 else 0)
    word = word_at(text, place) ^ _ZEROS
    part = digits_in(word)
    count = stop - place - part - 1
    more = count - 16 if count > 16 else 0
    # The digits before the point and the first after it, without it; the last 16 are read at once.
    if (
        text[place + part] == point
        and stop >= 16
        and less(count, 20)
        and part + more < 8
        and part + count > 0
    ):
        before = word & ((1 << (8 * part)) - 1)
        word = before | (((word >> 8) >> (8 * part)) << (8 * part))
        digits = number_in(word, part + more)
        after = sixteen_digits(text, stop, count - more)
        if digits_in(word) >= part + more and after >= 0:
            digits = digits * table[_WHOLE + count - more] + after
            if part + count < 16:
                # Both are doubles, so their quotient is the nearest one.
                found[0] = bits_of(as_double(digits) / as_double(table[_WHOLE + count])) | minus
                return 1
            bits = double_bits(digits, 0 - count, table)
            if bits >= 0 and part + count < 20:
                found[0] = bits | minus
                return 1
    return 1 if read_any_number(text, start, point, table, found) == stop else 0


@translated
def read_rows(
    text: Bytes,
    marks: Places,
    rows: int,
    columns: int,
    returns: int,
    wanted: Integers,
    count: int,
    point: int,
    table: Integers,
    values: Doubles,
    odd: Integers,
    room: int,
    found: Integers,
) -> int:
    """Read the numbers of marked rows; return how many were not understood, or -1 where rows are not alike.

    Parameters
    ----------
    text, marks
        As in :func:`mark_cells`.
    rows, columns
        How many there are: a mark for each cell.
    returns
        1: lines end in CRLF.
    wanted, count
        The columns that are numbers, ascending.
    point
        What stands before the decimals.
    table
        Powers of ten.
    values
        A line of numbers for each of those columns.
    odd, room
        Row and number of what was not understood, and how many of them there may be.
    found
        A number to work with.
    """
    first = 0
    odds = 0
    for row in range(rows):
        end = marks[first + columns]
        if text[end] != 10:
            return -1
        if returns != 0 and (end == 0 or text[end - 1] != 13):
            return -1
        for n in range(count):
            at = first + wanted[n]
            start = marks[at] + 1
            stop = marks[at + 1] - (returns if wanted[n] == columns - 1 else 0)
            found[0] = _MISSING
            if start != stop and read_number(text, start, stop, point, table, found) == 0:
                if odds >= room:
                    return -1
                odd[2 * odds] = row
                odd[2 * odds + 1] = n
                odds = odds + 1
                found[0] = _MISSING
            values[n * rows + row] = double_of(found[0])
        first = first + columns
    return odds


@translated
def copy_bytes(text: Bytes, start: int, stop: int, out: Bytes, place: int) -> int:
    """Copy bytes; up to eight more may be read, and overwritten."""
    put_word(out, place, word_at(text, start))
    end = place + stop - start
    place = place + 8
    start = start + 8
    while start < stop:
        put_word(out, place, word_at(text, start))
        place = place + 8
        start = start + 8
    return end


@translated
def write_result(
    value: float,
    was: float,
    text: Bytes,
    start: int,
    stop: int,
    signs: Integers,
    table: Integers,
    found: Integers,
    out: Bytes,
    place: int,
) -> int:
    """Write a result; one that is missing as it was if it was missing before, else as nothing."""
    bits = bits_of(value) & 0x7FFFFFFFFFFFFFFF
    if bits < 0x7FF0000000000000:
        return write_number(value, out, place, signs[1], table, found)
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
    marks: Places,
    rows: int,
    columns: int,
    returns: int,
    wanted: Integers,
    count: int,
    signs: Integers,
    results: Doubles,
    stride: int,
    values: Doubles,
    adds: int,
    table: Integers,
    found: Integers,
    out: Bytes,
) -> int:
    """Write rows with their results in place of `count` numbers each, or after them; return the size.

    Parameters
    ----------
    text, size, marks, rows, columns, returns, wanted, count, values, table
        As :func:`mark_cells` and :func:`read_rows` were given them, or filled them.
    signs
        Delimiter, and what stands before the decimals.
    results, stride
        A line of `stride` numbers for each column.
    adds
        1: results come as further columns.
    found
        A number to work with.
    out
        With room for 64 bytes more than the longest result.
    """
    done = 0
    place = 0
    first = 0
    for row in range(rows):
        if adds != 0:
            end = marks[first + columns] - returns
            place = copy_bytes(text, done, end, out, place)
            done = end
        for n in range(count):
            at = first + wanted[n]
            start = marks[at] + 1
            stop = marks[at + 1] - (returns if wanted[n] == columns - 1 else 0)
            if adds == 0:
                place = copy_bytes(text, done, start, out, place)
                done = stop
            else:
                out[place] = signs[0]
                place = place + 1
            place = write_result(
                results[n * stride + row], values[n * rows + row],
                text, start, stop, signs, table, found, out, place,
            )  # fmt: skip
        first = first + columns
    return copy_bytes(text, done, size, out, place)
