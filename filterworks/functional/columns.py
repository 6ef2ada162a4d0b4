"""Correlation as a matrix product over unrolled columns, tile by tile."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from filterworks.arguments import Array
from filterworks.threads import Scratch, share, usable_threads
from filterworks.tiles import Box, Windows, boxes, read_patch, within

# Columns of one tile: they should stay in the second-level cache between being written and being multiplied.
TILE_BYTES = 1 << 21
# A tile for one threaded product, which pays for waking the threads; far below the 64 MiB promised.
LARGE_TILE_BYTES = 1 << 22
# OpenBLAS multiplies up to 10⁶ = m·k·n without packing and without threads, so that our own
# threads, each with its own tile, neither wait for each other nor multiply.
SMALL_PRODUCT = 1_000_000
# Columns per product; the kernels for AVX-512 take 64 at a time.
BLOCK = 64
# Below this many multiplications a thread costs more than it brings.
THREAD_WORK = 1 << 25


def block_rows(columns: int, rows: int) -> int | None:
    """Return how many rows of the weight to multiply at once without threads; None where BLAS should thread.

    Parameters
    ----------
    columns
        Length of a row.
    rows
        How many there are.

    Examples
    --------
    >>> block_rows(147, 64), block_rows(147, 256), block_rows(576, 64)
    (64, 104, None)
    """
    limit = SMALL_PRODUCT // (columns * BLOCK)
    if rows <= limit:
        return rows
    return limit // 8 * 8 if limit >= BLOCK else None


def tile_boxes(out: tuple[int, int, int], bytes_each: int, budget: int, pieces: int) -> list[Box]:
    """Cut the outputs into boxes of `budget` bytes at `bytes_each`, into about `pieces` of them or more."""
    total = prod(out)
    limit = min(max(budget // bytes_each, BLOCK), max(-(-total // pieces), BLOCK))
    return list(boxes(out, limit))


def correlate_by_columns(
    x: Array, weight: Array, windows: Windows, out: Array, bias: Array | None, boundary: str | None
) -> None:
    """Do what :func:`~filterworks.functional.direct.correlate_layer` does, for any geometry."""
    groups, rows, channels = weight.shape[:3]
    matrix = np.ascontiguousarray(weight).reshape(groups, rows, -1)
    length, item = matrix.shape[2], matrix.itemsize
    step = block_rows(length, rows)
    positions = prod(out.shape[3:])
    work = positions * out.shape[0] * matrix.size
    threads = usable_threads() if step and work > THREAD_WORK else 1
    budget = TILE_BYTES if step else LARGE_TILE_BYTES
    column_bytes = (length + rows) * item
    together = max(1, min(groups, budget // (column_bytes * min(positions, 1024))))
    pieces = 4 * threads if threads > 1 else 1
    tiles = tile_boxes(
        (out.shape[3], out.shape[4], out.shape[5]),
        column_bytes * together,
        budget,
        max(1, pieces // (out.shape[0] * -(-groups // together))),
    )

    def one(scratch: Scratch, task: tuple[int, int, Box]) -> None:
        sample, first, box = task
        last = min(first + together, groups)
        part = x[sample, first * channels : last * channels]
        patch = read_patch(part, windows, box, scratch, matrix.dtype, boundary=boundary)
        size = prod(patch.counts)
        columns = scratch.take("columns", (last - first, length, round_up(size)), matrix.dtype)
        kernel = tuple(w.kernel for w in windows)
        patch.copy_columns(columns[:, :, :size].reshape(part.shape[0], *kernel, *patch.counts))
        result = scratch.take("result", (last - first, rows, columns.shape[2]), matrix.dtype)
        multiply(matrix[first:last], columns, result, step)
        z, y, row = within(box)
        place(result, out[sample, first:last, :, z, y, row], bias, first)

    tasks = [(n, g, box) for n in range(out.shape[0]) for g in range(0, groups, together) for box in tiles]
    share(one, tasks, threads)


def round_up(size: int) -> int:
    """Return the next multiple of 16: a last block that is no multiple of a vector is slow in OpenBLAS."""
    return -(-size // 16) * 16


def multiply(matrix: Array, columns: Array, result: Array, step: int | None) -> None:
    """Write ``matrix @ columns`` into `result`, by `step` rows and `BLOCK` columns (None: at once)."""
    if step is None:
        np.matmul(matrix, columns, out=result)
        return
    size = columns.shape[2]
    whole = size // BLOCK * BLOCK
    for low in range(0, matrix.shape[1], step):
        rows = slice(low, low + step)
        if whole:
            np.matmul(matrix[:, None, rows], _blocks(columns, whole), out=_blocks(result[:, rows], whole))
        if whole < size:
            np.matmul(matrix[:, rows], columns[:, :, whole:], out=result[:, rows, whole:])


def _blocks(array: Array, whole: int) -> Array:
    groups, rows, _ = array.shape
    return array[:, :, :whole].reshape(groups, rows, -1, BLOCK).swapaxes(1, 2)


def place(result: Array, target: Array, bias: Array | None, first: int = 0) -> None:
    """Copy the flat `result` of a tile to its box `target`; add the `bias` of the groups from `first` on."""
    size = prod(target.shape[2:])
    values: Any = result[:, :, :size].reshape(target.shape)
    if bias is None:
        np.copyto(target, values)
    else:
        np.add(values, bias[first : first + len(target), :, None, None, None], out=target)
