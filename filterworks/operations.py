"""Operations by name.

A new filter is one function in :mod:`filterworks.filters` and one line in `OPERATIONS`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from filterworks import filters, kernels
from filterworks.arguments import Array, per_axis

Parameters = Mapping[str, Any]
Reach = tuple[float, ...]

# Of the options that every filter takes, those that a chain sets itself are not written in it.
COMMON: dict[str, Any] = {
    "boundary": "symmetric",
    "fill_value": 0.0,
    "nan_policy": "propagate",
    "method": "auto",
}


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
