"""What the engines promise beyond single results: equal parts, no drift, any memory layout, any vector width."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

import filterworks as fw
from filterworks import convolution
from filterworks.engine import ENGINES, field, separable, written
from filterworks.errors import EngineError
from filterworks.machine import loops
from filterworks.problem import weights

COMPILED = ("direct", "separable")
RNG = np.random.default_rng(7)


def outer(*factors):
    kernel = np.ones(())
    for factor in factors:
        kernel = np.multiply.outer(kernel, factor)
    return kernel


@pytest.fixture(params=[16, 32, 64])
def vector_bytes(request, monkeypatch):
    """Pretend that a vector register is so wide; wider ones than the machine has are put together by LLVM."""
    monkeypatch.setattr("filterworks.machine.loops.vector_bytes", lambda: request.param)
    monkeypatch.setattr("filterworks.engine.taps.vector_bytes", lambda: request.param)
    convolution._recall.cache_clear()
    for engine in COMPILED:
        for name in ("_direct", "_plane"):
            cached = vars(ENGINES[engine]).get(name)
            if cached is not None:
                cached.cache_clear()
    yield request.param
    convolution._recall.cache_clear()


@pytest.mark.parametrize("method", COMPILED)
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "float16", "float32", "int32", "uint64", "float64"]
)
def test_every_vector_width_and_dtype_equals_the_definition(vector_bytes, method, dtype):
    x = (RNG.random((37, 61)) * 100).astype(dtype)
    for sizes, boundary, stride in itertools.product(
        [(3, 5), (4, 8), (7, 6)], ["mirror", "constant"], [1, 2, (3, 1)]
    ):
        for kernel in (outer(*map(RNG.random, sizes)), np.ones(sizes)):
            options = {"boundary": boundary, "stride": stride}
            got = fw.correlate(x, kernel, method=method, **options)
            expected = fw.correlate(x, kernel, method="plain", **options)
            bound = 1e-12 if got.dtype == np.float64 else 1e-5
            assert got.dtype == expected.dtype
            assert np.abs(got - expected).max() <= bound * 100 * kernel.sum()


@pytest.mark.parametrize(
    "shape", [(3, 2), (1, 300), (300, 1), (2, 15), (5, 17), (40, 63), (7, 100), (129, 3)]
)
@pytest.mark.parametrize("method", COMPILED)
def test_narrow_results_are_whole(method, shape):
    x = RNG.random(shape)
    for sizes in ((3, 3), (1, 6), (6, 1), (9, 8)):
        for kernel in (outer(*map(RNG.random, sizes)), np.ones(sizes)):
            got = fw.correlate(x, kernel, method=method, boundary="symmetric")
            np.testing.assert_allclose(
                got, fw.correlate(x, kernel, method="plain", boundary="symmetric"), rtol=1e-12
            )


@pytest.mark.parametrize("method", [*COMPILED, "fft", "auto"])
def test_many_blocks_equal_scipy(method):
    signal_long = RNG.random(400_003)
    taps = RNG.random(41)
    np.testing.assert_allclose(
        fw.convolve(signal_long, taps, method=method),
        signal.oaconvolve(signal_long, taps, mode="same"),
        rtol=1e-11,
    )
    image = RNG.random((1500, 1100))
    for kernel in (outer(RNG.random(9), RNG.random(14)), np.full((21, 30), 1 / 630)):
        got = fw.correlate(image, kernel, boundary="mirror", method=method)
        expected = ndimage.correlate1d(image, kernel.sum(axis=1), axis=0, mode="mirror")
        expected = ndimage.correlate1d(expected, kernel.sum(axis=0) / kernel.sum(), axis=1, mode="mirror")
        np.testing.assert_allclose(got, expected, rtol=1e-11)
    volume = RNG.random((30, 70, 90))
    kernel = outer(*map(RNG.random, (3, 4, 5)))
    got = fw.correlate(volume, kernel, boundary="wrap", method=method)
    np.testing.assert_allclose(got, ndimage.correlate(volume, kernel, mode="wrap"), rtol=1e-11)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_direct_parts_equal_the_whole_to_the_last_bit(rows, columns, high, wide, top, left):
    rng = np.random.default_rng(rows * 61 + columns)
    whole = rng.random((120, 130)).astype(np.float32)
    for kernel, method in (
        (rng.random((high, wide)), "direct"),
        (outer(rng.random(high), rng.random(wide)), "separable"),
        (np.ones((high, wide)), "separable"),
        (np.ones((high + 47, wide + 47)), "separable"),
    ):
        full = fw.correlate(whole, kernel, mode="valid", method=method)
        part = whole[top : top + rows + kernel.shape[0] - 1, left : left + columns + kernel.shape[1] - 1]
        got = fw.correlate(part, kernel, mode="valid", method=method)
        np.testing.assert_array_equal(got, full[top : top + got.shape[0], left : left + got.shape[1]])


@pytest.mark.parametrize("sizes", [(15, 15), (9, 16), (1, 15), (16, 1), (50, 12), (12, 50)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_boxes_give_the_same_bits_however_often_and_wherever_they_are_cut(sizes, channels, monkeypatch):
    # One pass takes over from two after some calls, where there is room for its tiles; what is narrow is a line.
    x = RNG.random((200, 300, *channels)).astype(np.float32)
    box, options = np.ones(sizes), {"axes": (0, 1), "mode": "valid", "method": "separable"}
    results = []
    for repays in (1 << 60, 1):
        monkeypatch.setattr(written, "_REPAYS", repays)
        monkeypatch.setattr(written.Written, "tallies", {})
        separable._plane.cache_clear()
        convolution._recall.cache_clear()
        results += [fw.correlate(x, box, **options) for _ in range(2)]
    for got in results[1:]:
        np.testing.assert_array_equal(got, results[0])
    for height, width in ((sizes[0] + 2, 200), (150, sizes[1] + 2)):
        got = fw.correlate(x[40 : 40 + height, 30 : 30 + width], box, **options)
        np.testing.assert_array_equal(got, results[0][40 : 40 + got.shape[0], 30 : 30 + got.shape[1]])


@pytest.mark.parametrize("size", [12, 15, 16, 64])
@pytest.mark.parametrize("axes", [(0,), (0, 2)])
def test_boxes_of_rows_are_those_of_lines_where_little_stands_behind_them(size, axes):
    x = RNG.random((90, 30, 70)).astype(np.float32)
    box = np.ones((size, 7)[: len(axes)])
    whole = fw.correlate(x, box, axes=axes, mode="valid", method="separable")
    part = fw.correlate(x[:, 10:12, 20:40], box, axes=axes, mode="valid", method="separable")
    np.testing.assert_array_equal(part, whole[:, 10:12, 20 : 20 + part.shape[2]])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_moving_sums_of_integers_are_exact_wherever_they_are_cut(dtype):
    info = np.iinfo(dtype)
    x = RNG.integers(info.min, info.max, (700, 300), endpoint=True).astype(dtype)
    for size in (6, 9, 31, 64):
        box = np.full((size, size), 1 / size**2)
        for wanted in (None, dtype):
            whole = fw.correlate(x, box, mode="valid", method="separable", dtype=wanted)
            part = fw.correlate(x[123:456, 17:211], box, mode="valid", method="separable", dtype=wanted)
            np.testing.assert_array_equal(part, whole[123 : 123 + part.shape[0], 17 : 17 + part.shape[1]])
        sums = fw.correlate(x, np.ones((size, size)), mode="valid", dtype="int64", method="separable")
        if size**2 * info.max < 1 << 24:
            windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.int64), (size, size))
            np.testing.assert_array_equal(sums, windows.sum(axis=(2, 3)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_means_of_equal_samples_are_those_samples(dtype):
    for size in (2, 3, 7, 9, 14, 15, 16, 31, 64):
        for value in (1.0, 0.1, 0.7, 255.0):
            x = np.full((90, 100), value, dtype)
            mean = fw.correlate(x, np.full((size, size), 1 / size**2), mode="valid", method="separable")
            np.testing.assert_allclose(mean, x[0, 0], rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("method", ["auto", "separable"])
@pytest.mark.parametrize("size", [6, 7, 64, 101, 1000])
def test_moving_sums_do_not_drift(method, size):
    x = np.ones(300_000)
    x[:3] = 1e16
    mean = fw.convolve(x, np.full(size, 1 / size), mode="valid", method=method)
    np.testing.assert_allclose(mean[3:], 1.0, rtol=1e-15)
    single = np.full(300_000, 0.1, np.float32)
    np.testing.assert_allclose(
        fw.convolve(single, np.ones(size), mode="valid", method=method),
        size * np.float32(0.1),
        rtol=3e-6,
    )
    image = np.ones((400, 300))
    image[0, 0] = 1e16
    got = fw.convolve(image, np.full((size % 90 + 6, 9), 1.0), mode="valid", method=method)
    np.testing.assert_array_equal(got[1:], got[-1, -1])


@pytest.mark.parametrize("method", ["auto", "separable"])
def test_moving_sums_keep_nan_and_infinity_in_their_windows(method):
    x = np.ones((90, 120))
    x[40, 50], x[70, 20], x[10, 100] = np.nan, np.inf, -np.inf
    kernel = np.ones((7, 9))
    got = fw.correlate(x, kernel, mode="valid", method=method)
    expected = np.lib.stride_tricks.sliding_window_view(x, (7, 9)).sum(axis=(2, 3))
    np.testing.assert_array_equal(got, expected)
    for k in (np.ones((8, 1)), np.ones((1, 8))):
        expected = np.lib.stride_tricks.sliding_window_view(x, k.shape).sum(axis=(2, 3))
        np.testing.assert_array_equal(fw.correlate(x, k, mode="valid", method=method), expected)


@pytest.mark.parametrize("method", ["auto", *fw.engines()])
def test_any_memory_layout_gives_the_same(method):
    base = RNG.random((44, 38))
    kernel = outer([1.0, 2, 4], [3.0, 1, 2])
    expected = fw.correlate(base, kernel, method="plain")
    frozen = base.copy()
    frozen.flags.writeable = False
    padded = np.zeros((50, 60))
    padded[3:47, 5:43] = base
    layouts = {
        "fortran": np.asfortranarray(base),
        "rows of a larger one": padded[3:47, 5:43],
        "every second": np.repeat(np.repeat(base, 2, axis=0), 2, axis=1)[::2, ::2],
        "backwards": base[::-1, ::-1].copy()[::-1, ::-1],
        "read-only": frozen,
        "byte-swapped": base.astype(base.dtype.newbyteorder()),
        "broadcast": np.broadcast_to(base[:, :1], base.shape),
    }
    for name, x in layouts.items():
        wanted = expected if name != "broadcast" else fw.correlate(x, kernel, method="plain")
        try:
            got = fw.correlate(x, kernel, method=method)
        except fw.errors.EngineError:
            assert method == "numpy"
            continue
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12, err_msg=name)
    assert fw.correlate(np.zeros((0, 5)), kernel, method=method).shape == (0, 5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("method", [*COMPILED, "auto"])
def test_rounding_as_it_goes_equals_rounding_afterwards(method, dtype):
    info = np.iinfo(dtype)
    x = RNG.integers(info.min, info.max, (50, 61), endpoint=True).astype(dtype)
    for kernel in (outer([0.5, 1], [0.5, 0.25]), outer([1.0, -1], [2.0, 3]), np.full((6, 7), 0.25)):
        for wanted in ("uint8", "int8", "uint16", "int16"):
            got = fw.correlate(x, kernel, method=method, dtype=wanted)
            limits = np.iinfo(wanted)
            exact = np.clip(np.rint(fw.correlate(x, kernel, method="plain")), limits.min, limits.max)
            np.testing.assert_array_equal(got, exact.astype(wanted))


def test_a_sum_of_few_outer_products_is_found():
    y, x = np.mgrid[-12:13, -12:13]
    gauss = np.exp(-(x**2 + y**2) / 18)
    log = (x**2 + y**2 - 18) * gauss
    assert weights(log).factors is None
    assert len(weights(log).terms) == 2
    assert weights(RNG.random((25, 25))).terms is None
    assert weights(RNG.random((3, 3))).terms is None
    image = RNG.random((90, 100))
    np.testing.assert_allclose(
        fw.correlate(image, log, method="separable"), fw.correlate(image, log, method="plain"), atol=1e-11
    )
    image[30, 40] = np.inf
    np.testing.assert_array_equal(
        np.isnan(fw.correlate(image, log, method="separable")),
        np.isnan(fw.correlate(image, log, method="plain")),
    )


def test_equal_samples_do_not_pile_up_rounding():
    x = np.full((150, 160), 0.1, np.float32)
    kernel = RNG.random((61, 67))
    for method in ("direct", "fft", "auto"):
        got = fw.correlate(x, kernel, mode="valid", method=method)
        assert np.abs(got - np.float64(np.float32(0.1)) * kernel.sum()).max() <= 1e-6 * 0.1 * kernel.sum()


def test_threads_beside_each_other_have_buffers_of_their_own():
    from concurrent.futures import ThreadPoolExecutor

    image = RNG.random((300, 200))
    kernels = [RNG.random((3 + i % 5, 4 + i % 3)) for i in range(40)]
    expected = [fw.correlate(image, k, method="plain") for k in kernels]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda k: fw.correlate(image, k, method="direct"), kernels))
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


def test_a_large_buffer_is_given_back_when_little_is_wanted():
    field.scratch("test", 1 << 25)
    assert field._LOCAL.held["test"][0] == 1 << 25
    field.scratch("test", 100)
    assert field._LOCAL.held["test"][0] == 100


def test_loops_are_made_once():
    single = np.dtype(np.float32)
    assert loops.correlate(single, single, 2, 1, 4) is loops.correlate(single, single, 2, 1, 4)


@pytest.mark.parametrize(
    ("shape", "axes"), [((12, 9, 14), (0, 2)), ((13, 14, 70), (0, 1)), ((13, 14, 3), (0, 1))]
)
def test_sums_of_outer_products_wherever_the_axes_lie(shape, axes):
    x = RNG.normal(size=shape)
    kernel = np.outer(RNG.random(9), RNG.random(9)) + np.outer(RNG.random(9), RNG.random(9))
    expected = fw.correlate(x, kernel, axes=axes, method="plain")
    np.testing.assert_allclose(fw.correlate(x, kernel, axes=axes), expected, rtol=1e-11, atol=1e-11)
    if shape[2] > 3:
        with pytest.raises(EngineError, match="two neighbouring axes"):
            fw.correlate(x, kernel, axes=axes, method="separable")
