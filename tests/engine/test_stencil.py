"""Integer kernels give, in one pass, the rounded and saturated sums and lengths of NumPy's loops."""

from dataclasses import replace

import numpy as np
import pytest

from filterworks import Chain, kernels
from filterworks.engine import stencil, unstaged, written
from filterworks.problem import weights
from filterworks.request import DEFAULTS, make_request

RNG = np.random.default_rng(11)
UNEVEN = np.array([[1.0, -2, 0, 4], [3, 0, -1, 2], [-5, 1, 1, 0]])
SLOPES = [np.outer([1.0, 2, 1], [-1.0, 0, 1]), np.outer([-1.0, 0, 1], [1.0, 2, 1])]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(written, "_REPAYS", 1)
    yield
    stencil.prepare.cache_clear()


def prepared(x, taps, axes=(0, 1), padding=None, options=None, **finish):
    """Return the stencil of some kernels for data like `x`."""
    found = tuple(weights(np.asarray(one, float)) for one in taps)
    options = {**DEFAULTS, "axes": axes, "boundary": "symmetric", **(options or {})}
    problem = replace(make_request(x, found[0], False, options)[0].problem, wanted=x.dtype)
    if padding is not None:
        problem = replace(problem, padding=padding)
    return stencil.prepare(problem, found, **finish)


MODES = {"nearest": "edge", "mirror": "reflect"}


def correlated(x, taps, boundary, dilation=(1, 1)):
    """Return Σ weight · sample as NumPy adds it up; the window of a sample begins half its span before."""
    spans = [(size - 1) * step + 1 for size, step in zip(taps.shape, dilation, strict=True)]
    padded = np.pad(x.astype(float), [(n // 2, n - 1 - n // 2) for n in spans], MODES.get(boundary, boundary))
    total = np.zeros(x.shape)
    for (row, column), weight in np.ndenumerate(taps):
        first, second = row * dilation[0], column * dilation[1]
        total += weight * padded[first : first + x.shape[0], second : second + x.shape[1]]
    return total


def expected(x, taps, boundary="symmetric", *, absolute=False, offset=0, **options):
    """Return pixels and how many were cut, from sums in double precision."""
    sums = [correlated(x, one, boundary, **options) for one in taps]
    values = sums[0] if len(sums) == 1 else np.sqrt(sums[0] ** 2 + sums[1] ** 2)
    values = np.rint((np.abs(values) if absolute else values) + offset)
    top = np.iinfo(x.dtype).max
    return np.clip(values, 0, top).astype(x.dtype), int(((values < 0) | (values > top)).sum())


def same(made, wanted):
    return made[0].dtype == wanted[0].dtype and np.array_equal(made[0], wanted[0]) and made[1] == wanted[1]


@pytest.mark.parametrize("boundary", ["constant", "nearest", "symmetric", "mirror", "wrap"])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("taps", [[UNEVEN], [UNEVEN[:2, :2]], SLOPES], ids=["3x4", "2x2", "slopes"])
@pytest.mark.parametrize("finish", [{}, {"absolute": True}, {"offset": 100}], ids=str)
def test_every_boundary_and_finish(boundary, dtype, taps, finish):
    x = RNG.integers(0, np.iinfo(dtype).max, (33, 131), dtype, endpoint=True)
    made = prepared(x, taps, options={"boundary": boundary}, **finish)(x)
    wanted = expected(x, taps, boundary=boundary, **finish)
    if dtype == "u2" and len(taps) == 2:
        # Squares of 16 bits are rounded in single precision, as in every engine.
        assert np.abs(made[0].astype(int) - wanted[0]).max() <= 1
        assert abs(made[1] - wanted[1]) <= 2
    else:
        assert same(made, wanted)


@pytest.mark.parametrize("chunk", [160, 8192])
@pytest.mark.parametrize("threads", [1, 4])
def test_blocks_overlap_and_count_nothing_twice(chunk, threads, monkeypatch):
    monkeypatch.setattr(unstaged, "_CHUNK", chunk)
    monkeypatch.setattr(unstaged, "usable_threads", lambda: threads)
    monkeypatch.setattr("filterworks.engine.field._WORTH_A_THREAD", 0)
    monkeypatch.setattr("filterworks.engine.field._WORTH_A_BLOCK", 0)
    x = RNG.integers(0, 256, (131, 157, 3), np.uint8)
    made = prepared(x, [UNEVEN])
    assert (made.block_count > 1) == (chunk == 160 or threads > 1)
    wanted = np.stack([expected(x[..., c], [UNEVEN])[0] for c in range(3)], -1)
    cut = sum(expected(x[..., c], [UNEVEN])[1] for c in range(3))
    assert cut > 1000
    assert same(made(x), (wanted, cut))


def test_planes_strides_and_parts_of_the_result():
    x = RNG.integers(0, 256, (3, 50, 240), np.uint8)[:, :, 3:233]
    made, cut = prepared(x, [UNEVEN], axes=(1, 2))(x)
    wanted = [expected(plane, [UNEVEN]) for plane in x]
    assert same((made, cut), (np.stack([one for one, _ in wanted]), sum(count for _, count in wanted)))
    part, cut = prepared(x[0], [UNEVEN], padding=((-2, -5), (2, -6)))(x[0])
    whole, count = prepared(x[0], [UNEVEN], padding=((1, 1), (2, 1)))(x[0])
    assert np.array_equal(part, whole[3:-6, :-7])
    assert 0 < cut < count


@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_the_largest_sums_fit(dtype):
    top = np.iinfo(dtype).max
    x = np.full((40, 140), top, dtype)
    x[::2, ::2] = 0
    largest = 127 if dtype == "u1" else 255
    for taps in (np.array([[largest - 1.0, 1]]), np.array([[1.0], [1 - largest]]), np.full((5, 5), -5.0)):
        for finish in ({}, {"absolute": True}, {"offset": (top + 1) // 2}):
            assert same(prepared(x, [taps], **finish)(x), expected(x, [taps], **finish))


@pytest.mark.parametrize("vector_bytes", [16, 32])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_narrower_vectors(vector_bytes, dtype, monkeypatch):
    monkeypatch.setattr("filterworks.machine.loops.vector_bytes", lambda: vector_bytes)
    x = RNG.integers(0, 256, (41, 77), dtype)
    assert same(prepared(x, [UNEVEN])(x), expected(x, [UNEVEN]))
    assert same(prepared(x, SLOPES)(x), expected(x, SLOPES))


def test_what_it_is_not_for():
    image = np.zeros((64, 640), np.uint8)
    assert prepared(image, [UNEVEN]) is not None
    for other in (image.astype(np.int16), image.astype(np.float32), image.astype(np.uint32), image[:20]):
        assert prepared(other, [UNEVEN]) is None
    for taps in ([UNEVEN / 2], [UNEVEN * 1e5], [np.ones((9, 3))], [np.ones((8, 8))], [UNEVEN] * 3):
        assert prepared(image, taps) is None
    assert prepared(image, [UNEVEN, UNEVEN.T]) is None
    for options in ({"stride": 2}, {"boundary": "omit"}, {"axes": (0, 2)}, {"dtype": "float64"}):
        x = np.zeros((64, 640, 3), np.uint8)
        assert prepared(x, [kernels.sharpen()], options=options) is None


def test_dilation():
    x = RNG.integers(0, 256, (60, 150), np.uint8)
    options = {"dilation": (3, 2)}
    made = prepared(x, [UNEVEN[:, :3]], options=options)(x)
    assert same(made, expected(x, [UNEVEN[:, :3]], dilation=(3, 2)))


def test_a_second_thread_waits_for_the_loop():
    x = RNG.integers(0, 256, (64, 640), np.uint8)
    written.Written.tallies.clear()
    one = prepared(x, [UNEVEN])
    one._written._tally.done = 1 << 60  # somebody has begun to write
    assert not one._written._tally.is_ready
    assert same(one(x), expected(x, [UNEVEN]))


def test_bytes_in_the_other_order_go_the_other_way():
    x = RNG.integers(0, 65536, (64, 640), np.uint16)
    whole = (slice(0, 64), slice(0, 640))
    chain = Chain.parse("laplace")
    assert chain.pixels(x, (0, 1), whole, absolute=True, offset=0) is not None
    assert chain.pixels(x.astype(">u2"), (0, 1), whole, absolute=True, offset=0) is None
