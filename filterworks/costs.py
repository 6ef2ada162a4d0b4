"""What the engines' work costs: few constants per engine, in seconds, fitted to measured times.

An engine says how much work a problem is (:mod:`filterworks.engine`); the constants here turn it into
seconds. Those shipped come from two cores of a Xeon at 2.3 GHz; ``filterworks calibrate`` fits them to
another machine and keeps them in the user's cache directory.
"""

from __future__ import annotations

import json
import math
import os
import platform
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from filterworks.machine.compiler import cache_directory

Costs = dict[str, dict[str, float]]

_VERSION = 3

# call: per call, whatever its size. image, block, tap_call: per call of the library or loop below.
# read, write: per byte. tap*: per multiply-add (of four bytes). point: per point and factor of two.
SHIPPED: Costs = {
    "opencv": {
        "call": 1e-6, "image": 3.4e-06, "sample32": 1.6e-10, "sample64": 1e-10, "tap32": 3.2e-11,
        "tap64": 1.2e-10, "thin_sample32": 1.7e-09, "thin_sample64": 8e-09, "thin_tap32": 4.8e-11,
        "thin_tap64": 1.1e-10, "convert": 2.4e-10,
    },
    "opencv_separable": {
        "call": 1e-6, "image": 1.1e-05, "sample32": 2.2e-10, "sample64": 4e-10, "tap32": 4.2e-11,
        "tap64": 9.5e-11, "thin_sample32": 1.9e-09, "thin_sample64": 2e-09, "thin_tap32": 9.6e-11,
        "thin_tap64": 5e-10, "convert": 3.9e-10,
    },
    "direct": {
        "call": 1e-6, "block": 3.4e-06, "read": 7.8e-11, "write": 1e-11, "sort": 2.5e-10,
        "tap": 1.18e-11, "tap_rows": 1.5e-11, "tap_line": 1.8e-11,
    },
    "separable": {
        "call": 1e-6, "block": 4e-06, "read": 8e-11, "write": 3e-11, "sort": 2.3e-10,
        "tap_rows": 8e-12, "tap_line": 1.2e-11, "sum_rows": 4e-11, "sum_line": 8e-11,
        "sum_integer": 2.1e-11,
    },
    "fft": {"call": 2e-4, "block": 2e-5, "point32": 2.4e-10, "point64": 9e-10, "write": 3e-10},
    "numpy": {"call": 1.2e-6, "sample": 3e-10, "tap": 1.3e-10},
    "plain": {"call": 8e-6, "tap_call": 5e-6, "tap": 8e-10},
}  # fmt: skip


def costs_file() -> Path:
    """Return where the constants of this machine are kept."""
    return cache_directory() / "costs.json"


def machine() -> str:
    """Return what the constants belong to: processor and number of cores."""
    return f"{platform.machine()} {platform.processor()} {os.cpu_count()}".replace("  ", " ")


@cache
def current() -> Costs:
    """Return the constants of this machine if it was calibrated, otherwise those shipped."""
    return calibrated() or SHIPPED


def calibrated() -> Costs | None:
    """Return what ``filterworks calibrate`` kept for this machine; None if there is nothing usable."""
    try:
        content = json.loads(costs_file().read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or (content.get("version"), content.get("machine")) != (
        _VERSION,
        machine(),
    ):
        return None
    found = content.get("costs")
    return found if _is_complete(found) else None


def _is_complete(found: Any) -> bool:
    """Return whether constants are finite numbers of the names that are shipped."""
    if not isinstance(found, dict) or found.keys() != SHIPPED.keys():
        return False
    for name, constants in SHIPPED.items():
        mine = found[name]
        if not isinstance(mine, dict) or mine.keys() != constants.keys():
            return False
        if not all(isinstance(v, float) and math.isfinite(v) and v >= 0 for v in mine.values()):
            return False
    return True


def keep(costs: Costs) -> Path:
    """Write the constants of this machine, whole or not at all, and use them from now on.

    Raises
    ------
    OSError
        If the cache directory cannot be written.
    """
    path = costs_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"version": _VERSION, "machine": machine(), "costs": costs}, indent=1)
    handle, beside = tempfile.mkstemp(dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
        Path(beside).replace(path)
    except OSError:
        Path(beside).unlink(missing_ok=True)
        raise
    current.cache_clear()
    return path


def forget() -> bool:
    """Go back to the constants that are shipped; return whether there were others."""
    path = costs_file()
    existed = path.exists()
    path.unlink(missing_ok=True)
    current.cache_clear()
    return existed


def seconds(engine: str, work: dict[str, float]) -> float:
    """Return the estimated time of an engine's work.

    Examples
    --------
    >>> seconds("plain", {"call": 1.0}) == current()["plain"]["call"]
    True
    """
    constants = current()[engine]
    return sum(constants[name] * amount for name, amount in work.items())
