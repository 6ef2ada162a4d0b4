"""Loops that are written for one kernel give what the loop for all kernels gives, to the last bit."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import filterworks as fw
from filterworks.engine import direct, separable, written
from filterworks.engine.field import address
from filterworks.engine.taps import Correlator, written_tile
from filterworks.machine import loops, unrolled

RNG = np.random.default_rng(11)
PATTERNS = {
    "row": ((0, 1, 2, 3, 4),),
    "one tap": ((0,),),
    "row of colours": (tuple(range(0, 3 * 19, 3)),),
    "even row, dilated": ((0, 4, 8, 12),),
    "column": ((0,),) * 17,
    "dilated column": ((0,), (), (0,), (), (0,), (), (0,)),
    "square": ((0, 1, 2),) * 3,
    "even and flat": ((0, 1, 2, 3, 4, 5),) * 2,
    "dilated square": ((0, 6, 12), (), (0, 6, 12)),
    "with holes": ((0, 2), (1, 5), (3,)),
}
KINDS = [("f4", "f4"), ("f4", "u1"), ("f8", "f8"), ("f8", "u2")]


def aligned(count, dtype):
    size = count * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype)


@pytest.mark.parametrize(("work", "out"), KINDS)
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("vector_bytes", [64, 32])
def test_every_loop_gives_the_same_bits(pattern, work, out, vector_bytes):
    work, out = np.dtype(work), np.dtype(out)
    lanes = min(vector_bytes, loops.lanes_of(work) * work.itemsize) // work.itemsize
    tile = written_tile(pattern)
    reach = max(max(row, default=0) for row in pattern)
    for height, width in [
        (tile.rows, tile.vectors * lanes),
        (2 * tile.rows + 1, 2 * tile.vectors * lanes + 5),
    ]:
        pitch = -(-(width + reach + 2 * loops.lanes_of(work)) // 16) * 16
        data = aligned((height + len(pattern)) * pitch + 256, work)
        data[:] = RNG.normal(size=data.size) * 90 + 60
        rows = [[(y * pitch + x, float(RNG.normal())) for x in row] for y, row in enumerate(pattern)]
        weights = np.array([weight for row in rows for _, weight in row], work)
        expected, found = aligned(height * width, out), aligned(height * width, out)
        found[:] = 77
        Correlator([rows], pitch, (height, width), width, work, out)(address(data), address(expected))
        loop = unrolled.correlate(work, out, pattern, (tile.rows, tile.vectors), lanes)
        constants = np.array([width, pitch, height, width, address(weights)], np.int64)
        loop(address(found), address(data), address(constants))
        assert found.tobytes() == expected.tobytes()


def ready():
    return [key for key, tally in written.Written.tallies.items() if tally.is_ready]


@pytest.fixture
def after(monkeypatch):
    """Return a function that sets how much work repays a loop, and forgets what was done."""

    def forget(repays):
        monkeypatch.setattr(written, "_REPAYS", repays)
        for tally in written.Written.tallies.values():
            tally.done, tally.is_ready = 0, False
        direct._direct.cache_clear()
        separable._plane.cache_clear()

    yield forget
    direct._direct.cache_clear()
    separable._plane.cache_clear()


ASYMMETRIC = np.array([[1.0, 2, -3], [0, 5, 0.5], [4, -1, 2]])
CASES = {
    "3 x 3": (ASYMMETRIC, {"method": "direct"}),
    "4 x 6": (RNG.normal(size=(4, 6)), {"method": "direct"}),
    "dilated": (ASYMMETRIC, {"method": "direct", "dilation": (2, 3)}),
    "strided": (ASYMMETRIC, {"method": "direct", "stride": 2}),
    "separable": (np.outer([1.0, 2, 4, 8, 3], [3.0, 1, -2, 5, 1, 1]), {"method": "separable"}),
    "two terms": (
        np.outer(RNG.random(11), RNG.random(12)) + np.outer(RNG.random(11), RNG.random(12)),
        {"method": "separable"},
    ),
    "separable, rows strided": (
        np.outer([1.0, 2, 4], [3, 1, 2, 7]),
        {"method": "separable", "stride": (2, 1)},
    ),
}


@pytest.mark.parametrize("boundary", ["symmetric", "constant", "wrap"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
@pytest.mark.parametrize("case", CASES)
def test_what_takes_over_changes_nothing(case, dtype, boundary, after):
    kernel, options = CASES[case]
    x = (RNG.random((61, 167, 3)) * 250).astype(dtype)

    def filtered():
        return fw.correlate(x, kernel, axes=(0, 1), boundary=boundary, **options)

    after(1 << 60)
    expected = filtered()
    assert not ready()
    after(1)
    assert filtered().tobytes() == expected.tobytes()
    assert bool(ready()) == (case != "strided")


def test_it_takes_over_once_it_is_repaid_whatever_thread_comes_first(after):
    x = RNG.random((256, 256)).astype(np.float32)
    after(20 * x.size * ASYMMETRIC.size)

    def filtered(_):
        return fw.correlate(x, ASYMMETRIC, method="direct").tobytes()

    expected = filtered(0)
    assert not ready()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(filtered, range(100))) == {expected}
    assert len(ready()) == 1
