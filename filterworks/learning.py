"""A kernel from before/after examples: the K (and b) that minimise ‖X ⋆ K + b − Y‖².

Least squares solves the normal equations (:mod:`filterworks.normal_equations`), gradient descent walks down
to the same solution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from filterworks.arguments import Array, as_choice, as_int, as_number, as_signal, per_axis
from filterworks.convolution import correlate
from filterworks.errors import ArgumentError, ArgumentTypeError, must
from filterworks.normal_equations import Floats, NormalEquations, System, blocks, valid_target

METHODS = ("lstsq", "gradient")


def learn_kernel(
    inputs: ArrayLike | Sequence[ArrayLike],
    targets: ArrayLike | Sequence[ArrayLike],
    size: int | Sequence[int],
    *,
    method: str = "lstsq",
    bias: bool = False,
    ridge: float = 0.0,
    channels: bool = False,
    learning_rate: float | None = None,
    steps: int = 10_000,
    seed: int | None = 0,
    history: list[float] | None = None,
) -> Any:
    """Return the kernel with which ``correlate(inputs, kernel, mode="valid")`` comes nearest to `targets`.

    Parameters
    ----------
    inputs, targets
        One array each, or a list or tuple of arrays of any sizes. A target has the ``valid`` size,
        ``n − k + 1`` along each axis, or that of its input: then its centre is used, from ``k//2`` on,
        which is where :func:`filterworks.correlate` with ``mode="same"`` reads no sample outside.
        Real numbers; integers are exact (to 2**53).
    size
        The kernel's length, one int for all axes or one per axis (spatial axes, with `channels`).
    method
        ``lstsq`` solves the normal equations; ``gradient`` descends on the sum of squared errors.
    bias
        Learn a constant that is added to every output, too.
    ridge
        λ of ``mean squared error + λ · Σ weights²``, in squared units of the input. It gives an answer
        where the data leave weights open, and calms noise. The bias is not penalised.
    channels
        The first axis of every input is its channels, over which the kernel sums, as a layer does.
    learning_rate
        Step of ``gradient``. None: the step and momentum that converge fastest for these data.
    steps
        Number of steps of ``gradient``; it ends before when nothing changes any more.
    seed
        Of the random start of ``gradient``.
    history
        A list to which ``gradient`` appends the sum of squared errors (and the ridge's share) at the
        start and after each step.

    Returns
    -------
    kernel or (kernel, bias)
        float64. Without `channels`, a kernel of shape `size` and a float. With `channels`, inputs
        (C, *spatial): targets (*spatial) give (C, *size) and a float, targets (C_out, *spatial) give
        (C_out, C, *size) and a bias (C_out,), as :func:`filterworks.functional.conv2d` takes them.

    Raises
    ------
    UndeterminedError
        If the data leave some of the unknowns open (constant images, too few samples).
    MissingDataError
        If NaN or infinity is among the data.
    ArgumentError
        If shapes do not fit or a parameter is out of range.

    References
    ----------
    Polyak, B. T. (1964). Some methods of speeding up the convergence of iteration methods. USSR
    Computational Mathematics and Mathematical Physics 4(5): the default step and momentum.

    Examples
    --------
    >>> x = np.array([3.0, 1, 4, 1, 5, 9, 2, 6, 5, 3])
    >>> learn_kernel(x, correlate(x, [1, 2, -3], mode="valid"), 3).round(12)
    array([ 1.,  2., -3.])
    >>> kernel, offset = learn_kernel([x, x[::-1]], [2 * x + 1, 2 * x[::-1] + 1], 1, bias=True)
    >>> kernel.round(12), round(offset, 12)
    (array([2.]), 1.0)
    """
    as_choice("method", method, METHODS)
    penalty = as_number("ridge", ridge, 0)
    pairs = list(_pairs(inputs, targets))
    ndim = pairs[0][0].ndim - bool(channels)
    lengths = kernel_size(size, ndim)
    prepared = [_layered(x, y, lengths, bool(channels)) for x, y in pairs]
    equations = NormalEquations(lengths, prepared[0][0].shape[0], prepared[0][1].shape[0])
    for x, y in prepared:
        equations.add(x, y)
    if method == "lstsq":
        kernel, offset = equations.solve(bias=bias, ridge=penalty)
    else:
        kernel, offset = descend(
            equations,
            bias=bias,
            ridge=penalty,
            learning_rate=learning_rate,
            steps=steps,
            seed=seed,
            history=history,
        )
    if not channels:
        kernel = kernel[0, 0]
    elif pairs[0][1].ndim == ndim:
        kernel = kernel[0]
    single = kernel.ndim < ndim + 2
    return (kernel, float(offset[0]) if single else offset) if bias else kernel


def kernel_size(size: object, ndim: int) -> tuple[int, ...]:
    """Return the kernel's length per axis."""
    if ndim < 1:
        raise ArgumentError("`channels` needs inputs with at least one axis after that of the channels")
    return per_axis("size", size, ndim, 1)


def _pairs(inputs: Any, targets: Any) -> Iterator[tuple[Array, Array]]:
    """Yield each input with its target, as real arrays."""
    before, after = _several("inputs", inputs), _several("targets", targets)
    if len(before) != len(after) or not before:
        raise ArgumentError(
            f"`targets` must hold one array per input, at least one; got {len(before)} inputs "
            f"and {len(after)} targets"
        )
    for x, y in zip(before, after, strict=True):
        if x.ndim != before[0].ndim or y.ndim != after[0].ndim:
            raise ArgumentError(
                f"all examples must have the same number of axes; got shapes {before[0].shape} -> "
                f"{after[0].shape} and {x.shape} -> {y.shape}"
            )
        yield x, y


def _several(name: str, given: Any) -> list[Array]:
    """Return the arrays of a list of arrays; nested lists of numbers are one array."""
    many = isinstance(given, list | tuple) and any(isinstance(item, np.ndarray) for item in given)
    # Rows of a list of scalars from an array are numbers, not examples.
    many = many and any(np.ndim(item) for item in given)
    arrays = [as_signal(item, name) for item in (given if many else [given])]
    for array in arrays:
        if array.dtype.kind == "c":
            raise ArgumentTypeError(must(name, "real", array.dtype))
    return arrays


def _layered(x: Array, y: Array, size: tuple[int, ...], channels: bool) -> tuple[Array, Array]:
    """Return input and target with an axis of channels each, the target with the valid size."""
    if not channels:
        x, y = x[None], y[None]
    elif y.ndim == x.ndim - 1:
        y = y[None]
    return x, valid_target(x, y, size)


def descend(
    equations: NormalEquations,
    *,
    bias: bool = False,
    ridge: float = 0.0,
    learning_rate: float | None = None,
    steps: int = 10_000,
    seed: int | None = 0,
    history: list[float] | None = None,
) -> tuple[Floats, Floats]:
    """Descend along the gradient of the sum of squared errors from a random start.

    Parameters and result are those of :func:`learn_kernel` and :meth:`NormalEquations.solve`. The gradient
    of all samples, ``2(A k − b)``, needs the normal equations only, so a step costs next to nothing.
    """
    as_int("steps", steps, 0)
    system = equations.system(bias, ridge)
    rate, momentum = _pace(system, learning_rate)
    unknowns = 0.1 * np.random.default_rng(seed).standard_normal(system.right.shape)
    change = np.zeros_like(unknowns)
    losses = [system.loss(unknowns)]
    for _ in range(steps):
        change = momentum * change - rate * 2 * (system.matrix @ unknowns - system.right)
        unknowns = unknowns + change
        if history is not None:
            losses.append(system.loss(unknowns))
        if np.abs(change).max() <= np.finfo(np.float64).eps * np.abs(unknowns).max():
            break
    if history is not None:
        history.extend(losses)
    return equations.unpack(unknowns, bias)


def _pace(system: System, learning_rate: float | None) -> tuple[float, float]:
    """Return step and momentum; a step with which the error would grow is refused."""
    curvature = np.linalg.eigvalsh(system.matrix)
    if learning_rate is None:
        high, low = math.sqrt(2 * curvature[-1]), math.sqrt(2 * max(curvature[0], 0.0))
        return 4 / (high + low) ** 2, ((high - low) / (high + low)) ** 2
    rate = as_number("learning_rate", learning_rate, above=0)
    if rate * curvature[-1] >= 1:
        raise ArgumentError(
            must("learning_rate", f"below {1 / curvature[-1]:.4g} for these data, or the error grows", rate)
        )
    return rate, 0.0


def residuals(x: Array, y: Array, kernel: Floats, offset: float = 0.0) -> Iterator[Floats]:
    """Yield ``X ⋆ K + b − Y`` block by block, for one channel and a target of the valid size.

    Examples
    --------
    >>> list(residuals(np.array([1.0, 4, 2]), np.array([9.0, 8.5]), np.array([1.0, 2.0])))
    [array([ 0. , -0.5])]
    """
    for here in blocks(y.shape, (1,) * y.ndim, 1):
        there = tuple(slice(s.start, s.stop + k - 1) for s, k in zip(here, kernel.shape, strict=True))
        fitted = correlate(x[there].astype(np.float64), kernel, mode="valid")
        yield fitted + offset - y[here]
