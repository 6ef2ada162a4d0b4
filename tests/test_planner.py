import threading

import numpy as np
import pytest

import filterworks as fw
from filterworks.engine import ENGINES, opencv
from filterworks.planner import is_spiky, tracing
from filterworks.problem import outer_weights, weights


@pytest.mark.parametrize(("x", "expected"), [
    (np.array([1.0, 1, 1, 1e5]), True),
    (np.array([1.0, 1, 1, 9e3]), False),
    (np.array([0.0, 0, 0, 1e5, 2e5]), False),
    (np.array([1e-9, 1e-9, 1e-9, 1]), True),
    (np.array([-1e6, 1.0, 1.0]), True),
    (np.array([1.0, 1e6, 1e6]), False),
    (np.array([1e31, 1e31]), True),
    (np.array([1, 1, 60000], np.uint16), True),
    (np.array([1, 1, 255], np.uint8), False),
    (np.zeros(0), False),
    (np.zeros(9), False),
])  # fmt: skip
def test_spiky_data(x, expected):
    assert is_spiky(x) is expected


def test_the_kernel_is_analysed_once_per_content():
    taps = np.random.default_rng(0).normal(size=(5, 4))
    assert weights(taps) is weights(taps.copy())
    assert weights(taps).factors is None
    separable = np.outer([1.0, 2, 4], [3.0, 0, -1, 2])
    found = weights(separable)
    np.testing.assert_allclose(np.outer(*found.factors), separable, rtol=1e-15)
    assert found.has_zero
    assert found.nonzero == 9
    cube = np.einsum("i,j,k->ijk", [1.0, 2, 4], [3.0, -1], [1.0, 5, 7, 0])
    np.testing.assert_allclose(np.einsum("i,j,k->ijk", *weights(cube).factors), cube, rtol=1e-15)
    nearly = separable.copy()
    nearly[1, 2] *= 1 + 1e-13
    assert weights(nearly).factors is None
    assert weights(np.zeros((3, 3))).factors is not None
    by_factors = outer_weights((np.array([1.0, -2]), np.array([0.5, 0, 3])))
    assert (by_factors.total, by_factors.absolute, by_factors.nonzero) == (-3.5, 10.5, 4)
    np.testing.assert_array_equal(by_factors.array, [[0.5, 0, 3], [-1, 0, -6]])


def test_integer_kernels_stay_exact_when_taken_apart():
    x = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    for taps in (
        np.outer([1, 2, 1], [-1, 0, 1]),
        np.ones((9, 7)),
        np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]),
    ):
        exact = fw.correlate(x.astype(float), taps, method="plain")
        np.testing.assert_array_equal(fw.correlate(x, taps, method="separable"), exact)
        np.testing.assert_array_equal(fw.correlate(x, taps, method="opencv"), exact)


def test_direct_kernels_are_cut_below_the_size_of_a_transform():
    for dtype, limit in opencv._DIRECT_TAPS.items():
        for shape in ((101, 101), (1, 5000), (5000, 1), (7, 7), (13, 10)):
            blocks = opencv._blocks(shape, limit)
            covered = np.zeros(shape, int)
            for block in blocks:
                assert covered[block].size <= limit
                covered[block] += 1
            assert (covered == 1).all()
            assert dtype in (np.float32, np.float64)


def test_tracing_collects_the_plans_of_a_chain_in_its_own_thread():
    chain = fw.Chain.parse("gaussian:sigma=1 | sobel")
    with tracing() as trace:
        chain(np.zeros((20, 30), np.float32))
        other = threading.Thread(target=chain, args=(np.zeros((5, 5)),))
        other.start()
        other.join()
    assert [problem.spans for problem, _ in trace.steps] == [(9, 9), (3, 3), (3, 3)]
    assert all(plan.engine in ENGINES for _, plan in trace.steps)


def test_many_threads_get_the_results_of_one():
    rng = np.random.default_rng(0)
    jobs = [(rng.normal(size=(60, 70)), rng.normal(size=(k, k + 1))) for k in range(2, 26)]
    expected = [fw.convolve(x, taps) for x, taps in jobs]
    got = [None] * len(jobs)

    def work(start):
        for i in range(start, len(jobs), 4):
            got[i] = fw.convolve(*jobs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_engine_of_parts_is_that_of_the_whole_also_for_kernels_longer_than_a_typical_image():
    from filterworks.planner import expecting_many, tracing

    taps = np.random.default_rng(0).random(3000)
    with expecting_many("of any size"), tracing() as trace:
        fw.convolve(np.ones(100_000), taps, mode="valid")
        fw.convolve(np.ones(5000), taps, mode="valid")
    first, second = (plan.engine for _, plan in trace.steps)
    assert first == second


@pytest.mark.parametrize("channels", [5, 64])
def test_planes_of_many_channels_are_not_gathered_one_by_one(channels):
    x = np.ones((200, 300, channels), np.float32)
    estimates = []
    for data in (x, x[..., :3]):
        with tracing() as trace:
            fw.correlate(data, [[1, 2, 4], [0, 3, -5], [7, 1, 1]], axes=(0, 1))
        ((_, plan),) = trace.steps
        estimates.append(plan.estimates["opencv"] / data.size)
    assert estimates[0] > 1.5 * estimates[1]
