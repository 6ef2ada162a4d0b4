"""Python functions as compiled loops."""

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
    high_product,
    leading_zeros,
    less,
    put_word,
    trailing_zeros,
    word_at,
)
from filterworks.machine.translation import TranslationError, translated

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
