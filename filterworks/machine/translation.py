"""Loops over bytes and numbers, written as Python functions and translated into LLVM's assembly language.

The functions are never run by Python: they are read as text. What they may hold is small. Integers have
64 bits and wrap around; ``//``, ``%`` and ``>>`` take them as unsigned, comparisons as signed. Arrays are
addresses without bounds. There are assignments, ``if``, ``while``, ``for … in range(…)`` with a step of 1,
``break``, ``continue``, ``return``, arithmetic, comparisons, ``and``, ``or``, ``not``, the intrinsics of
:mod:`~filterworks.machine.intrinsics` (some work on eight doubles at once), and other functions of this kind.
"""

from __future__ import annotations

import ast
import ctypes
import inspect
import textwrap
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from filterworks.machine.compiler import compiled
from filterworks.machine.intrinsics import DECLARED, EIGHT, INTRINSICS

Given = ParamSpec("Given")
Made = TypeVar("Made")

_KINDS = {"int": "i64", "float": "double", "None": "void"}
_ELEMENTS = {"Bytes": "i8", "Places": "i32", "Integers": "i64", "Doubles": "double"}
_CTYPES: dict[str, Any] = {"i64": ctypes.c_int64, "double": ctypes.c_double, "void": None}
# Of what is called from outside, of what is written into its callers, of what is not.
_ATTRIBUTES = """\
attributes #0 = { nounwind }
attributes #1 = { alwaysinline nounwind }
attributes #2 = { noinline cold nounwind }"""
_INTEGER: dict[type[ast.operator], str] = {
    ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.FloorDiv: "udiv", ast.Mod: "urem",
    ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor", ast.LShift: "shl", ast.RShift: "lshr",
}  # fmt: skip
_FLOAT: dict[type[ast.operator], str] = {
    ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv",
}  # fmt: skip
_ORDER: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Eq: ("eq", "oeq"), ast.NotEq: ("ne", "une"), ast.Lt: ("slt", "olt"),
    ast.LtE: ("sle", "ole"), ast.Gt: ("sgt", "ogt"), ast.GtE: ("sge", "oge"),
}  # fmt: skip


class TranslationError(Exception):
    """A function holds what cannot be translated."""


class Translated(Generic[Given, Made]):
    """A function that is compiled when it is first called.

    Arrays are given as their addresses.

    Parameters
    ----------
    function
        As it is written.
    is_rare
        Whether it is hardly ever needed: it then stays apart from those that call it.
    """

    def __init__(self, function: Callable[Given, Made], *, is_rare: bool = False) -> None:
        self.is_rare = is_rare
        self.name, self.scope = function.__name__, function.__globals__
        self.__doc__ = function.__doc__
        self._function = function

    def __call__(self, *given: Given.args, **named: Given.kwargs) -> Made:
        """Stand for the function where another one of this kind calls it."""
        raise TypeError(f"{self.name} is not for Python; call {self.name}.compiled with addresses")

    @cached_property
    def tree(self) -> ast.FunctionDef:
        """The function as Python reads it."""
        found = ast.parse(textwrap.dedent(inspect.getsource(self._function))).body[0]
        assert isinstance(found, ast.FunctionDef)  # noqa: S101  # a decorated function is one
        return found

    @cached_property
    def _kinds(self) -> dict[str, str]:
        # As they are written: to read the source takes longer than to load the code.
        return {name: _kind(written) for name, written in self._function.__annotations__.items()}

    @cached_property
    def parameters(self) -> dict[str, str]:
        """Names and kinds of the parameters."""
        return {name: kind for name, kind in self._kinds.items() if name != "return"}

    @cached_property
    def result(self) -> str:
        """Kind of the result."""
        return self._kinds["return"]

    @property
    def prototype(self) -> Any:
        """How ctypes calls it."""
        kinds = (_CTYPES.get(kind, ctypes.c_void_p) for kind in self.parameters.values())
        return ctypes.CFUNCTYPE(_CTYPES[self.result], *kinds)

    def identity(self) -> str:
        """Return what decides the code, without translating it: the name, and the sources it is made from."""
        files = {Path(__file__), Path(__file__).with_name("intrinsics.py"), *_sources(self.scope, set())}
        return "\n".join([self.name, *(path.read_text(encoding="utf-8") for path in sorted(files))])

    def text(self) -> str:
        """Return the module that holds the function and those that it calls."""
        parts: dict[str, str] = {}
        waiting: list[Translated[Any, Any]] = [self]
        while waiting:
            one = waiting.pop()
            if one.name not in parts:
                writer = _Writer(one)
                parts[one.name] = writer.text(is_entry=one is self)
                waiting += writer.called
        return "\n".join([DECLARED, *parts.values(), _ATTRIBUTES])

    @cached_property
    def compiled(self) -> Callable[..., Any]:
        """The function for ctypes; it runs without the interpreter lock.

        Raises
        ------
        CompilerError
            If there is no compiler here.
        """
        return compiled(self)


def translated(function: Callable[Given, Made]) -> Translated[Given, Made]:
    """Return a function in place of one that is written to be translated."""
    return Translated(function)


def rarely_translated(function: Callable[Given, Made]) -> Translated[Given, Made]:
    """Return a function like :func:`translated` for a rare case: the usual one keeps the registers."""
    return Translated(function, is_rare=True)


def _sources(scope: dict[str, Any], seen: set[Path]) -> set[Path]:
    """Return the files of a module and of those whose translated functions it knows."""
    path = Path(scope["__file__"])
    if path not in seen:
        seen.add(path)
        for value in scope.values():
            if isinstance(value, Translated):
                _sources(value.scope, seen)
    return seen


def _kind(written: str) -> str:
    """Return the kind of an annotation, which is text: modules import annotations from the future."""
    if written in _ELEMENTS:
        return _ELEMENTS[written] + "*"
    if written not in _KINDS:
        raise TranslationError(f"no kind of number is called {written}")
    return _KINDS[written]


class _Writer(ast.NodeVisitor):
    """Writes one function; a value is (kind, its name)."""

    def __init__(self, source: Translated[Any, Any]) -> None:
        self._source = source
        self._lines: list[str] = []
        self._slots: dict[str, str] = {}
        self._loops: list[tuple[str, str]] = []
        self._count = 0
        self.called: list[Translated[Any, Any]] = []

    def text(self, *, is_entry: bool) -> str:
        """Return the definition of the function."""
        source = self._source
        heads, stores = [], []
        for name, kind in source.parameters.items():
            if kind.endswith("*"):
                heads.append(f"ptr {'noalias ' if is_entry else ''}%{name}")
            else:
                heads.append(f"{kind} %{name}")
                self._slots[name] = kind
                stores.append(f"  store {kind} %{name}, ptr %{name}.slot")
        for statement in source.tree.body:
            self.visit(statement)
        allocated = [f"  %{name}.slot = alloca {kind}" for name, kind in self._slots.items()]
        end = {"void": "  ret void", "i64": "  ret i64 0", "double": "  ret double 0.0"}[source.result]
        define = "define" if is_entry else "define internal"
        attributes = 0 if is_entry else 2 if source.is_rare else 1
        head = f"{define} {source.result} @{source.name}({', '.join(heads)}) #{attributes} {{"
        return "\n".join([head, "entry:", *allocated, *stores, *self._lines, end, "}"])

    def _label(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def _value(self, kind: str, expression: str) -> tuple[str, str]:
        name = self._label("%v")
        self._lines.append(f"  {name} = {expression}")
        return kind, name

    def _jump(self, label: str) -> None:
        self._lines.append(f"  br label %{label}")

    def _begin(self, label: str) -> None:
        self._lines.append(f"{label}:")

    def _fail(self, node: ast.AST, why: str) -> TranslationError:
        return TranslationError(f"{self._source.name}: {ast.unparse(node)}: {why}")

    # Statements

    def generic_visit(self, node: ast.AST) -> None:
        raise self._fail(node, "cannot be translated")

    def visit_Expr(self, node: ast.Expr) -> None:  # ast's name
        if not isinstance(node.value, ast.Constant):
            self._of(node.value)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._store(node.targets[0], self._of(node.value))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        target = ast.copy_location(ast.parse(ast.unparse(node.target), mode="eval").body, node)
        self._store(node.target, self._of(ast.BinOp(target, node.op, node.value)))

    def _store(self, target: ast.expr, value: tuple[str, str]) -> None:
        kind, name = value
        if isinstance(target, ast.Name):
            known = self._slots.setdefault(target.id, kind)
            if known != kind:
                raise self._fail(target, f"holds {known} and is given {kind}")
            self._lines.append(f"  store {kind} {name}, ptr %{target.id}.slot")
            return
        if not isinstance(target, ast.Subscript):
            raise self._fail(target, "nothing can be stored there")
        element, place = self._place(target)
        if element in ("i8", "i32"):
            name = self._value(element, f"trunc i64 {name} to {element}")[1]
        self._lines.append(f"  store {element} {name}, ptr {place}")

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is None:
            self._lines.append("  ret void")
        else:
            kind, name = self._of(node.value)
            self._lines.append(f"  ret {kind} {name}")
        self._begin(self._label("after"))

    def visit_If(self, node: ast.If) -> None:
        yes, no, end = (self._label(part) for part in ("then", "else", "end"))
        self._branch(node.test, yes, no)
        for label, body in ((yes, node.body), (no, node.orelse)):
            self._begin(label)
            for statement in body:
                self.visit(statement)
            self._jump(end)
        self._begin(end)

    def visit_While(self, node: ast.While) -> None:
        test, body, end = (self._label(part) for part in ("while", "body", "end"))
        self._jump(test)
        self._begin(test)
        self._branch(node.test, body, end)
        self._inside(node.body, body, test, end)

    def visit_For(self, node: ast.For) -> None:
        if not isinstance(node.iter, ast.Call) or not isinstance(node.target, ast.Name):
            raise self._fail(node, "only ranges are counted")
        limits = [self._of(argument)[1] for argument in node.iter.args]
        start, stop = ("0", limits[0]) if len(limits) == 1 else limits
        test, body, step, end = (self._label(part) for part in ("for", "body", "step", "end"))
        self._store(node.target, ("i64", start))
        self._jump(test)
        self._begin(test)
        _, index = self._of(node.target)
        self._lines.append(f"  br i1 {self._value('i1', f'icmp slt i64 {index}, {stop}')[1]}, "
                           f"label %{body}, label %{end}")  # fmt: skip
        self._inside(node.body, body, step, end, close=False)
        self._begin(step)
        _, index = self._of(node.target)
        self._store(node.target, self._value("i64", f"add i64 {index}, 1"))
        self._jump(test)
        self._begin(end)

    def _inside(self, body: list[ast.stmt], label: str, again: str, end: str, *, close: bool = True) -> None:
        self._begin(label)
        self._loops.append((again, end))
        for statement in body:
            self.visit(statement)
        self._loops.pop()
        self._jump(again)
        if close:
            self._begin(end)

    def visit_Break(self, node: ast.Break) -> None:
        self._jump(self._loops[-1][1])
        self._begin(self._label("after"))

    def visit_Continue(self, node: ast.Continue) -> None:
        self._jump(self._loops[-1][0])
        self._begin(self._label("after"))

    def _branch(self, test: ast.expr, yes: str, no: str) -> None:
        if isinstance(test, ast.BoolOp):
            for value in test.values[:-1]:
                more = self._label("more")
                both = isinstance(test.op, ast.And)
                self._branch(value, more if both else yes, no if both else more)
                self._begin(more)
            self._branch(test.values[-1], yes, no)
        elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            self._branch(test.operand, no, yes)
        else:
            kind, name = self._of(test)
            if kind == "i64":
                kind, name = self._value("i1", f"icmp ne i64 {name}, 0")
            self._lines.append(f"  br i1 {name}, label %{yes}, label %{no}")

    # Expressions

    def _of(self, node: ast.expr) -> tuple[str, str]:
        handle = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if handle is None:
            raise self._fail(node, "cannot be translated")
        value: tuple[str, str] = handle(node)
        return value

    def _of_constant(self, node: ast.Constant) -> tuple[str, str]:
        return self._literal(node, node.value)

    def _literal(self, node: ast.expr, value: object) -> tuple[str, str]:
        if isinstance(value, int):
            return "i64", str(value - (1 << 64) if value >= 1 << 63 else value)
        if isinstance(value, float):
            return "double", f"0x{np.float64(value).view(np.uint64):016X}"
        raise self._fail(node, "is no number")

    def _of_name(self, node: ast.Name) -> tuple[str, str]:
        if node.id in self._slots:
            kind = self._slots[node.id]
            return self._value(kind, f"load {kind}, ptr %{node.id}.slot")
        if node.id in self._source.parameters:
            return self._source.parameters[node.id], f"%{node.id}"
        return self._literal(node, self._source.scope.get(node.id))

    def _of_subscript(self, node: ast.Subscript) -> tuple[str, str]:
        element, place = self._place(node)
        kind, name = self._value(element, f"load {element}, ptr {place}")
        if element == "i8":
            return self._value("i64", f"zext i8 {name} to i64")
        if element == "i32":
            return self._value("i64", f"sext i32 {name} to i64")
        return kind, name

    def _place(self, node: ast.Subscript) -> tuple[str, str]:
        kind, array = self._of(node.value)
        element = kind.removesuffix("*")
        index = self._of(node.slice)[1]
        return element, self._value("ptr", f"getelementptr {element}, ptr {array}, i64 {index}")[1]

    def _of_binop(self, node: ast.BinOp) -> tuple[str, str]:
        (kind, a), (other, b) = self._of(node.left), self._of(node.right)
        table = _FLOAT if kind in ("double", EIGHT) else _INTEGER
        if kind != other or type(node.op) not in table:
            raise self._fail(node, f"does not work on {kind} and {other}")
        return self._value(kind, f"{table[type(node.op)]} {kind} {a}, {b}")

    def _of_unaryop(self, node: ast.UnaryOp) -> tuple[str, str]:
        if isinstance(node.operand, ast.Constant) and isinstance(node.op, ast.USub):
            return self._literal(node, -node.operand.value)  # type: ignore[operator]  # a number, or it fails
        kind, a = self._of(node.operand)
        if isinstance(node.op, ast.Not):
            return self._value("i1", f"xor i1 {a}, true")
        if isinstance(node.op, ast.USub):
            return self._value(kind, f"fneg double {a}" if kind == "double" else f"sub i64 0, {a}")
        raise self._fail(node, "cannot be translated")

    def _of_boolop(self, node: ast.BoolOp) -> tuple[str, str]:
        """Every part is worked out: there are no branches inside of an expression."""
        name = self._of(node.values[0])[1]
        word = "and" if isinstance(node.op, ast.And) else "or"
        for value in node.values[1:]:
            name = self._value("i1", f"{word} i1 {name}, {self._of(value)[1]}")[1]
        return "i1", name

    def _of_compare(self, node: ast.Compare) -> tuple[str, str]:
        (kind, a), (other, b) = self._of(node.left), self._of(node.comparators[0])
        if kind != other or len(node.ops) > 1:
            raise self._fail(node, f"cannot be compared: {kind}, {other}")
        whole, real = _ORDER[type(node.ops[0])]
        order = f"fcmp {real} double" if kind == "double" else f"icmp {whole} {kind}"
        return self._value("i1", f"{order} {a}, {b}")

    def _of_ifexp(self, node: ast.IfExp) -> tuple[str, str]:
        """Both sides are worked out, then one is taken."""
        test = self._of(node.test)[1]
        (kind, a), (_, b) = self._of(node.body), self._of(node.orelse)
        return self._value(kind, f"select i1 {test}, {kind} {a}, {kind} {b}")

    def _of_call(self, node: ast.Call) -> tuple[str, str]:
        assert isinstance(node.func, ast.Name)  # noqa: S101  # methods there are none
        name = node.func.id
        given = [self._of(argument) for argument in node.args]
        if name in INTRINSICS:
            kinds, result, steps = INTRINSICS[name]
            if tuple(kind for kind, _ in given) != kinds:
                raise self._fail(node, f"takes {', '.join(kinds)}")
            names = [one for _, one in given]
            for step in steps:
                written = step.format(*names)  # each needs those before
                if step.startswith("store"):
                    self._lines.append(f"  {written}")
                else:
                    names.append(self._value("", written)[1])
            return result, names[-1]
        function = self._source.scope.get(name)
        if not isinstance(function, Translated):
            raise self._fail(node, "is not one of these functions")
        if tuple(kind for kind, _ in given) != tuple(function.parameters.values()):
            raise self._fail(node, f"takes {', '.join(function.parameters.values())}")
        self.called.append(function)
        passed = ", ".join(f"{'ptr' if kind.endswith('*') else kind} {one}" for kind, one in given)
        call = f"call {function.result} @{name}({passed})"
        if function.result == "void":
            self._lines.append(f"  {call}")
            return "void", ""
        return self._value(function.result, call)
