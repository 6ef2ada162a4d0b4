"""Sizes and padding: arithmetic on integers, no data."""

from __future__ import annotations

from filterworks.arguments import Mode


def spread_size(kernel: int, dilation: int = 1) -> int:
    """Return the length that `kernel` taps span when `dilation` - 1 holes lie between them.

    Examples
    --------
    >>> spread_size(3, dilation=2)
    5
    """
    return dilation * (kernel - 1) + 1


def mode_padding(mode: Mode, span: int, origin: int = 0) -> tuple[int, int]:
    """Return how many samples before and after the input a `mode` reads, for a kernel of length `span`.

    ``same`` follows scipy.signal for even kernels too: the correlation reads
    ``x[i + j - span//2 - origin]``.

    Examples
    --------
    >>> mode_padding("same", 4), mode_padding("full", 4), mode_padding("valid", 4)
    ((2, 1), (3, 3), (0, 0))
    """
    if mode == "valid":
        return 0, 0
    if mode == "full":
        return span - 1, span - 1
    before = span // 2 + origin
    return before, span - 1 - before
