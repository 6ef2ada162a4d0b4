"""Moving sums of integers touch what they are given and nothing else, wherever it ends."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from filterworks.engine import integer_box, separable
from filterworks.engine.field import address
from filterworks.machine.compiler import obstacle
from filterworks.request import DEFAULTS, make_request
from tests.guarded import Guarded

RNG = np.random.default_rng(11)
pytestmark = [
    pytest.mark.skipif(obstacle() is not None, reason="nothing can be compiled here"),
    pytest.mark.skipif(sys.platform == "win32", reason="pages cannot be protected this way"),
]


def box_of(shape, dtype, size, boundary, mode="same"):
    x = np.zeros(shape, dtype)
    options = {**DEFAULTS, "axes": (0, 1), "boundary": boundary, "mode": mode}
    problem = make_request(x, np.full(size, 1 / np.prod(size)), False, options)[0].problem
    found = separable.prepare(replace(problem, wanted=np.dtype(dtype)))
    assert isinstance(found, integer_box.IntegerBox)
    return found


@pytest.fixture(scope="module")
def memory():
    return [Guarded(1 << 17) for _ in range(3)]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2"])
@pytest.mark.parametrize("size", [(3, 3), (2, 1), (1, 4), (9, 9), (3, 23), (40, 30)])
@pytest.mark.parametrize(("boundary", "mode"), [("mirror", "same"), ("wrap", "same"), ("constant", "full")])
def test_nothing_is_touched_outside(memory, monkeypatch, dtype, size, boundary, mode):
    monkeypatch.setattr("filterworks.engine.unstaged.usable_threads", lambda: 1)
    info = np.iinfo(dtype)
    for shape in [(1, 1), (2, 3), (5, 7), (9, 40), (41, 33, 3), (3, 66, 5), (4, 9, 40)]:
        if boundary == "mirror" and 1 in shape:
            continue
        x = RNG.integers(info.min, info.max, shape, endpoint=True).astype(dtype)
        box = box_of(shape, dtype, size, boundary, mode)
        wanted = box(x)
        assert box.block_count == 1
        for at_end in (True, False):
            given, out, room = memory
            places = [
                one.room(count) if at_end else one.start + one.page
                for one, count in ((given, x.nbytes), (out, wanted.nbytes), (room, box.room))
            ]
            given.fill(places[0], x.tobytes())
            out.fill(places[1], bytes(wanted.nbytes))
            box._loop(places[1], places[0], address(box._all_rows), places[2], box._only)
            assert out.read(places[1], wanted.nbytes) == wanted.tobytes(), (shape, at_end)
