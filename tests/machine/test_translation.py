"""Python functions as compiled loops."""

from __future__ import annotations

import numpy as np
import pytest

from filterworks.machine.intrinsics import (
    Bytes,
    Doubles,
    Integers,
    Places,
    arithmetic_shift,
    as_double,
    bits_of,
    double_of,
    eight_at,
    eight_of,
    equal_lanes,
    first_digits,
    first_of,
    four_at,
    hidden,
    high_product,
    last_digits,
    last_of,
    leading_zeros,
    less,
    one_on,
    ones,
    places_above_ascii,
    places_of,
    put_eight,
    put_four,
    put_two,
    put_word,
    reversed_bytes,
    running_sums,
    running_sums_back,
    sixteen_digits,
    trailing_zeros,
    two_at,
    word_at,
)
from filterworks.machine.translation import TranslationError, rarely_translated, translated

STEP = 3


@translated
def _digits(number: int) -> int:
    """Helpers are compiled with what calls them."""
    count = 0
    while number > 0 or count == 0:
        number = number // 10
        count += 1
    return count


@translated
def _walk(numbers: Integers, size: int, out: Integers) -> int:
    for i in range(size):
        out[i] = _digits(numbers[i])
        if numbers[i] == 7:
            continue
        if numbers[i] < 0 and not less(5, 3):
            break
        out[i] += STEP if numbers[i] % 2 == 0 else 10 * STEP
    return size - 1


@translated
def _bits(a: int, b: int, x: float, out: Integers) -> None:
    out[0] = high_product(a, b)
    out[1] = leading_zeros(b)
    out[2] = trailing_zeros(b)
    out[3] = arithmetic_shift(a, 3)
    out[4] = a >> 3
    out[5] = bits_of(x)
    out[6] = bits_of(double_of(bits_of(x)) * as_double(b) - 0.5)
    out[7] = 1 if less(b, a) and a < b else 0
    out[8] = (a ^ b) & (a | 12) << 1


@translated
def _bytes(text: Bytes, places: Places, numbers: Doubles) -> None:
    put_word(text, 3, word_at(text, 0) + 1)
    places[1] = -places[0]
    numbers[1] = -numbers[0]


def test_loops_branches_and_helpers():
    numbers = np.array([4, 12345, 7, -1, 8])
    out = np.zeros(5, np.int64)
    assert _walk.compiled(numbers.ctypes.data, 5, out.ctypes.data) == 4
    # The negative one is a large number to //, has its twenty digits, and ends the loop.
    assert out.tolist() == [1 + 3, 5 + 30, 1, 20, 0]


def test_words_of_64_bits():
    a, b = -5, 40
    out = np.zeros(9, np.int64)
    _bits.compiled(a, b, 1.25, out.ctypes.data)
    word = (1 << 64) - 1
    assert out.tolist() == [
        ((a & word) * b) >> 64,
        58,
        3,
        a >> 3,
        (a & word) >> 3,
        int(np.float64(1.25).view(np.int64)),
        int(np.float64(49.5).view(np.int64)),
        1,
        (a ^ b) & ((a | 12) << 1),
    ]


def test_small_elements_are_cut_and_extended():
    text = np.frombuffer(b"abcdefghijklmnop", np.uint8).copy()
    places, numbers = np.array([9, 0], np.int32), np.array([0.5, 0.0])
    _bytes.compiled(text.ctypes.data, places.ctypes.data, numbers.ctypes.data)
    assert text.tobytes() == b"abcbbcdefghlmnop"
    assert places.tolist() == [9, -9]
    assert numbers.tolist() == [0.5, -0.5]


@translated
def _parts_of_words(text: Bytes, out: Integers) -> None:
    out[0] = two_at(text, 1)
    out[1] = four_at(text, 3)
    out[2] = reversed_bytes(word_at(text, 0))
    out[3] = hidden(out[0] + 1)
    put_two(text, 9, 0x1234567)
    put_four(text, 12, -2)


def test_parts_of_words_lie_anywhere():
    """Nothing beside them is read or written."""
    text = np.frombuffer(bytes(range(250, 256)) + bytes(range(12)), np.uint8).copy()
    out = np.zeros(4, np.int64)
    _parts_of_words.compiled(text[:].ctypes.data, out.ctypes.data)
    assert out.tolist() == [
        0xFCFB,
        0x00FFFEFD,
        int.from_bytes(b"\xfa\xfb\xfc\xfd\xfe\xff\0\1", "big", signed=True),
        0xFCFC,
    ]
    assert text[9:].tolist() == [0x67, 0x45, 5, 0xFE, 0xFF, 0xFF, 0xFF, 10, 11]


@translated
def _mixed(a: int, x: float) -> float:
    return a + x


@translated
def _unknown(a: int) -> int:
    return sorted(a)


@translated
def _imported(a: int) -> int:
    with a:
        return a


@pytest.mark.parametrize("function", [_mixed, _unknown, _imported])
def test_what_cannot_be_translated_is_named(function):
    with pytest.raises(TranslationError, match=function.name):
        function.text()


def test_the_identity_follows_every_source():
    assert _walk.identity().startswith("_walk\n")
    assert "class Translated" in _walk.identity()
    assert "def _digits" in _walk.identity()


@translated
def _eights(line: Doubles, other: Doubles, out: Doubles) -> int:
    values = eight_at(line, 1)
    put_eight(out, 0, running_sums(values))
    put_eight(out, 8, running_sums_back(values))
    put_eight(out, 16, one_on(values))
    put_eight(out, 24, (values - eight_at(other, 0)) / eight_of(4.0))
    out[32] = first_of(values)
    out[33] = last_of(values)
    return equal_lanes(values, eight_at(other, 0))


def test_eight_numbers_at_once():
    line = np.array([9.0, 1, 2, 3, 4, 5, 6, 7, 8])
    other = np.array([0.0, 2, 0, 4, np.nan, 6, 0, 8])
    out = np.empty(34)
    mask = _eights.compiled(line.ctypes.data, other.ctypes.data, out.ctypes.data)
    values = line[1:]
    assert mask == 0b10101010
    assert out[:8].tolist() == np.cumsum(values).tolist()
    assert out[8:16].tolist() == np.cumsum(values[::-1])[::-1].tolist()
    assert out[16:24].tolist() == [0, *values[:-1]]
    np.testing.assert_array_equal(out[24:32], (values - other) / 4)
    assert out[32:].tolist() == [1, 8]


@translated
def _signs(text: Bytes, sign: int, out: Integers) -> None:
    out[0] = places_of(text, 1, sign)
    out[1] = places_above_ascii(text, 1)
    out[2] = ones(out[0])


def test_where_signs_stand():
    text = np.frombuffer(b"," + b"a,\xffb" * 15 + b",,,," + b",", np.uint8)
    out = np.empty(3, np.int64)
    _signs.compiled(text.ctypes.data, ord(","), out.ctypes.data)
    commas, wide = ([n for n in range(64) if value >> n & 1] for value in out[:2].tolist())
    assert commas == [*range(1, 60, 4), *range(60, 64)]
    assert wide == list(range(2, 60, 4))
    assert out[2] == 19


@rarely_translated
def _read(text: Bytes, stop: int, count: int) -> int:
    return sixteen_digits(text, stop, count)


@translated
def _digits_both_ways(text: Bytes, stop: int, count: int, out: Integers) -> int:
    number = _read(text, stop, count)
    out[0] = first_digits(number // 100000000, number % 100000000)
    out[1] = last_digits(number // 100000000, number % 100000000)
    return number


@pytest.mark.parametrize(
    "digits", ["0000000000000000", "9999999999999999", "1234567890123456", "0000000100000009"]
)
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16])
def test_sixteen_digits(digits, count):
    text = np.frombuffer(b"x" * 16 + digits.encode(), np.uint8)
    out = np.empty(2, np.int64)
    number = _digits_both_ways.compiled(text.ctypes.data, text.size, count, out.ctypes.data)
    assert number == int(digits[16 - count :] or 0)
    assert "".join(map(str, out.view(np.uint8))) == f"{number:016d}"


@pytest.mark.parametrize("sign", b"/:-.e \x00\xff")
@pytest.mark.parametrize("place", range(16))
def test_what_is_no_digit_among_sixteen(sign, place):
    text = np.frombuffer(b"0" * 16, np.uint8).copy()
    text[place] = sign
    for count in range(17):
        number = _digits_both_ways.compiled(text.ctypes.data, 16, count, np.empty(2, np.int64).ctypes.data)
        assert (number == -1) == (place >= 16 - count)
