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
    double_of,
    high_product,
    leading_zeros,
    less,
    put_word,
)
from filterworks.machine.translation import translated

# Powers of ten whose first 128 bits are kept, and where in the table the whole ones begin.
_LEAST, _MOST = -342, 324
_WHOLE = 2 * (_MOST - _LEAST + 1)
_BITS = (1 << 128) - 1


@cache
def powers() -> Integers:
    """Return the table for both ways: the first 128 bits of each power of ten, then 1, 10, … 10¹⁸."""
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
    return np.array([*halves, *(10**n for n in range(19))], dtype=np.uint64).view(np.int64)


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


@translated
def eight_digits(number: int) -> int:
    """Return the digits of a number below 10⁸ as bytes 0 to 9, the first the lowest."""
    four = (number // 10000) | ((number % 10000) << 32)
    two = ((four * 10486) >> 20) & 0x7F0000007F
    two = two | ((four - two * 100) << 16)
    one = ((two * 103) >> 10) & 0x000F000F000F000F
    return one | ((two - one * 10) << 8)


@translated
def write_number(value: float, out: Bytes, start: int, point: int, table: Integers) -> int:  # noqa: C901  # one pass, one state
    """Write the shortest digits that read back as this finite double; return the place after them.

    Up to 32 bytes from `start` on may be overwritten.
    """
    place = start
    bits = bits_of(value)
    if bits < 0:
        out[place] = 45
        place = place + 1
    fraction = bits & 0xFFFFFFFFFFFFF
    exponent = (bits >> 52) & 0x7FF
    if fraction == 0 and exponent == 0:
        out[place] = 48
        out[place + 1] = point
        out[place + 2] = 48
        return place + 3
    digits = 0
    ten = 0
    mantissa = fraction
    power = -1074
    if exponent != 0:
        mantissa = fraction | (1 << 52)
        power = exponent - 1075
    if power <= 0 and power > -53 and mantissa & ((1 << (0 - power)) - 1) == 0:
        digits = mantissa >> (0 - power)
    else:
        closer = 1 if fraction == 0 and exponent > 1 else 0
        ten = arithmetic_shift(power * 1262611 - closer * 524031, 22)
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
            digits = tens + above
            ten = ten + 1
        else:
            below = 1 if lower <= 4 * digits else 0
            above = 1 if 4 * digits + 4 <= upper else 0
            if below != above:
                digits = digits + above
            else:
                middle = 4 * digits + 2
                if exact > middle or (exact == middle and digits & 1 == 1):
                    digits = digits + 1
    count = ((64 - leading_zeros(digits)) * 1233) >> 12
    if digits >= table[1334 + count]:
        count = count + 1
    ten = ten + count - 1
    digits = digits * table[1334 + 17 - count]
    first = digits // 10000000000000000
    digits = digits % 10000000000000000
    middle_word = eight_digits(digits // 100000000)
    last_word = eight_digits(digits % 100000000)
    count = 1
    if last_word != 0:
        count = 17 - (leading_zeros(last_word) >> 3)
    elif middle_word != 0:
        count = 9 - (leading_zeros(middle_word) >> 3)
    first = first + 48
    middle_word = middle_word + 0x3030303030303030
    last_word = last_word + 0x3030303030303030
    if ten < -5 or ten >= 16:
        out[place] = first
        put_word(out, place + 2, middle_word)
        put_word(out, place + 10, last_word)
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
    if ten < 0:
        put_word(out, place, 0x3030303030303030)
        out[place + 1] = point
        place = place + 1 - ten
        out[place] = first
        put_word(out, place + 1, middle_word)
        put_word(out, place + 9, last_word)
        return place + count
    out[place] = first
    put_word(out, place + 2, middle_word)
    put_word(out, place + 10, last_word)
    for j in range(ten):
        out[place + 1 + j] = out[place + 2 + j]
    out[place + 1 + ten] = point
    if count > ten + 1:
        return place + 1 + count
    out[place + 2 + ten] = 48
    return place + ten + 3


@translated
def _write_all(values: Integers, count: int, out: Bytes, table: Integers) -> int:
    place = 0
    for i in range(count):
        place = write_number(double_of(values[i]), out, place, 46, table)
        out[place] = 10
        place = place + 1
    return place
