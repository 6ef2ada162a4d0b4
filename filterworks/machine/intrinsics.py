"""What a processor can do with words and doubles, by name: for functions that are to be translated.

Python only reads these names; they stand for instructions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Places = NDArray[np.int32]
Integers = NDArray[np.int64]
Doubles = NDArray[np.float64]

# Name → kinds of the arguments, kind of the result, and the instructions, one value each.
INTRINSICS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "less": (("i64", "i64"), "i1", ("icmp ult i64 {0}, {1}",)),
    "arithmetic_shift": (("i64", "i64"), "i64", ("ashr i64 {0}, {1}",)),
    "leading_zeros": (("i64",), "i64", ("call i64 @llvm.ctlz.i64(i64 {0}, i1 false)",)),
    "trailing_zeros": (("i64",), "i64", ("call i64 @llvm.cttz.i64(i64 {0}, i1 false)",)),
    "bits_of": (("double",), "i64", ("bitcast double {0} to i64",)),
    "double_of": (("i64",), "double", ("bitcast i64 {0} to double",)),
    "as_double": (("i64",), "double", ("sitofp i64 {0} to double",)),
    "high_product": (
        ("i64", "i64"),
        "i64",
        (
            "zext i64 {0} to i128",
            "zext i64 {1} to i128",
            "mul i128 {2}, {3}",
            "lshr i128 {4}, 64",
            "trunc i128 {5} to i64",
        ),
    ),
    "word_at": (
        ("i8*", "i64"),
        "i64",
        ("getelementptr i8, ptr {0}, i64 {1}", "load i64, ptr {2}, align 1"),
    ),
}
DECLARED = """\
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.cttz.i64(i64, i1)"""


def less(a: int, b: int) -> bool:
    """Return whether `a` is less than `b`, both unsigned."""
    raise NotImplementedError


def arithmetic_shift(a: int, count: int) -> int:
    """Shift right; the sign stays."""
    raise NotImplementedError


def leading_zeros(a: int) -> int:
    """Count the zero bits before the first one."""
    raise NotImplementedError


def trailing_zeros(a: int) -> int:
    """Count the zero bits after the last one."""
    raise NotImplementedError


def bits_of(value: float) -> int:
    """Return the bits of a double."""
    raise NotImplementedError


def double_of(bits: int) -> float:
    """Return the double of these bits."""
    raise NotImplementedError


def as_double(a: int) -> float:
    """Return the double nearest to an integer."""
    raise NotImplementedError


def high_product(a: int, b: int) -> int:
    """Return the high half of a product of 128 bits."""
    raise NotImplementedError


def word_at(text: Bytes, place: int) -> int:
    """Return eight bytes, the first of them the lowest."""
    raise NotImplementedError


def put_word(text: Bytes, place: int, word: int) -> None:
    """Write eight bytes, the lowest of them first."""
    raise NotImplementedError
