"""Loops over samples that stand in one piece, compiled when first needed.

Every operation is rounded by itself, as NumPy does it: the bits are the same without a compiler.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filterworks.machine.code import Function
from filterworks.machine.compiler import compiled, obstacle, start_seconds, vector_bytes
from filterworks.machine.elements import kind_of, load_as, store_as, vector_of
from filterworks.machine.loops import Loop

DType = np.dtype[Any]
Floats = NDArray[np.floating[Any]]


def is_ready() -> bool:
    """Return whether the compiler has been started already: for these loops alone it is not worth it."""
    return obstacle() is None and start_seconds() == 0.0


def write_length(a: Floats, b: Floats) -> None:
    """Write √(a² + b²) into `a`; both are of one dtype and size, and in one piece.

    Examples
    --------
    >>> a = np.array([3.0, 0.0])
    >>> write_length(a, np.array([4.0, 0.0]))
    >>> a
    array([5., 0.])
    """
    size = np.array([a.size], np.int64)
    _length(a.dtype, vector_bytes() // a.itemsize)(a.ctypes.data, b.ctypes.data, size.ctypes.data)


@cache
def _length(work: DType, lanes: int) -> Loop:
    code = Function(f"length_{work}", ("p_a", "p_b"), ("size",))
    kind = kind_of(work)
    whole = code.value(f"and i64 %size, {-lanes}")
    for begin, stop, width in (("0", whole, lanes), (whole, "%size", 1)):
        vector, suffix = vector_of(kind, width), f"{f'v{width}' if width > 1 else ''}f{8 * work.itemsize}"
        with code.loop(begin, stop, width) as i:
            squares = []
            for pointer in ("%p_a", "%p_b"):
                one = code.load(vector, code.at(kind, pointer, i), work.itemsize)
                squares.append(code.value(f"fmul {vector} {one}, {one}"))
            total = code.value(f"fadd {vector} {squares[0]}, {squares[1]}")
            root = code.call(vector, f"llvm.sqrt.{suffix}", (vector, total))
            code.store(vector, root, code.at(kind, "%p_a", i), work.itemsize)
    return compiled(code)


def write_rounded(values: Floats, out: NDArray[Any]) -> None:
    """Write values as integers: rounded half to even and saturated; all in one piece, and none is NaN.

    Examples
    --------
    >>> out = np.empty(3, np.uint8)
    >>> write_rounded(np.array([-2.5, 2.5, 300.0]), out)
    >>> out
    array([  0,   2, 255], dtype=uint8)
    """
    size = np.array([values.size], np.int64)
    loop = _rounded(values.dtype, out.dtype, vector_bytes() // values.itemsize)
    loop(out.ctypes.data, values.ctypes.data, size.ctypes.data)


@cache
def _rounded(work: DType, out: DType, lanes: int) -> Loop:
    code = Function(f"rounded_{work}_{out}", ("p_out", "p_in"), ("size",))
    whole = code.value(f"and i64 %size, {-lanes}")
    for begin, stop, width in (("0", whole, lanes), (whole, "%size", 1)):
        with code.loop(begin, stop, width) as i:
            value = load_as(code, work, work, code.at(kind_of(work), "%p_in", i), width)
            store_as(code, work, out, value, code.at(kind_of(out), "%p_out", i), width)
    return compiled(code)


def write_counted(values: Floats, out: NDArray[Any], *, absolute: bool) -> tuple[int, int]:
    """Write values, or their magnitudes, as :func:`write_rounded` does, and count while at it.

    Returns
    -------
    int
        How many lay outside of the range of the dtype.
    int
        How many were NaN; what stands there instead means nothing.

    Examples
    --------
    >>> out = np.empty(4, np.uint8)
    >>> write_counted(np.array([-2.6, 2.5, 300.0, np.nan]), out, absolute=True), out[:3]
    ((1, 1), array([  3,   2, 255], dtype=uint8))
    """
    size, counts = np.array([values.size], np.int64), np.zeros(2, np.int64)
    loop = _counted(values.dtype, out.dtype, absolute, vector_bytes() // values.itemsize)
    loop(out.ctypes.data, values.ctypes.data, counts.ctypes.data, size.ctypes.data)
    outside, missing = counts.tolist()
    return outside, missing


@cache
def _counted(work: DType, out: DType, absolute: bool, lanes: int) -> Loop:
    code = Function(f"counted_{work}_{out}", ("p_out", "p_in", "p_counts"), ("size",))
    kind = kind_of(work)
    whole = code.value(f"and i64 %size, {-lanes}")
    for begin, stop, width in (("0", whole, lanes), (whole, "%size", 1)):
        vector, marks = vector_of(kind, width), vector_of("i1", width)
        suffix = f"{f'v{width}' if width > 1 else ''}f{8 * work.itemsize}"
        with code.loop(begin, stop, width) as i:
            value = load_as(code, work, work, code.at(kind, "%p_in", i), width)
            if absolute:
                value = code.call(vector, f"llvm.fabs.{suffix}", (vector, value))
            outside = outside_of(code, work, out, value, width)
            missing = code.value(f"fcmp uno {vector} {value}, {value}")
            for index, found in enumerate((outside, missing)):
                _count(code, found, code.at("i64", "%p_counts", index), width)
            value = code.value(f"select {marks} {missing}, {vector} zeroinitializer, {vector} {value}")
            store_as(code, work, out, value, code.at(kind_of(out), "%p_out", i), width)
    return compiled(code)


def outside_of(code: Function, work: DType, out: DType, value: str, lanes: int) -> str:
    """Return marks of the floats that are cut when they become integers of a dtype."""
    kind, info = kind_of(work), np.iinfo(out)
    vector = vector_of(kind, lanes)
    low, high = (
        f"{edge:.6e}" if lanes == 1 else f"splat ({kind} {edge:.6e})"
        for edge in (info.min - 0.5, info.max + 0.5)
    )
    below = code.value(f"fcmp olt {vector} {value}, {low}")
    above = code.value(f"fcmp ogt {vector} {value}, {high}")
    return code.value(f"or {vector_of('i1', lanes)} {below}, {above}")


def _count(code: Function, marks: str, pointer: str, lanes: int) -> None:
    """Add the number of marks that are set to what stands at an address."""
    if lanes == 1:
        bits = code.value(f"zext i1 {marks} to i64")
    else:
        packed = code.value(f"bitcast <{lanes} x i1> {marks} to i{lanes}")
        bits = code.call("i64", "llvm.ctpop.i64", ("i64", code.value(f"zext i{lanes} {packed} to i64")))
    code.store("i64", code.add(code.load("i64", pointer), bits), pointer)


def write_sharpened(
    data: NDArray[Any], blurred: Floats, strength: float, least: float, out: NDArray[Any]
) -> None:
    """Write data + strength · (data - blurred), details below `least` left out; all in one piece.

    Results that are integers are rounded half to even and saturated, and none may be NaN.

    Examples
    --------
    >>> out = np.empty(2, np.uint8)
    >>> write_sharpened(np.array([10, 20], np.uint8), np.array([12.0, 20.5]), 2.0, 1.0, out)
    >>> out
    array([ 6, 20], dtype=uint8)
    """
    values = np.array([data.size, np.float64(strength).view(np.int64), np.float64(least).view(np.int64)])
    loop = _sharpened(data.dtype, blurred.dtype, out.dtype, vector_bytes() // blurred.itemsize)
    loop(out.ctypes.data, data.ctypes.data, blurred.ctypes.data, values.ctypes.data)


@cache
def _sharpened(source: DType, work: DType, out: DType, lanes: int) -> Loop:
    names = ("size", "d_strength", "d_least")
    code = Function(f"sharpened_{source}_{work}_{out}", ("p_out", "p_data", "p_blurred"), names)
    kind = kind_of(work)
    amounts = amounts_of(code, work)
    whole = code.value(f"and i64 %size, {-lanes}")
    for begin, stop, width in (("0", whole, lanes), (whole, "%size", 1)):
        with code.loop(begin, stop, width) as i:
            value = load_as(code, source, work, code.at(kind_of(source), "%p_data", i), width)
            smooth = code.load(vector_of(kind, width), code.at(kind, "%p_blurred", i), work.itemsize)
            total = sharper(code, work, (value, smooth), amounts, width)
            store_as(code, work, out, total, code.at(kind_of(out), "%p_out", i), width)
    return compiled(code)


def amounts_of(code: Function, work: DType) -> tuple[str, str]:
    """Return the constants ``d_strength`` and ``d_least`` of a loop that sharpens."""
    strength, least = (
        name if work.itemsize == 8 else code.value(f"fptrunc double {name} to float")
        for name in ("%d_strength", "%d_least")
    )
    return strength, least


def sharper(
    code: Function, work: DType, numbers: tuple[str, str], amounts: tuple[str, str], lanes: int
) -> str:
    """Return data + strength · (data - blurred), details below the least left out."""
    kind, (value, smooth) = kind_of(work), numbers
    vector, suffix = vector_of(kind, lanes), f"{f'v{lanes}' if lanes > 1 else ''}f{8 * work.itemsize}"
    factor, limit = (code.splat(kind, amount, lanes) for amount in amounts)
    detail = code.value(f"fsub {vector} {value}, {smooth}")
    size = code.call(vector, f"llvm.fabs.{suffix}", (vector, detail))
    small = code.value(f"fcmp olt {vector} {size}, {limit}")
    marks = vector_of("i1", lanes)
    detail = code.value(f"select {marks} {small}, {vector} zeroinitializer, {vector} {detail}")
    detail = code.value(f"fmul {vector} {detail}, {factor}")
    return code.value(f"fadd {vector} {detail}, {value}")
