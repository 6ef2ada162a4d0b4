"""Chains: operations in order, written as text or given as steps, called on arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, as_axes, as_signal, saturate
from filterworks.convolution import Axes
from filterworks.engine import sharpened, stencil
from filterworks.errors import ArgumentError
from filterworks.evaluation import NOT_YET, is_plain_sum, reusable
from filterworks.filters.options import float_dtype
from filterworks.machine.compiler import CompilerError
from filterworks.notation import checked, named, parse_parameters, parse_parts, written_step
from filterworks.operations import COMMON, OPERATIONS, Operation, Parameters, Reach
from filterworks.planner import expecting_many, fastest, is_traced, tracing
from filterworks.problem import Problem

# Kinds of data that a chain remembers its way for.
_RUNS = 64


@dataclass(frozen=True)
class Step:
    """One operation of a chain with its parameters, in the order in which they were given."""

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()

    @property
    def operation(self) -> Operation:
        """The operation of that name."""
        return OPERATIONS[self.name]

    @property
    def is_signed(self) -> bool:
        """Whether the result leaves the scale of the data."""
        return self.operation.is_signed(dict(self.parameters))

    @property
    def is_correlation(self) -> bool:
        """Whether it is one correlation, with a kernel that the parameters alone decide."""
        decided = self.operation.is_correlation
        return decided(dict(self.parameters)) if callable(decided) else decided

    @property
    def may_exceed(self) -> bool:
        """Whether results may be larger or smaller than all data."""
        return self.operation.may_exceed(dict(self.parameters))

    def __call__(self, x: Array, **options: Any) -> Array:
        """Return the operation's result; `options` are those of every filter."""
        return self.operation.function(x, **dict(self.parameters), **options)

    def __str__(self) -> str:
        return written_step(self.name, self.parameters)


def step(name: str, parameters: Parameters) -> Step:
    """Return a step, its name and parameter names checked.

    Raises
    ------
    ArgumentError
        If a name is unknown (the near ones are given) or a parameter is missing.

    Examples
    --------
    >>> str(step("gaussian", {"sigma": 2}))
    'gaussian:sigma=2'
    """
    accepted = named(name, OPERATIONS).parameters
    return Step(name, checked(name, parameters, accepted, COMMON))


def parse_step(text: str) -> Step:
    """Return the step written as ``name`` or ``name:key=value,key=value``.

    Values are JSON (``2``, ``0.5``, ``[1,2]``, ``true``, ``null``), numbers such as ``.5`` and ``5.``, or
    else plain text.

    Examples
    --------
    >>> parse_step("gaussian:sigma=[1,2.5],boundary=wrap").parameters
    (('sigma', (1, 2.5)), ('boundary', 'wrap'))
    """
    return step(*parse_parameters(text))


@dataclass(frozen=True)
class Chain:
    """Operations in order; calling it applies them.

    Integers are rounded once, at the end, and keep their dtype if every operation keeps the scale of
    the data; between the operations the values are floats.

    Examples
    --------
    >>> chain = Chain.parse("mean:size=3 | central_difference")
    >>> chain(np.array([0.0, 0, 0, 6, 6, 6]))
    array([0., 1., 2., 2., 1., 0.])
    >>> chain.reach
    (2, 2)
    """

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not self.steps:
            raise ArgumentError("a chain needs at least one operation, such as gaussian:sigma=2")

    @classmethod
    def parse(cls, text: str) -> Chain:
        """Return the chain written as operations separated by ``|``.

        Raises
        ------
        ArgumentError
            If the text cannot be read, or a name or parameter is unknown.

        Examples
        --------
        >>> str(Chain.parse("gaussian : sigma = 2|sobel"))
        'gaussian:sigma=2 | sobel'
        """
        return cls(tuple(step(*part) for part in parse_parts(text)))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Chain:
        """Return one chain of several texts, each of one or more operations."""
        return cls(tuple(one for text in texts for one in cls.parse(text).steps))

    @cached_property
    def is_signed(self) -> bool:
        """Whether the result leaves the scale of the data."""
        return any(one.is_signed for one in self.steps)

    @cached_property
    def may_exceed(self) -> bool:
        """Whether results may be larger or smaller than all data."""
        return any(one.may_exceed for one in self.steps)

    @cached_property
    def reach(self) -> Reach:
        """How many samples away the result of an image looks, along rows and columns."""
        return self.reach_along(2)

    def reach_along(self, ndim: int) -> Reach:
        """Return how many samples away the result looks along each of `ndim` filtered axes."""
        reaches = [_whole(one.operation.reach(dict(one.parameters), ndim)) for one in self.steps]
        if any(len(reach) != ndim for reach in reaches):
            raise ArgumentError(f"{self}: a kernel in it does not have {ndim} axes")
        return tuple(sum(column) for column in zip(*reaches, strict=True))

    def check(self, ndim: int = 2) -> None:
        """Check every value by filtering a few zeros along `ndim` axes.

        Raises
        ------
        ArgumentError
            The first problem of the first step that has one, with the step's name.
        """
        for one in self.steps:
            try:
                one.operation.reach(dict(one.parameters), ndim)
                one(np.zeros((2,) * ndim))
            except ArgumentError as error:
                raise ArgumentError(f"{one.name}: {error}") from None

    def __call__(self, x: ArrayLike, *, axes: Axes = None, floats: bool = False) -> Array:
        """Return the result of all operations on `x` along `axes` (None: all of them).

        `floats`: that of integers is not rounded and saturated.

        The engines are chosen by the operations and the data alone, whatever was computed before: a chain
        gives the same integers in memory, band by band, and on any machine of a cluster.
        """
        key = (x.shape, x.dtype, axes, floats) if type(x) is np.ndarray and type(axes) is tuple else None
        run = self._runs.get(key)
        if run is not None and not is_traced():
            return run(x)
        with expecting_many():
            array = as_signal(x)
            if key is None or array is not x or key in self._runs or is_traced():
                return self._applied(array, axes, floats)
            return self._applied_first(key, array)

    def pixels(
        self, x: Array, axes: tuple[int, int], keep: tuple[slice, slice], *, absolute: bool, offset: int
    ) -> tuple[Array, int] | None:
        """Return the result as pixels of the dtype of `x`, where one loop gives them at once.

        Parameters
        ----------
        x
            8- or 16-bit pixels.
        axes
            Two.
        keep
            The part of the result that is wanted.
        absolute, offset
            Whether magnitudes are wanted, and what is added.

        Returns
        -------
        tuple or None
            The result, rounded and saturated, and how many samples of it were cut to the range of the dtype.
        """
        if not self.gives_pixels or x.dtype.kind != "u" or not x.dtype.isnative:
            return None
        problem, *others = self._correlations
        padding = tuple(
            (low - kept.start, high - (x.shape[axis] - kept.stop))
            for (low, high), axis, kept in zip(problem.padding, axes, keep, strict=True)
        )
        problem = replace(problem, shape=x.shape, dtype=x.dtype, axes=axes)
        sharpens = self.steps[0].operation.sharpens
        if sharpens is None:
            kernels = (problem.weights, *(other.weights for other in others))
            problem = replace(problem, padding=padding, wanted=x.dtype)
            found = stencil.prepare(problem, kernels, absolute=absolute, offset=offset)
            return found(x) if found else None
        if absolute or offset or not _is_separable(problem):
            return None
        (above, _), (left, _) = problem.padding
        problem = replace(problem, padding=padding, wanted=x.dtype)
        sharp = sharpened.prepare(problem, (above, left), *sharpens(dict(self.steps[0].parameters)))
        return sharp.sharpen(x) if sharp else None

    @cached_property
    def gives_pixels(self) -> bool:
        """Whether one loop may give pixels at once."""
        return self.is_stencil or (self.steps[0].operation.sharpens is not None and bool(self._correlations))

    @cached_property
    def is_stencil(self) -> bool:
        """Whether it is a step of small kernels of integers along two axes."""
        if not self._correlations or self.steps[0].operation.sharpens is not None:
            return False
        return stencil.is_possible(self._correlations[0], [one.weights for one in self._correlations])

    @cached_property
    def _correlations(self) -> tuple[Problem, ...]:
        """What the only step adds up in a small image, if that and nothing else decides its result."""
        one = self.steps[0]
        operation = one.operation
        if len(self.steps) > 1 or not (one.is_correlation or operation.is_length or operation.sharpens):
            return ()
        with tracing() as trace:
            try:
                one(np.zeros((2, 2), np.uint8))
            except ArgumentError:
                return ()
        requests = [call[0] for call in trace.calls]
        plain = all(is_plain_sum(request) and request.method == "auto" for request in requests)
        return tuple(request.problem for request in requests) if plain else ()

    def __reduce__(self) -> tuple[type[Chain], tuple[tuple[Step, ...]]]:
        # What is remembered is of this process.
        return Chain, (self.steps,)

    @cached_property
    def _runs(self) -> dict[Any, Callable[[Any], Array] | None]:
        """What computes all data of one kind; None: each has to be looked at."""
        return {}

    def _applied_first(self, key: Any, array: Array) -> Array:
        """Return the result, and remember what computes it if the chain is one correlation."""
        with tracing() as trace:
            result = self._applied(array, *key[2:])
        run = None
        if len(self.steps) == len(trace.calls) == 1 and self.steps[0].is_correlation:
            request, data, made = trace.calls[0]
            with suppress(CompilerError):
                run = reusable(request, array) if data is array and made is result else None
        if len(self._runs) >= _RUNS:
            self._runs.clear()
        if run is not NOT_YET:
            self._runs[key] = run
        return result

    def _applied(self, array: Array, axes: Axes, floats: bool) -> Array:
        along = as_axes(axes, array.ndim)
        if len(self.steps) == 1 and not floats:
            return self.steps[0](array, axes=along)
        result = array
        for one in self.steps:
            result = (
                one(result, axes=along)
                if one.is_signed
                else one(result, axes=along, dtype=float_dtype(result))
            )
        keeps = array.dtype.kind in "iu" and not self.is_signed and not floats
        return saturate(result, array.dtype) if keeps else result

    def __str__(self) -> str:
        return " | ".join(map(str, self.steps))


@lru_cache(maxsize=64)
def _is_separable(problem: Problem) -> bool:
    """Return whether the engine of outer products is the one that is chosen for many such problems."""
    with expecting_many():
        return fastest(problem) == "separable"


def _whole(reach: Sequence[float]) -> Reach:
    return tuple(size if math.isinf(size) else int(size) for size in reach)
