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


class Eight:
    """Eight doubles that are worked on together, with ``+``, ``-`` and ``/``."""

    def __add__(self, other: Eight) -> Eight:
        raise NotImplementedError

    def __sub__(self, other: Eight) -> Eight:
        raise NotImplementedError

    def __truediv__(self, other: Eight) -> Eight:
        raise NotImplementedError


EIGHT = "<8 x double>"

_BYTES = ", ".join(f"i8 {n}" for n in range(16))
# Sixteen bytes that end at a place: those outside of the last few become zeros. Neighbours are joined three
# times, into eight numbers, four and two.
_SIXTEEN_DIGITS = (
    "sub i64 {1}, 16",
    "getelementptr i8, ptr {0}, i64 {3}",
    "load <16 x i8>, ptr {4}, align 1",
    "sub <16 x i8> {5}, splat (i8 48)",
    "sub i64 16, {2}",
    "trunc i64 {7} to i8",
    "insertelement <16 x i8> poison, i8 {8}, i32 0",
    "shufflevector <16 x i8> {9}, <16 x i8> poison, <16 x i32> zeroinitializer",
    f"icmp uge <16 x i8> <{_BYTES}>, {{10}}",
    "select <16 x i1> {11}, <16 x i8> {6}, <16 x i8> zeroinitializer",
    "icmp ugt <16 x i8> {12}, splat (i8 9)",
    "bitcast <16 x i1> {13} to i16",
    "bitcast <16 x i8> {12} to <8 x i16>",
    "and <8 x i16> {15}, splat (i16 255)",
    "mul <8 x i16> {16}, splat (i16 10)",
    "lshr <8 x i16> {15}, splat (i16 8)",
    "add <8 x i16> {17}, {18}",
    "bitcast <8 x i16> {19} to <4 x i32>",
    "and <4 x i32> {20}, splat (i32 65535)",
    "mul <4 x i32> {21}, splat (i32 100)",
    "lshr <4 x i32> {20}, splat (i32 16)",
    "add <4 x i32> {22}, {23}",
    "bitcast <4 x i32> {24} to <2 x i64>",
    "and <2 x i64> {25}, splat (i64 4294967295)",
    "mul <2 x i64> {26}, splat (i64 10000)",
    "lshr <2 x i64> {25}, splat (i64 32)",
    "add <2 x i64> {27}, {28}",
    "extractelement <2 x i64> {29}, i32 0",
    "extractelement <2 x i64> {29}, i32 1",
    "mul i64 {30}, 100000000",
    "add i64 {32}, {31}",
    "icmp eq i16 {14}, 0",
    "select i1 {34}, i64 {33}, i64 -1",
)
# Two numbers of eight digits each, taken apart three times: into four, eight and sixteen.
_SIGNS_OF_TWO = (
    "insertelement <2 x i64> poison, i64 {0}, i32 0",
    "insertelement <2 x i64> {2}, i64 {1}, i32 1",
    "and <2 x i64> {3}, splat (i64 134217727)",
    "mul <2 x i64> {4}, splat (i64 109951163)",
    "lshr <2 x i64> {5}, splat (i64 40)",
    "mul <2 x i64> {6}, splat (i64 10000)",
    "sub <2 x i64> {4}, {7}",
    "shl <2 x i64> {8}, splat (i64 32)",
    "or <2 x i64> {6}, {9}",
    "bitcast <2 x i64> {10} to <4 x i32>",
    "and <4 x i32> {11}, splat (i32 16383)",
    "mul <4 x i32> {12}, splat (i32 5243)",
    "lshr <4 x i32> {13}, splat (i32 19)",
    "mul <4 x i32> {14}, splat (i32 100)",
    "sub <4 x i32> {12}, {15}",
    "shl <4 x i32> {16}, splat (i32 16)",
    "or <4 x i32> {14}, {17}",
    "bitcast <4 x i32> {18} to <8 x i16>",
    "mul <8 x i16> {19}, splat (i16 103)",
    "lshr <8 x i16> {20}, splat (i16 10)",
    "mul <8 x i16> {21}, splat (i16 10)",
    "sub <8 x i16> {19}, {22}",
    "shl <8 x i16> {23}, splat (i16 8)",
    "or <8 x i16> {21}, {24}",
    "bitcast <8 x i16> {25} to <2 x i64>",
)
_ZERO = f"{EIGHT} zeroinitializer"


def _moved(lanes: tuple[int, ...], value: int) -> str:
    """Return the instruction that takes lanes of a value, or a zero where the lane is 8."""
    places = ", ".join(f"i32 {lane}" for lane in lanes)
    return f"shufflevector {EIGHT} {{{value}}}, {_ZERO}, <8 x i32> <{places}>"


def _running(lanes: tuple[tuple[int, ...], ...]) -> tuple[str, ...]:
    """Return the instructions that add lanes to the next ones, to those after them, and so on."""
    steps: list[str] = []
    for number, one in enumerate(lanes):
        steps += [_moved(one, 2 * number), f"fadd {EIGHT} {{{2 * number}}}, {{{2 * number + 1}}}"]
    return tuple(steps)


_ONE_ON, _ONE_BACK = (8, 0, 1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 6, 7, 8)
_ON = (_ONE_ON, (8, 8, 0, 1, 2, 3, 4, 5), (8, 8, 8, 8, 0, 1, 2, 3))
_BACK = (_ONE_BACK, (2, 3, 4, 5, 6, 7, 8, 8), (4, 5, 6, 7, 8, 8, 8, 8))
# Name → kinds of the arguments, kind of the result, and the instructions, one value each.
INTRINSICS: dict[str, tuple[tuple[str, ...], str, tuple[str, ...]]] = {
    "less": (("i64", "i64"), "i1", ("icmp ult i64 {0}, {1}",)),
    "arithmetic_shift": (("i64", "i64"), "i64", ("ashr i64 {0}, {1}",)),
    "leading_zeros": (("i64",), "i64", ("call i64 @llvm.ctlz.i64(i64 {0}, i1 false)",)),
    "trailing_zeros": (("i64",), "i64", ("call i64 @llvm.cttz.i64(i64 {0}, i1 false)",)),
    "ones": (("i64",), "i64", ("call i64 @llvm.ctpop.i64(i64 {0})",)),
    "hidden": (("i64",), "i64", ('call i64 asm "", "=r,0"(i64 {0})',)),
    "reversed_bytes": (("i64",), "i64", ("call i64 @llvm.bswap.i64(i64 {0})",)),
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
    "four_at": (
        ("i8*", "i64"),
        "i64",
        (
            "getelementptr i8, ptr {0}, i64 {1}",
            "load i32, ptr {2}, align 1",
            "zext i32 {3} to i64",
        ),
    ),
    "two_at": (
        ("i8*", "i64"),
        "i64",
        (
            "getelementptr i8, ptr {0}, i64 {1}",
            "load i16, ptr {2}, align 1",
            "zext i16 {3} to i64",
        ),
    ),
    "put_word": (
        ("i8*", "i64", "i64"),
        "void",
        ("getelementptr i8, ptr {0}, i64 {1}", "store i64 {2}, ptr {3}, align 1"),
    ),
    "put_four": (
        ("i8*", "i64", "i64"),
        "void",
        (
            "getelementptr i8, ptr {0}, i64 {1}",
            "trunc i64 {2} to i32",
            "store i32 {4}, ptr {3}, align 1",
        ),
    ),
    "put_two": (
        ("i8*", "i64", "i64"),
        "void",
        (
            "getelementptr i8, ptr {0}, i64 {1}",
            "trunc i64 {2} to i16",
            "store i16 {4}, ptr {3}, align 1",
        ),
    ),
    "sixteen_digits": (("i8*", "i64", "i64"), "i64", _SIXTEEN_DIGITS),
    "first_digits": (
        ("i64", "i64"),
        "i64",
        (*_SIGNS_OF_TWO, "extractelement <2 x i64> {26}, i32 0"),
    ),
    "last_digits": (
        ("i64", "i64"),
        "i64",
        (*_SIGNS_OF_TWO, "extractelement <2 x i64> {26}, i32 1"),
    ),
    "eight_at": (
        ("double*", "i64"),
        EIGHT,
        ("getelementptr double, ptr {0}, i64 {1}", f"load {EIGHT}, ptr {{2}}, align 8"),
    ),
    "put_eight": (
        ("double*", "i64", EIGHT),
        "void",
        ("getelementptr double, ptr {0}, i64 {1}", f"store {EIGHT} {{2}}, ptr {{3}}, align 8"),
    ),
    "eight_of": (
        ("double",),
        EIGHT,
        (
            f"insertelement {EIGHT} poison, double {{0}}, i32 0",
            f"shufflevector {EIGHT} {{1}}, {EIGHT} poison, <8 x i32> zeroinitializer",
        ),
    ),
    "first_of": ((EIGHT,), "double", (f"extractelement {EIGHT} {{0}}, i32 0",)),
    "last_of": ((EIGHT,), "double", (f"extractelement {EIGHT} {{0}}, i32 7",)),
    "one_on": ((EIGHT,), EIGHT, (_moved(_ONE_ON, 0),)),
    "running_sums": ((EIGHT,), EIGHT, _running(_ON)),
    "running_sums_back": ((EIGHT,), EIGHT, _running(_BACK)),
    "equal_lanes": (
        (EIGHT, EIGHT),
        "i64",
        (f"fcmp oeq {EIGHT} {{0}}, {{1}}", "bitcast <8 x i1> {2} to i8", "zext i8 {3} to i64"),
    ),
    "places_of": (
        ("i8*", "i64", "i64"),
        "i64",
        (
            "getelementptr i8, ptr {0}, i64 {1}",
            "load <64 x i8>, ptr {3}, align 1",
            "trunc i64 {2} to i8",
            "insertelement <64 x i8> poison, i8 {5}, i32 0",
            "shufflevector <64 x i8> {6}, <64 x i8> poison, <64 x i32> zeroinitializer",
            "icmp eq <64 x i8> {4}, {7}",
            "bitcast <64 x i1> {8} to i64",
        ),
    ),
    "places_above_ascii": (
        ("i8*", "i64"),
        "i64",
        (
            "getelementptr i8, ptr {0}, i64 {1}",
            "load <64 x i8>, ptr {2}, align 1",
            "icmp slt <64 x i8> {3}, zeroinitializer",
            "bitcast <64 x i1> {4} to i64",
        ),
    ),
}
DECLARED = """\
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.cttz.i64(i64, i1)
declare i64 @llvm.ctpop.i64(i64)
declare i64 @llvm.bswap.i64(i64)"""


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


def ones(a: int) -> int:
    """Count the bits that are one."""
    raise NotImplementedError


def reversed_bytes(a: int) -> int:
    """Return the eight bytes in the opposite order."""
    raise NotImplementedError


def hidden(a: int) -> int:
    """Return `a`; the compiler does not know that, and makes no branch of what is worked out from it."""
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


def four_at(text: Bytes, place: int) -> int:
    """Return four bytes, the first of them the lowest, as a number of at least 0."""
    raise NotImplementedError


def two_at(text: Bytes, place: int) -> int:
    """Return two bytes, the first of them the lowest, as a number of at least 0."""
    raise NotImplementedError


def places_of(text: Bytes, place: int, sign: int) -> int:
    """Return which of 64 bytes are `sign`, a bit for each, that of the first the lowest."""
    raise NotImplementedError


def places_above_ascii(text: Bytes, place: int) -> int:
    """Return which of 64 bytes are above 127, a bit for each, that of the first the lowest."""
    raise NotImplementedError


def first_digits(first: int, last: int) -> int:
    """Return the digits of the first of two numbers below 10⁸ as bytes 0 to 9, the first the lowest.

    With :func:`last_digits` of the same numbers it costs no more than alone.
    """
    raise NotImplementedError


def last_digits(first: int, last: int) -> int:
    """Return the digits of the last of two numbers, as :func:`first_digits` those of the first."""
    raise NotImplementedError


def sixteen_digits(text: Bytes, stop: int, count: int) -> int:
    """Return the number that the `count` bytes before `stop` stand for, at most 16; -1: they are no digits.

    Sixteen bytes are read.
    """
    raise NotImplementedError


def eight_at(line: Doubles, place: int) -> Eight:
    """Return eight numbers that follow each other."""
    raise NotImplementedError


def eight_of(value: float) -> Eight:
    """Return a number eight times."""
    raise NotImplementedError


def first_of(values: Eight) -> float:
    """Return the first of eight numbers."""
    raise NotImplementedError


def last_of(values: Eight) -> float:
    """Return the last of eight numbers."""
    raise NotImplementedError


def one_on(values: Eight) -> Eight:
    """Return 0 and the first seven of eight numbers."""
    raise NotImplementedError


def running_sums(values: Eight) -> Eight:
    """Return for each of eight numbers the sum of all up to it."""
    raise NotImplementedError


def running_sums_back(values: Eight) -> Eight:
    """Return for each of eight numbers the sum of all from it on."""
    raise NotImplementedError


def equal_lanes(values: Eight, others: Eight) -> int:
    """Return which of eight numbers equal others, a bit for each, that of the first the lowest."""
    raise NotImplementedError


def put_eight(line: Doubles, place: int, values: Eight) -> None:
    """Write eight numbers."""
    raise NotImplementedError


def put_word(text: Bytes, place: int, word: int) -> None:
    """Write eight bytes, the lowest of them first."""
    raise NotImplementedError


def put_four(text: Bytes, place: int, word: int) -> None:
    """Write the four lowest bytes, the lowest of them first."""
    raise NotImplementedError


def put_two(text: Bytes, place: int, word: int) -> None:
    """Write the two lowest bytes, the lowest of them first."""
    raise NotImplementedError
