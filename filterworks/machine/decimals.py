"""Between decimal digits and doubles, both ways exactly.

Sources: Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51 (2021), with
Mushtak & Lemire, "Fast number parsing without fallback" (2023); Giulietti, "The Schubfach way to render
doubles" (2020). To be translated; see :mod:`filterworks.machine.translation`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from filterworks.machine.intrinsics import (
    Bytes,
    Integers,
    arithmetic_shift,
    bits_of,
    first_digits,
    high_product,
    last_digits,
    leading_zeros,
    less,
    put_word,
)
from filterworks.machine.translation import rarely_translated, translated

# Powers of ten whose first 128 bits are kept, and where in the table the whole ones begin.
_LEAST, _MOST = -342, 324
_WHOLE = 2 * (_MOST - _LEAST + 1)
# Where the mask of a double's fraction is kept. Written as a number, it becomes a count of bits in the low
# byte of a register that still holds the place before: each number would wait for the one before it.
_FRACTION = _WHOLE + 19
_BITS = (1 << 128) - 1


@cache
def powers() -> Integers:
    """Return the table for both ways: the first 128 bits of each power of ten, 1, 10, … 10¹⁸, a mask."""
    numbers = []
    power = 1
    for _ in range(_MOST + 1):
        shift = power.bit_length() - 128
        numbers.append(power >> shift if shift > 0 else power << -shift)
        power *= 5
    small = []
    power = 5
    for exponent in range(1, -_LEAST + 1):
        # Rounded down; up where rounding to the nearest double relies on it.
        number = (1 << (power.bit_length() + 127)) // power
        small.append(number + (exponent <= 27))
        power *= 5
    halves = [half for number in (*small[::-1], *numbers) for half in (number >> 64, number & (1 << 64) - 1)]
    whole = (10**n for n in range(19))
    return np.array([*halves, *whole, (1 << 52) - 1], dtype=np.uint64).view(np.int64)


@translated
def double_bits(digits: int, exponent: int, table: Integers) -> int:
    """Return the bits of the double nearest to digits · 10**exponent, at least 0; -1 if others must tell.

    `digits` is unsigned.
    """
    if digits == 0:
        return 0
    if exponent < -342 or exponent > 308:
        return -1
    shift = leading_zeros(digits)
    scaled = digits << shift
    place = 2 * (exponent + 342)
    high = high_product(scaled, table[place])
    low = scaled * table[place]
    if high & 0x1FF == 0x1FF:
        more = high_product(scaled, table[place + 1])
        low = low + more
        if less(low, more):
            high = high + 1
    upper = high >> 63
    mantissa = high >> (upper + 9)
    power = arithmetic_shift(217706 * exponent, 16) + 63 + upper - shift + 1023
    if power <= 0:
        return -1
    is_between = less(low, 2) and exponent >= -4 and exponent <= 23 and mantissa & 3 == 1
    if is_between and mantissa << (upper + 9) == high:
        mantissa = mantissa - 1
    mantissa = (mantissa + (mantissa & 1)) >> 1
    if mantissa >= 1 << 53:
        mantissa = 1 << 52
        power = power + 1
    if power >= 0x7FF:
        return -1
    return (mantissa & 0xFFFFFFFFFFFFF) | (power << 52)


@translated
def rounded_to_odd(high: int, low: int, factor: int) -> int:
    """Return the high part of a product of 192 bits, odd if anything follows."""
    carry = high_product(low, factor)
    middle = high * factor + carry
    top = high_product(high, factor) + (1 if less(middle, carry) else 0)
    return top | (1 if less(1, middle) else 0)


@rarely_translated
def shortest_digits(fraction: int, exponent: int, table: Integers, found: Integers) -> int:
    """Return the shortest digits of any double but 0; the power of ten they are to be times goes to `found`.

    `fraction` and `exponent` are its bits.
    """
    mantissa = fraction
    power = -1074
    if exponent != 0:
        mantissa = fraction | (1 << 52)
        power = exponent - 1075
    # The next smaller double is closer than the next larger one.
    closer = 1 if fraction == 0 and exponent > 1 else 0
    ten = arithmetic_shift(power * 1262611 - closer * 524031, 22)
    found[0] = ten
    shift = power + arithmetic_shift((0 - ten) * 1741647, 19) + 1
    at = 2 * (342 - ten)
    high = table[at]
    # The table is rounded down; here it must be rounded up.
    low = table[at + 1] + (1 if ten > 27 or ten < -55 else 0)
    odd = mantissa & 1
    lower = rounded_to_odd(high, low, (4 * mantissa - 2 + closer) << shift) + odd
    exact = rounded_to_odd(high, low, (4 * mantissa) << shift)
    upper = rounded_to_odd(high, low, (4 * mantissa + 2) << shift) - odd
    digits = exact >> 2
    tens = digits // 10
    below = 1 if lower <= 40 * tens else 0
    above = 1 if 40 * tens + 40 <= upper else 0
    if digits >= 10 and below != above:
        digits = 10 * (tens + above)
    else:
        below = 1 if lower <= 4 * digits else 0
        above = 1 if 4 * digits + 4 <= upper else 0
        middle = 4 * digits + 2
        nearest = 1 if exact > middle or (exact == middle and digits & 1 == 1) else 0
        digits = digits + (above if below != above else nearest)
    while less(digits, 1000000000000000):
        digits = digits * 10
        found[0] = found[0] - 1
    return digits


@translated
def nearest_digits(mantissa: int, power: int, ten: int, table: Integers) -> int:
    """Return the shortest digits of mantissa · 2**power, to be times 10**ten; -1 if one product cannot tell.

    The next doubles are equally far.
    What is between the digits and the number, and half of the distance to the next double, are taken in
    units of 2⁻⁶⁰. Neither is wrong by two of them, so what differs by more is told apart.
    """
    shift = power + arithmetic_shift((0 - ten) * 1741647, 19) + 1
    at = 2 * (342 - ten)
    high = table[at]
    low = table[at + 1] + (1 if ten > 27 or ten < -55 else 0)
    scaled = mantissa << shift
    carry = high_product(scaled, low)
    rest = high * scaled + carry
    digits = high_product(scaled, high) + (1 if less(rest, carry) else 0)
    last = digits % 10
    below = (last << 60) | (rest >> 4)
    half = high >> (5 - shift)
    to_ten = 0xA000000000000000 - below
    if less(below - half + 2, 5) or less(to_ten - half + 2, 5) or less(rest - 0x7FFFFFFFFFFFFFFE, 5):
        return -1
    nearest = digits + (rest >> 63)
    lower = digits - last
    nearest = lower if less(below, half) else nearest
    return lower + 10 if less(to_ten, half) else nearest


@translated
def write_number(value: float, out: Bytes, start: int, point: int, table: Integers, found: Integers) -> int:
    """Write the shortest digits that read back as this finite double; return the place after them.

    Up to 32 bytes from `start` on may be overwritten; `found` is a number to work with.
    """
    bits = bits_of(value)
    out[start] = 45
    place = start + (bits >> 63)
    fraction = bits & table[_FRACTION]
    exponent = (bits >> 52) & 0x7FF
    if fraction == 0 and exponent == 0:
        out[place] = 48
        out[place + 1] = point
        out[place + 2] = 48
        return place + 3
    digits = -1
    power = exponent - 1075
    # The power of ten below the distance between two doubles: that many digits tell them apart.
    ten = arithmetic_shift(power * 1262611, 22)
    if fraction != 0 and exponent != 0:
        digits = nearest_digits(fraction | (1 << 52), power, ten, table)
    if digits < 0:
        digits = shortest_digits(fraction, exponent, table, found)
        ten = found[0]
    ten = ten + 16
    if less(digits, 10000000000000000):
        digits = digits * 10
        ten = ten - 1
    first = digits // 10000000000000000
    digits = digits - first * 10000000000000000
    upper = digits // 100000000
    lower = digits - upper * 100000000
    middle_word = first_digits(upper, lower)
    last_word = last_digits(upper, lower)
    count = 17 - (leading_zeros(last_word) >> 3)
    count = count if last_word != 0 else 9 - (leading_zeros(middle_word) >> 3)
    return place_digits(
        first + 48,
        middle_word + 0x3030303030303030,
        last_word + 0x3030303030303030,
        count,
        ten,
        out,
        place,
        point,
    )


@translated
def place_digits(
    first: int, middle: int, last: int, count: int, ten: int, out: Bytes, place: int, point: int
) -> int:
    """Write `count` of 17 digits, the first before the power `ten`; return the place after them."""
    if less(ten, 8):
        out[place] = first
        shift = 8 * ten
        before = middle & ((1 << shift) - 1)
        after = (middle - before) << 8
        put_word(out, place + 1, before | (point << shift) | after)
        out[place + 9] = middle >> 56
        put_word(out, place + 10, last)
        return place + (count + 1 if count > ten + 1 else ten + 3)
    if less(-6, ten):
        put_word(out, place, 0x3030303030303030)
        out[place + 1] = point
        place = place + 1 - ten
        out[place] = first
        put_word(out, place + 1, middle)
        put_word(out, place + 9, last)
        return place + count
    return place_rarely(first, middle, last, count, ten, out, place, point)


@rarely_translated
def place_rarely(
    first: int, middle: int, last: int, count: int, ten: int, out: Bytes, place: int, point: int
) -> int:
    """Write digits with a power of ten after them, or with more than eight of them before the point."""
    out[place] = first
    put_word(out, place + 2, middle)
    put_word(out, place + 10, last)
    if ten >= 16 or ten < 0:
        return place_power(count, ten, out, place, point)
    for j in range(ten):
        out[place + 1 + j] = out[place + 2 + j]
    out[place + 1 + ten] = point
    if count > ten + 1:
        return place + 1 + count
    out[place + 2 + ten] = 48
    return place + ten + 3


@translated
def place_power(count: int, ten: int, out: Bytes, place: int, point: int) -> int:
    """Write the point after the first of `count` digits, and the power after the last."""
    out[place + 1] = point
    place = place + (count + 1 if count > 1 else 1)
    out[place] = 101
    out[place + 1] = 45 if ten < 0 else 43
    place = place + 2
    ten = 0 - ten if ten < 0 else ten
    if ten >= 100:
        out[place] = 48 + ten // 100
        place = place + 1
    if ten >= 10:
        out[place] = 48 + (ten // 10) % 10
        place = place + 1
    out[place] = 48 + ten % 10
    return place + 1
