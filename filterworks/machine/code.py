"""Write functions in LLVM's assembly language: typed values, pointers, counted loops.

Source: the LLVM Language Reference Manual. Counters and accumulators are stack slots here; LLVM's
own passes turn them into registers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_ATTRIBUTES = 'attributes #0 = { nounwind "min-legal-vector-width"="512" "prefer-vector-width"="512" }'


class Function:
    """The text of one function without a result.

    Parameters
    ----------
    name
        Of the function.
    parameters
        The pointers that differ from call to call.
    constants
        What stays: read from a table of 64-bit numbers, the last argument. Names that start with ``p_``
        are pointers, with ``d_`` doubles, all others integers.
    """

    def __init__(self, name: str, parameters: Sequence[str], constants: Sequence[str]) -> None:
        self.name = name
        self.parameters = (*parameters, "p_constants")
        self._lines: list[str] = []
        self._slots: list[str] = []
        self._declared: set[str] = set()
        self._count = 0
        kinds = {"p_": "ptr", "d_": "double"}
        for index, constant in enumerate(constants):
            place = self.at("i64", "%p_constants", index)
            self.emit(f"%{constant} = load {kinds.get(constant[:2], 'i64')}, ptr {place}, align 8")

    def _fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def emit(self, line: str) -> None:
        """Add an instruction without a value."""
        self._lines.append(f"  {line}")

    def value(self, expression: str) -> str:
        """Add an instruction and return the name of its value."""
        name = self._fresh("%v")
        self.emit(f"{name} = {expression}")
        return name

    def call(self, result: str, function: str, *arguments: tuple[str, str]) -> str:
        """Call an intrinsic of LLVM with (type, value) arguments."""
        types = ", ".join(kind for kind, _ in arguments)
        self._declared.add(f"declare {result} @{function}({types})")
        values = ", ".join(f"{kind} {value}" for kind, value in arguments)
        return self.value(f"call {result} @{function}({values})")

    def slot(self, kind: str) -> str:
        """Return a stack slot."""
        name = self._fresh("%s")
        self._slots.append(f"  {name} = alloca {kind}, align 64")
        return name

    def at(self, kind: str, pointer: str, index: str | int) -> str:
        """Return the address of ``pointer[index]``."""
        return self.value(f"getelementptr {kind}, ptr {pointer}, i64 {index}")

    def load(self, kind: str, pointer: str, align: int = 8) -> str:
        """Return what stands at an address."""
        return self.value(f"load {kind}, ptr {pointer}, align {align}")

    def store(self, kind: str, value: str | int, pointer: str, align: int = 8) -> None:
        """Write to an address."""
        self.emit(f"store {kind} {value}, ptr {pointer}, align {align}")

    def add(self, a: str | int, b: str | int) -> str:
        """Return the sum of two 64-bit integers."""
        return self.value(f"add i64 {a}, {b}")

    def sub(self, a: str | int, b: str | int) -> str:
        """Return the difference of two 64-bit integers."""
        return self.value(f"sub i64 {a}, {b}")

    def mul(self, a: str | int, b: str | int) -> str:
        """Return the product of two 64-bit integers."""
        return self.value(f"mul i64 {a}, {b}")

    def least(self, a: str | int, b: str | int) -> str:
        """Return the smaller of two 64-bit integers."""
        return self.call("i64", "llvm.smin.i64", ("i64", str(a)), ("i64", str(b)))

    def greatest(self, a: str | int, b: str | int) -> str:
        """Return the larger of two 64-bit integers."""
        return self.call("i64", "llvm.smax.i64", ("i64", str(a)), ("i64", str(b)))

    def splat(self, scalar_kind: str, value: str, lanes: int) -> str:
        """Return a vector that holds `value` in each lane."""
        if lanes == 1:
            return value
        vector = f"<{lanes} x {scalar_kind}>"
        first = self.value(f"insertelement {vector} poison, {scalar_kind} {value}, i32 0")
        return self.value(f"shufflevector {vector} {first}, {vector} poison, <{lanes} x i32> zeroinitializer")

    @contextmanager
    def loop(self, start: str | int, stop: str | int, step: str | int = 1) -> Iterator[str]:
        """Repeat the body of the ``with`` block for start, start + step, … below stop."""
        label = self._fresh("loop")
        counter = self.slot("i64")
        self.store("i64", start, counter)
        self._jump(label)
        index = self.load("i64", counter)
        inside = self.value(f"icmp slt i64 {index}, {stop}")
        self.emit(f"br i1 {inside}, label %{label}.body, label %{label}.end")
        self._lines.append(f"{label}.body:")
        yield index
        self.store("i64", self.add(index, step), counter)
        self.emit(f"br label %{label}")
        self._lines.append(f"{label}.end:")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """Do the body of the ``with`` block if an i1 is true."""
        label = self._fresh("when")
        self.emit(f"br i1 {condition}, label %{label}.then, label %{label}.end")
        self._lines.append(f"{label}.then:")
        yield
        self.emit(f"br label %{label}.end")
        self._lines.append(f"{label}.end:")

    def _jump(self, label: str) -> None:
        self.emit(f"br label %{label}")
        self._lines.append(f"{label}:")

    @property
    def prototype(self) -> Any:
        """How ctypes calls it: pointers are passed as integers."""
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * len(self.parameters))

    def identity(self) -> str:
        """Return what decides the code: the text itself."""
        return self.text()

    def text(self) -> str:
        """Return the module that holds the function."""
        heads = ", ".join(f"ptr noalias %{name}" for name in self.parameters)
        return "\n".join(
            [
                *sorted(self._declared),
                f"define void @{self.name}({heads}) #0 {{",
                "entry:",
                *self._slots,
                *self._lines,
                "  ret void",
                "}",
                _ATTRIBUTES,
            ]
        )
