"""How numbers of each dtype are loaded, converted and stored in LLVM's assembly language."""

from __future__ import annotations

from typing import Any

import numpy as np

from filterworks.machine.code import Function

_FLOATS = {2: "half", 4: "float", 8: "double"}


def kind_of(dtype: np.dtype[Any]) -> str:
    """Return LLVM's type for one number."""
    return _FLOATS[dtype.itemsize] if dtype.kind == "f" else f"i{8 * dtype.itemsize}"


def vector_of(kind: str, lanes: int) -> str:
    """Return LLVM's type for `lanes` numbers; one lane is the number itself."""
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def load_as(code: Function, source: np.dtype[Any], work: np.dtype[Any], pointer: str, lanes: int) -> str:
    """Return numbers of dtype `source` at an address as numbers of dtype `work`, which can hold them."""
    kind = vector_of(kind_of(source), lanes)
    value = code.load(kind, pointer, source.itemsize)
    if source == work:
        return value
    if work.kind in "iu":
        change = "sext" if source.kind == "i" else "zext"
    elif source.kind == "f":
        change = "fpext" if source.itemsize < work.itemsize else "fptrunc"
    else:
        change = "sitofp" if source.kind == "i" else "uitofp"
    return code.value(f"{change} {kind} {value} to {vector_of(kind_of(work), lanes)}")


def store_as(
    code: Function,
    work: np.dtype[Any],
    out: np.dtype[Any],
    value: str,
    pointer: str,
    lanes: int,
    *,
    fits: bool = False,
) -> None:
    """Store floats as `out`; integers are rounded half to even and saturated (no NaN may be among them).

    `fits`: all of them are in the range of `out` when they are rounded.
    """
    floats, kind = vector_of(kind_of(work), lanes), vector_of(kind_of(out), lanes)
    if out.kind == "f":
        if out != work:
            change = "fptrunc" if out.itemsize < work.itemsize else "fpext"
            value = code.value(f"{change} {floats} {value} to {kind}")
    else:
        value = _rounded(code, work, out, value if fits else _saturated(code, work, out, value, lanes), lanes)
    code.store(kind, value, pointer, out.itemsize)


def _saturated(code: Function, work: np.dtype[Any], out: np.dtype[Any], value: str, lanes: int) -> str:
    floats = vector_of(kind_of(work), lanes)
    suffix = f"{f'v{lanes}' if lanes > 1 else ''}f{8 * work.itemsize}"
    info = np.iinfo(out)
    for bound, function in ((info.min, "maxnum"), (info.max, "minnum")):
        limit = f"{float(bound):.6e}"
        constant = limit if lanes == 1 else f"splat ({kind_of(work)} {limit})"
        value = code.call(floats, f"llvm.{function}.{suffix}", (floats, value), (floats, constant))
    return value


def _rounded(code: Function, work: np.dtype[Any], out: np.dtype[Any], value: str, lanes: int) -> str:
    floats, kind = vector_of(kind_of(work), lanes), vector_of(kind_of(out), lanes)
    suffix = f"{f'v{lanes}' if lanes > 1 else ''}f{8 * work.itemsize}"
    wide = vector_of("i32", lanes)
    integers = f"{f'v{lanes}' if lanes > 1 else ''}i32"
    whole = code.call(wide, f"llvm.lrint.{integers}.{suffix}", (floats, value))
    return code.value(f"trunc {wide} {whole} to {kind}") if out.itemsize < 4 else whole
