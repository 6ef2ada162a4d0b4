"""NaN stays in its window, the workspace stays small, threads change nothing."""

import multiprocessing
import threading
import tracemalloc

import numpy as np
import pytest

from filterworks import functional, threads
from filterworks.functional import columns, depthwise, rows

PATHS = {
    "columns": ((1, 3, 30, 30), (5, 3, 3, 3), {"padding": 1}),
    "rows": ((1, 3, 40, 90), (5, 3, 3, 3), {"padding": 1}),
    "strided": ((1, 3, 40, 150), (5, 3, 3, 3), {"padding": 1, "stride": 2}),
    "planes": ((1, 3, 50, 60), (3, 1, 3, 3), {"padding": 1, "groups": 3}),
    "separable": ((1, 3, 50, 60), (3, 1, 5, 5), {"padding": 2, "groups": 3}),
    "shifts": ((1, 3, 12, 14), (3, 1, 3, 3), {"padding": 1, "groups": 3}),
    "many taps": ((1, 1, 60, 60), (1, 1, 13, 13), {"padding": 6}),
    "pointwise": ((1, 3, 20, 30), (5, 3, 1, 1), {}),
    "dilated": ((1, 2, 50, 60), (2, 1, 3, 3), {"padding": 2, "groups": 2, "dilation": 2}),
}


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("path", PATHS)
def test_nan_reaches_exactly_its_window(path, dtype, bad, zero):
    shape, weight_shape, options = PATHS[path]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    weight = np.ones(weight_shape) if path == "separable" else rng.uniform(0.5, 1, weight_shape)
    if zero:
        weight[..., -1, -1] = 0
    spot = np.zeros(shape)
    spot[0, 0, shape[2] // 2, shape[3] // 2] = 1
    clean = functional.conv2d(x, weight, **options)
    x[spot == 1] = bad
    y = functional.conv2d(x, weight, **options)
    reached = functional.conv2d(spot, np.ones_like(weight), **options) > 0
    np.testing.assert_array_equal(np.isfinite(y), ~reached)
    np.testing.assert_allclose(y[~reached], clean[~reached], rtol=1e-5, atol=1e-5)


def test_nan_in_a_transposed_layer_stays_in_its_window():
    x = np.ones((1, 6, 6))
    x[0, 2, 3] = np.nan
    y = functional.conv_transpose2d(x, np.ones((1, 1, 3, 2)), stride=2)
    rows_hit, columns_hit = np.nonzero(np.isnan(y[0]))
    assert (set(rows_hit), set(columns_hit)) == ({4, 5, 6}, {6, 7})


LARGE = {
    "rows": ((2, 8, 400, 400), (8, 8, 3, 3), {"padding": 1}),
    "columns": ((2, 64, 120, 60), (64, 64, 3, 3), {"padding": 1}),
    "one large product": ((1, 256, 80, 80), (256, 256, 3, 3), {"padding": 1}),
    "depthwise": ((2, 16, 400, 400), (16, 1, 3, 3), {"padding": 1, "groups": 16}),
    "depthwise strided": ((2, 16, 400, 400), (16, 1, 3, 3), {"stride": 3, "groups": 16}),
    "grouped": ((2, 64, 120, 120), (64, 2, 3, 3), {"groups": 32}),
    "reflect": ((2, 8, 400, 400), (8, 8, 3, 3), {"padding": 1, "padding_mode": "reflect"}),
}


def peak(work):
    """Bytes allocated beyond the result while `work` ran."""
    tracemalloc.start()
    try:
        result = work()
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", LARGE)
def test_workspace_is_bounded(name):
    shape, weight_shape, options = LARGE[name]
    x, weight = np.zeros(shape, "f4"), np.ones(weight_shape, "f4")
    assert peak(lambda: functional.conv2d(x, weight, **options)) < 64 << 20
    slope = np.zeros(functional.conv2d(x, weight, **options).shape, "f4")
    options = {k: v for k, v in options.items() if k != "padding_mode"}
    assert peak(lambda: functional.conv2d_input(x.shape, weight, slope, **options)) < 64 << 20
    assert peak(lambda: functional.conv2d_weight(x, weight.shape, slope, **options)) < 64 << 20


def test_workspace_of_the_others():
    x = np.zeros((2, 64, 200, 200), "u1")
    assert peak(lambda: functional.max_pool2d(x, 3, 2, 1)) < 64 << 20
    assert peak(lambda: functional.avg_pool2d(x, 31, 1, 15)) < 64 << 20
    weight, offset = np.ones((8, 64, 3, 3), "f4"), np.zeros((2, 18, 198, 198), "f4")
    assert peak(lambda: functional.deform_conv2d(x, offset, weight)) < 64 << 20
    assert peak(lambda: functional.conv2d(x, np.ones((4, 64, 1, 1)))) < 64 << 20
    assert peak(lambda: functional.conv_transpose2d(x, np.ones((64, 4, 3, 3)), stride=2)) < 64 << 20


@pytest.mark.parametrize("path", PATHS)
def test_threads_change_nothing(path, monkeypatch):
    shape, weight_shape, options = PATHS[path]
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal(shape), rng.standard_normal(weight_shape)
    results = []
    for count in (1, 3):
        for module in (columns, rows, depthwise):
            monkeypatch.setattr(module, "usable_threads", lambda count=count: count)
            monkeypatch.setattr(module, "THREAD_WORK", 0)
        results.append(functional.conv2d(x, weight, **options))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-13, atol=1e-13)


def test_one_level_of_threads():
    assert threads.usable_threads() == threads.thread_count()
    found = []
    thread = threading.Thread(target=lambda: found.append(threads.usable_threads()))
    thread.start()
    thread.join()
    assert found == [1]


def test_an_error_in_a_thread_is_raised_and_stops_the_rest():
    done = []

    def work(_, task):
        if task == 3:
            raise ValueError("three")
        done.append(task)

    with pytest.raises(ValueError, match="three"):
        threads.share(work, range(1000), 2)
    assert len(done) < 1000


def _child(queue):
    x = np.ones((1, 3, 40, 90))
    threads.share(lambda _, task: None, range(4), 2)
    queue.put(float(functional.conv2d(x, np.ones((2, 3, 3, 3))).sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_pool():
    threads.share(lambda _, task: None, range(4), 2)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == 27 * 2 * 38 * 88
    child.join()


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_small_tiles_give_the_same(limit, monkeypatch):
    rng = np.random.default_rng(2)
    for shape, weight_shape, options in PATHS.values():
        x, weight, bias = (
            rng.standard_normal(shape),
            rng.standard_normal(weight_shape),
            rng.standard_normal(weight_shape[0]),
        )
        whole = functional.conv2d(x, weight, bias, **options)
        with monkeypatch.context() as patch:
            patch.setattr(columns, "TILE_BYTES", limit << 10)
            patch.setattr(rows, "TILE_BYTES", limit << 10)
            patch.setattr(depthwise, "TILE_SAMPLES", limit << 4)
            patch.setattr(depthwise, "PLANE_SAMPLES", limit << 4)
            np.testing.assert_allclose(functional.conv2d(x, weight, bias, **options), whole, atol=1e-11)
