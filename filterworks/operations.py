"""Operations by name, and chains of them.

A new filter is one function in :mod:`filterworks.filters` and one line in `OPERATIONS`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks import filters, kernels
from filterworks.arguments import Array, as_axes, as_signal, per_axis, saturate
from filterworks.convolution import Axes
from filterworks.engine import sharpened, stencil
from filterworks.errors import ArgumentError
from filterworks.evaluation import NOT_YET, is_plain_sum, reusable
from filterworks.filters.options import float_dtype
from filterworks.machine.compiler import CompilerError
from filterworks.notation import checked, named, parse_parameters, parse_parts, written_step
from filterworks.planner import expecting_many, fastest, is_traced, tracing
from filterworks.problem import Problem

Parameters = Mapping[str, Any]
Reach = tuple[float, ...]

# Of the options that every filter takes, those that a chain sets itself are not written in it.
COMMON: dict[str, Any] = {
    "boundary": "symmetric",
    "fill_value": 0.0,
    "nan_policy": "propagate",
    "method": "auto",
}

# Kinds of data that a chain remembers its way for.
_RUNS = 64


@dataclass(frozen=True)
class Operation:
    """A named filter.

    Attributes
    ----------
    function
        From :mod:`filterworks.filters`: array, parameters, options → array.
    reach
        ``(parameters, ndim)`` → how many samples away the result looks, per axis.
    signed
        Whether the result is signed or a magnitude rather than on the scale of the data; or a
        function of the parameters that tells.
    exceeds
        Whether a result on the scale of the data may leave their range; or a function that tells.
    is_correlation
        Whether it is one correlation, with a kernel that the parameters alone decide; or a function of them
        that tells.
    is_separable
        Whether it is a correlation with one factor along each axis.
    is_length
        Whether it is √(a² + b²) of the two correlations that it takes.
    sharpens
        What tells, from the parameters, how much it adds of what its one correlation takes away, and from
        which size of a detail on.
    """

    function: Callable[..., Array]
    reach: Callable[[Parameters, int], Reach]
    signed: bool | Callable[[Parameters], bool] = False
    exceeds: bool | Callable[[Parameters], bool] = False
    is_correlation: bool | Callable[[Parameters], bool] = False
    is_separable: bool = False
    is_length: bool = False
    sharpens: Callable[[Parameters], tuple[float, float]] | None = None

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The filter's own parameters by name, in order."""
        own = list(inspect.signature(self.function).parameters.values())[1:]
        return {p.name: p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD}

    @property
    def summary(self) -> str:
        """The first sentence of the filter's documentation."""
        return (inspect.getdoc(self.function) or "").split("\n", 1)[0]

    def is_signed(self, parameters: Parameters) -> bool:
        """Return whether the result with these parameters leaves the scale of the data."""
        return self.signed(parameters) if callable(self.signed) else self.signed

    def may_exceed(self, parameters: Parameters) -> bool:
        """Return whether results with these parameters may be larger or smaller than all data."""
        return self.exceeds(parameters) if callable(self.exceeds) else self.exceeds


def _one(parameters: Parameters, ndim: int) -> Reach:
    return (1,) * ndim


def _half(name: str, default: int = 3) -> Callable[[Parameters, int], Reach]:
    def reach(parameters: Parameters, ndim: int) -> Reach:
        return tuple(size // 2 for size in per_axis(name, parameters.get(name, default), ndim, 1))

    return reach


def _of_sigma(
    name: str = "sigma", default: float | None = None, truncate: float = 4.0
) -> Callable[[Parameters, int], Reach]:
    def reach(parameters: Parameters, ndim: int) -> Reach:
        sigmas = kernels.per_axis_number(name, parameters.get(name, default), ndim)
        return tuple(int(parameters.get("truncate", truncate) * sigma + 0.5) for sigma in sigmas)

    return reach


def _of_kernel(name: str) -> Callable[[Parameters, int], Reach]:
    def reach(parameters: Parameters, ndim: int) -> Reach:
        function = kernels.KERNELS[name]
        accepted = inspect.signature(function).parameters
        shape = function(**{key: value for key, value in parameters.items() if key in accepted}).shape
        return tuple(size // 2 for size in shape)

    return reach


def _of_dog(parameters: Parameters, ndim: int) -> Reach:
    _, wide = kernels.dog_sigmas(parameters["low_sigma"], parameters.get("high_sigma"))
    return (int(parameters.get("truncate", 4.0) * wide + 0.5),) * ndim


def _of_bilateral(parameters: Parameters, ndim: int) -> Reach:
    return (max(int(parameters.get("truncate", 2.0) * parameters.get("sigma_space", 2.0) + 0.5), 1),) * ndim


def _of_weights(parameters: Parameters, ndim: int) -> Reach:
    taps = filters.custom.resolve_kernel(parameters.get("weights"), parameters.get("path"))
    return tuple(size // 2 for size in taps.shape)


def _weights_cancel(parameters: Parameters) -> bool:
    return filters.custom.is_zero_sum(
        filters.custom.resolve_kernel(parameters.get("weights"), parameters.get("path"))
    )


def _is_no_mean(parameters: Parameters) -> bool:
    taps = filters.custom.resolve_kernel(parameters.get("weights"), parameters.get("path"))
    return bool(taps.min() < 0 or taps.sum() > 1 + 1e-9)


def _is_written(parameters: Parameters) -> bool:
    """Return whether the weights stand in the parameters: a file may change."""
    return parameters.get("path") is None


def _amounts(parameters: Parameters) -> tuple[float, float]:
    return float(parameters.get("amount", 1.0)), float(parameters.get("threshold", 0.0))


def _is_derivative(parameters: Parameters) -> bool:
    return bool(np.any(parameters.get("order", 0)))


def _unbounded(parameters: Parameters, ndim: int) -> Reach:
    return (math.inf,) * ndim


_SEPARABLE: Any = {"is_correlation": True, "is_separable": True}

OPERATIONS: dict[str, Operation] = {
    "mean": Operation(filters.mean, _half("size"), **_SEPARABLE),
    "gaussian": Operation(filters.gaussian, _of_sigma(), _is_derivative, **_SEPARABLE),
    "binomial": Operation(filters.binomial, _half("size"), **_SEPARABLE),
    "disk": Operation(filters.disk, _of_kernel("disk"), is_correlation=True),
    "motion": Operation(filters.motion, _of_kernel("motion"), is_correlation=True),
    "median": Operation(filters.median, _half("size")),
    "bilateral": Operation(filters.bilateral, _of_bilateral),
    "sobel": Operation(filters.sobel, _one, True, is_length=True),
    "prewitt": Operation(filters.prewitt, _one, True, is_length=True),
    "scharr": Operation(filters.scharr, _one, True, is_length=True),
    "roberts": Operation(filters.roberts, _one, True, is_length=True),
    "central_difference": Operation(filters.central_difference, _one, True),
    "laplace": Operation(filters.laplace, _one, True, is_correlation=True),
    "log": Operation(filters.log, _of_sigma(), True),
    "dog": Operation(filters.dog, _of_dog, True),
    "gabor": Operation(filters.gabor, _of_kernel("gabor"), True, is_correlation=True),
    "canny": Operation(filters.canny, _unbounded, True),
    "unsharp_mask": Operation(filters.unsharp_mask, _of_sigma(default=1.0), exceeds=True, sharpens=_amounts),
    "sharpen": Operation(filters.sharpen, _one, exceeds=True, is_correlation=True),
    "emboss": Operation(filters.emboss, _one, exceeds=True, is_correlation=True),
    "kernel": Operation(
        filters.kernel, _of_weights, _weights_cancel, exceeds=_is_no_mean, is_correlation=_is_written
    ),
}


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

    Values are JSON (``2``, ``0.5``, ``[1,2]``, ``true``, ``null``) or else plain text.

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
        if not self.gives_pixels or x.dtype.kind != "u":
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
        with suppress(ArgumentError), tracing() as trace:
            one(np.zeros((2, 2), np.uint8))
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
