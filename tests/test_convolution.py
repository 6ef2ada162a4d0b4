import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal

import filterworks as fw
from filterworks.errors import ArgumentError, EngineError, MissingDataError
from tests.reference import filtered

BOUNDARIES = ("constant", "nearest", "symmetric", "mirror", "wrap", "omit")
DTYPES = (
    "bool", "uint8", "int16", "uint16", "int32", "uint64", "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
METHODS = ("auto", *fw.engines())


def bound(dtype):
    """The contract's accuracy for a signal of this dtype."""
    return 1e-12 if np.dtype(dtype) in map(np.dtype, ("int32", "uint64", "float64", "complex128")) else 1e-5


def signal_of(rng, shape, dtype):
    x = rng.normal(size=shape) * 20
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.normal(size=shape)
    if np.dtype(dtype).kind == "u":
        x = np.abs(x)
    return x.astype(dtype)


def draw_case(rng):
    """One random call: data, kernel, options, flip."""
    ndim = int(rng.integers(1, 4))
    kernel_ndim = int(rng.integers(1, ndim + 1))
    shape = tuple(rng.integers(1, 8, ndim).tolist())
    axes = tuple(rng.permutation(ndim)[:kernel_ndim].tolist())
    sizes = rng.integers(1, 6 if kernel_ndim < 3 else 4, kernel_ndim).tolist()
    x = signal_of(rng, shape, rng.choice(DTYPES))
    options = {
        "mode": str(rng.choice(["same", "full", "valid"])),
        "boundary": str(rng.choice(BOUNDARIES)),
        "axes": axes,
        "stride": tuple(rng.integers(1, 4, kernel_ndim).tolist()),
        "dilation": tuple(rng.integers(1, 3, kernel_ndim).tolist()),
        "nan_policy": str(rng.choice(["propagate", "omit"])),
        "fill_value": float(rng.choice([0, 0, 1.5, np.nan, np.inf])),
    }
    if options["mode"] == "same" and rng.random() < 0.5:
        options["origin"] = tuple(rng.integers(-4, 5, kernel_ndim).tolist())
    omitting = "omit" in (options["boundary"], options["nan_policy"])
    kernel = draw_kernel(rng, sizes, omitting)
    if x.dtype.kind in "fc" and rng.random() < 0.5:
        kinds = (
            [np.nan, np.nan, np.inf, -np.inf]
            if x.dtype.kind == "f" and kernel.dtype.kind == "f"
            else [np.nan]
        )
        for _ in range(2):
            x[tuple(rng.integers(0, n) for n in shape)] = rng.choice(kinds)
    if x.dtype.kind == "c" or kernel.dtype.kind == "c":
        options["fill_value"] = 0.0
    spans = [d * (k - 1) + 1 for k, d in zip(sizes, options["dilation"], strict=True)]
    if options["mode"] == "valid" and any(shape[a] < k for a, k in zip(axes, spans, strict=True)):
        options["mode"] = "full"
    return x, kernel, options, bool(rng.integers(2))


def draw_kernel(rng, sizes, omitting):
    kind = rng.integers(0, 5)
    kernel = rng.normal(size=sizes)
    if kind == 1:  # separable
        kernel = np.array(1.0)
        for size in sizes:
            kernel = np.multiply.outer(kernel, rng.normal(size=size))
    if kind == 2:  # with zeros
        kernel = np.round(kernel)
    if kind == 3:
        kernel = np.abs(kernel)
    if kind == 4 and not omitting:
        kernel = kernel + 1j * rng.normal(size=sizes)
    if omitting and abs(kernel.sum()) <= 1e-12 * np.abs(kernel).sum():
        kernel = kernel + 0.5
    return kernel


def assert_equals_reference(got, expected, x, kernel, options):
    assert got.shape == expected.shape
    odd = ~np.isfinite(expected)
    if np.iscomplexobj(expected):
        np.testing.assert_array_equal(np.isnan(got), odd)
    else:
        np.testing.assert_array_equal(got[odd], expected[odd])
        assert np.isfinite(got[~odd]).all()
    fill = options["fill_value"]
    peak = max(np.abs(np.where(np.isfinite(x), x, 0)).max(), abs(fill) if np.isfinite(fill) else 0.0)
    scale = peak * np.abs(kernel).sum()
    if "omit" in (options["boundary"], options["nan_policy"]):
        scale = scale + np.abs(expected[~odd]).max(initial=0.0)  # what is left may be small against Σ|k|
    error = np.abs(got[~odd] - expected[~odd]).max(initial=0.0)
    assert error <= bound(x.dtype) * scale


@pytest.mark.parametrize("seed", range(30))
def test_2400_random_calls_equal_the_definition_in_every_engine(seed):
    rng = np.random.default_rng(seed)
    used = dict.fromkeys(METHODS, 0)
    for _ in range(80):
        x, kernel, options, flip = draw_case(rng)
        expected = filtered(x, kernel, flip=flip, **options)
        function = fw.convolve if flip else fw.correlate
        for method in METHODS:
            try:
                got = function(x, kernel, method=method, **options)
            except EngineError:
                continue
            used[method] += 1
            assert_equals_reference(got, expected, x, kernel, options)
    assert used["auto"] == used["plain"] == used["fft"] == 80
    assert min(used[method] for method in METHODS if method != "numpy") > 40


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_larger_images_equal_scipy(method, dtype):
    rng = np.random.default_rng(3)
    x = signal_of(rng, (61, 83), dtype)
    for sizes, mode, (ours, theirs) in itertools.product(
        [(3, 5), (4, 4), (13, 11), (1, 140)],
        ["same", "full", "valid"],
        [("constant", "fill"), ("symmetric", "symm"), ("wrap", "wrap")],
    ):
        if mode == "valid" and sizes[1] > x.shape[1]:
            continue
        kernel = rng.normal(size=sizes)
        expected = signal.convolve2d(x.astype(float), kernel, mode=mode, boundary=theirs)
        try:
            got = fw.convolve(x, kernel, mode=mode, boundary=ours, method=method)
        except EngineError:
            assert method in ("separable", "opencv_separable", "numpy")
            continue
        assert np.abs(got - expected).max() <= bound(dtype) * float(np.abs(x).max()) * np.abs(kernel).sum()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("size", "taps"), [(5000, 129), (3000, 1001), (700, 2000)])
def test_long_series_equal_scipy(method, size, taps):
    rng = np.random.default_rng(size)
    for dtype in ("float32", "float64"):
        x, kernel = rng.normal(size=size).astype(dtype), rng.normal(size=taps)
        expected = signal.correlate(x.astype(float), kernel, mode="same", method="direct")
        if method == "numpy" and taps > 127:
            with pytest.raises(EngineError, match="at most 127 taps"):
                fw.correlate(x, kernel, method=method)
            continue
        got = fw.correlate(x, kernel, method=method)
        assert np.abs(got - expected).max() <= bound(dtype) * np.abs(x).max() * np.abs(kernel).sum()


@pytest.mark.parametrize(("ours", "theirs"), [
    ("constant", "constant"), ("nearest", "nearest"), ("symmetric", "reflect"), ("mirror", "mirror"), ("wrap", "wrap"),
])  # fmt: skip
def test_volumes_equal_ndimage_along_any_axes(ours, theirs):
    rng = np.random.default_rng(5)
    x, kernel = rng.normal(size=(7, 9, 8)), rng.normal(size=(3, 4, 2))
    np.testing.assert_allclose(
        fw.correlate(x, kernel, boundary=ours), ndimage.correlate(x, kernel, mode=theirs), atol=1e-12
    )
    # The kernel's axes need not follow the order of the data's.
    turned = fw.correlate(x, kernel[0], boundary=ours, axes=(2, 0))
    for row in range(x.shape[1]):
        np.testing.assert_allclose(
            turned[:, row], ndimage.correlate(x[:, row], kernel[0].T, mode=theirs), atol=1e-12
        )


def test_an_impulse_shows_the_flip():
    x = np.zeros(7)
    x[3] = 1
    np.testing.assert_array_equal(fw.convolve(x, [1, 2, 3]), [0, 0, 1, 2, 3, 0, 0])
    np.testing.assert_array_equal(fw.correlate(x, [1, 2, 3]), [0, 0, 3, 2, 1, 0, 0])


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("sizes", [(3, 4), (2, 5)])
def test_origin_shifts_the_window(boundary, sizes):
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(6, 9)), rng.random(size=sizes)
    for origin in [(1, -2), (3, 0), (-5, 7)]:
        for flip, function in ((True, fw.convolve), (False, fw.correlate)):
            np.testing.assert_allclose(
                function(x, kernel, origin=origin, boundary=boundary),
                filtered(x, kernel, flip=flip, origin=origin, boundary=boundary),
                atol=1e-12,
            )


def test_causal_origin_reads_no_sample_after_its_own():
    x = np.array([0.0, 0, 0, 1, 0, 0, 0])
    for kernel in ([1, 2, 3], [1, 2, 3, 4]):
        got = fw.convolve(x, kernel, origin=(len(kernel) - 1) // 2)
        assert not got[:3].any()
        np.testing.assert_array_equal(got, np.convolve(x, kernel)[:7])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_laws(data):
    size = data.draw(st.integers(1, 30))
    numbers = st.floats(-100, 100)
    x, y = (np.array(data.draw(st.lists(numbers, min_size=size, max_size=size))) for _ in range(2))
    k, m = (np.array(data.draw(st.lists(numbers, min_size=1, max_size=6))) for _ in range(2))
    tolerance = 1e-9
    # commutative, associative, linear
    np.testing.assert_allclose(fw.convolve(x, k, mode="full"), fw.convolve(k, x, mode="full"), atol=tolerance)
    one_by_one = fw.convolve(fw.convolve(x, k, mode="full"), m, mode="full")
    at_once = fw.convolve(x, fw.convolve(k, m, mode="full"), mode="full")
    np.testing.assert_allclose(one_by_one, at_once, atol=1e-6)
    np.testing.assert_allclose(fw.convolve(x + y, k), fw.convolve(x, k) + fw.convolve(y, k), atol=tolerance)
    # shift-equivariant, and equal to correlation with the flipped kernel
    np.testing.assert_allclose(
        fw.convolve(np.roll(x, 3), k, boundary="wrap"),
        np.roll(fw.convolve(x, k, boundary="wrap"), 3),
        atol=tolerance,
    )
    np.testing.assert_allclose(
        fw.convolve(x, k, mode="full"), fw.correlate(x, k[::-1], mode="full"), atol=tolerance
    )
    # the unit kernel is the identity, and omit keeps a constant
    np.testing.assert_array_equal(fw.convolve(x, [1.0]), x)
    weights = np.abs(k) + 0.1
    got = fw.convolve(np.full(size, 7.0), weights, boundary="omit")
    np.testing.assert_allclose(got, 7.0 * weights.sum(), rtol=1e-12)


@pytest.mark.parametrize(("given", "expected"), [
    ("bool", "float32"), ("uint8", "float32"), ("int8", "float32"), ("uint16", "float32"), ("int16", "float32"),
    ("float16", "float32"), ("float32", "float32"), ("int32", "float64"), ("uint32", "float64"),
    ("int64", "float64"), ("uint64", "float64"), ("float64", "float64"), ("complex64", "complex64"),
    ("complex128", "complex128"), (">f4", "float32"), (">u2", "float32"), (">i8", "float64"),
])  # fmt: skip
def test_the_signal_decides_the_dtype(given, expected):
    x = np.ones((4, 5), given)
    for kernel in (np.ones((2, 2), np.float64), np.ones((2, 2), np.int64), [[1, 2], [3, 4]]):
        assert fw.convolve(x, kernel).dtype == expected
    wide = np.complex64 if np.dtype(expected).itemsize == 4 or expected == "complex64" else np.complex128
    assert fw.convolve(x, np.ones((2, 2)) * 1j).dtype == wide


def test_integer_results_round_half_to_even_and_saturate():
    x = np.array([0, 1, 2, 3, 200, 255], np.uint8)
    np.testing.assert_array_equal(fw.convolve(x, [0.5], dtype="uint8"), [0, 0, 1, 2, 100, 128])
    np.testing.assert_array_equal(fw.convolve(x, [2], dtype="uint8"), [0, 2, 4, 6, 255, 255])
    np.testing.assert_array_equal(fw.convolve(x, [-1], dtype="int8"), [0, -1, -2, -3, -128, -128])
    np.testing.assert_array_equal(fw.convolve(x, [-1], dtype="uint8"), [0] * 6)
    big = np.array([-1e30, -9.5e18, 9.3e18, 1e30])
    for dtype in ("int64", "uint64", "int32", "uint32"):
        info = np.iinfo(dtype)
        low = max(info.min, -(10**30))
        np.testing.assert_array_equal(
            fw.convolve(big, [1.0], dtype=dtype)[[0, 3]], np.array([low, info.max], dtype)
        )
    assert fw.convolve(np.array([np.inf, -np.inf]), [1.0], dtype="uint8").tolist() == [255, 0]
    with pytest.raises(MissingDataError, match="NaN"):
        fw.convolve(np.array([1.0, np.nan]), [1.0], dtype="int32")


def test_dtype_widens_the_computation():
    x = np.full(50, 1e8, np.float32)
    x[::2] += 8
    narrow = fw.convolve(x, [1, 1e-9, -1], dtype="float64", mode="valid")
    np.testing.assert_allclose(
        narrow, signal.convolve(x.astype(float), [1, 1e-9, -1], mode="valid"), rtol=1e-12
    )
    assert fw.convolve(np.ones(3), [0.5], dtype="float16").dtype == np.float16
    assert fw.convolve(x, [1.0], dtype="complex64").dtype == np.complex64
    with pytest.raises(ArgumentError, match="complex"):
        fw.convolve(x, [1j], dtype="float32")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_nan_reaches_exactly_the_outputs_whose_window_holds_it(method, boundary):
    x = np.random.default_rng(1).normal(size=(15, 17))
    x[6, 9] = np.nan
    for kernel in (np.array([[1.0, 0, 2], [0, 0, 3]]), np.outer([1.0, 0, 2], [1.0, 2, 4, 1])):
        options = {"dilation": (2, 3), "boundary": boundary, "stride": (1, 2)}
        expected = filtered(x, kernel, flip=True, **options)
        try:
            got = fw.convolve(x, kernel, method=method, **options)
        except EngineError:
            continue
        np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
        assert np.isnan(got).sum() < 13


def test_infinities_follow_the_definition_in_every_engine():
    x = np.arange(20.0)
    x[4], x[13] = np.inf, -np.inf
    for kernel in ([1.0, -2, 3], [1.0, 0, 2], np.linspace(-1, 2, 12)):
        expected = filtered(x, kernel, flip=False)
        for method in METHODS:
            got = fw.correlate(x, kernel, method=method)
            np.testing.assert_array_equal(got[~np.isfinite(expected)], expected[~np.isfinite(expected)])
            np.testing.assert_allclose(got[np.isfinite(expected)], expected[np.isfinite(expected)], atol=1e-9)


def test_nan_policies():
    x = np.array([1.0, 2, np.nan, 4, 5])
    np.testing.assert_allclose(
        fw.convolve(x, [1 / 3] * 3, nan_policy="omit", boundary="omit"), [1.5, 1.5, 3, 4.5, 4.5]
    )
    assert np.isnan(fw.convolve([np.nan] * 3, [1, 2], nan_policy="omit")[1])
    with pytest.raises(MissingDataError, match="1 NaN"):
        fw.convolve(x, [1, 2], nan_policy="raise")
    np.testing.assert_array_equal(fw.convolve([1.0, np.inf], [2.0], nan_policy="raise"), [2, np.inf])
    # A partial sum of weights that vanishes leaves nothing to divide by.
    got = fw.correlate([1.0, np.nan, 3.0], [1.0, 5.0, -1.0], nan_policy="omit", mode="valid")
    assert np.isnan(got).all()
    for kernel in ([1, -1], [1j, 2]):
        for options in ({"nan_policy": "omit"}, {"boundary": "omit"}):
            with pytest.raises(ArgumentError):
                fw.convolve(x, kernel, **options)


def test_auto_keeps_small_values_beside_large_ones():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 400)).astype(np.float32)
    x[150, 200] = 1e9
    kernel = rng.normal(size=(61, 61))
    plan = fw.plan(x, kernel)
    assert plan.engine != "fft"
    assert "rules out fft" in plan.reason
    got = fw.convolve(x, kernel)
    exact = signal.fftconvolve(np.where(x == 1e9, 0, x).astype(float), kernel, mode="same")
    far = np.ones(x.shape, bool)
    far[150 - 31 : 150 + 32, 200 - 31 : 200 + 32] = False
    assert np.abs(got - exact)[far].max() <= 1e-5 * np.abs(x[x != 1e9]).max() * np.abs(kernel).sum()


@pytest.mark.parametrize("view", [
    lambda a: a[::2, ::-1], lambda a: a.T, np.asfortranarray, lambda a: a.astype(">f8"), lambda a: a[:, 3:9],
    lambda a: np.broadcast_to(a[:1], a.shape),
])  # fmt: skip
def test_any_memory_layout(view):
    x = view(np.random.default_rng(2).normal(size=(12, 14)))
    x = x if x.flags.writeable else x.copy()
    x.flags.writeable = False
    before = x.copy()
    kernel = np.array([[1.0, 2, 3], [4, 5, 7]])
    for method in ("auto", "opencv", "fft", "plain"):
        got = fw.convolve(x, kernel, method=method)
        np.testing.assert_allclose(got, signal.convolve2d(x.astype(float), kernel, mode="same"), atol=1e-9)
        assert got.dtype.isnative
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 2)])
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_an_empty_signal_has_an_empty_result(shape, mode):
    for dtype, expected in (("uint8", "float32"), ("float64", "float64"), ("complex64", "complex64")):
        got = fw.convolve(np.zeros(shape, dtype), np.ones((3,) * len(shape)), mode=mode)
        assert got.size == 0
        assert got.dtype == expected
    assert fw.convolve(np.zeros(shape), np.ones((3,) * len(shape))).shape == shape


def test_lists_scalars_in_one_sample_and_kernels_longer_than_the_data():
    assert fw.convolve([5], [2]).tolist() == [10]
    for boundary in BOUNDARIES[:-1]:
        x, kernel = np.array([1.0, 2.0, 4.0]), np.arange(1.0, 12.0)
        np.testing.assert_allclose(
            fw.convolve(x, kernel, boundary=boundary), filtered(x, kernel, flip=True, boundary=boundary)
        )


@pytest.mark.parametrize(("arguments", "words"), [
    ({"kernel": []}, "at least one weight"),
    ({"kernel": [1, np.nan]}, "finite"),
    ({"kernel": [1, np.inf]}, "finite"),
    ({"x": 5.0}, "at least one axis"),
    ({"x": ["a", "b"]}, "numeric|integers"),
    ({"x": np.array(["2026-01-01"], "M8[D]")}, "integers"),
    ({"x": np.array([1, None])}, "integers"),
    ({"x": np.ma.masked_array([1.0, 2], [0, 1])}, "masked"),
    ({"x": np.zeros(3, np.longdouble)}, "float16/32/64"),
    ({"x": np.zeros((3, 3))}, "axes"),
    ({"x": np.zeros((3, 3)), "axes": (0, 1)}, "axes"),
    ({"x": np.zeros((3, 3)), "axes": 2}, "between -2 and 1"),
    ({"x": np.zeros((3, 3)), "kernel": np.ones((2, 2)), "axes": (0, 0)}, "distinct"),
    ({"mode": "sam"}, "did you mean 'same'"),
    ({"mode": None}, "one of full, same, valid"),
    ({"mode": "valid"}, "no longer than"),
    ({"boundary": "reflect"}, "d c b"),
    ({"boundary": "mirro"}, "did you mean 'mirror'"),
    ({"boundary": "scipy:reflect"}, "library"),
    ({"boundary": "torch:symm"}, "torch boundary"),
    ({"fill_value": "a"}, "fill_value"),
    ({"fill_value": 1j}, "real"),
    ({"origin": 1, "mode": "full"}, "mode='same'"),
    ({"origin": 0.5}, "integer"),
    ({"stride": 0}, "at least 1"),
    ({"stride": 2.0}, "integer"),
    ({"stride": True}, "integer"),
    ({"stride": (1, 2)}, "one per kernel axis"),
    ({"dilation": -1}, "at least 1"),
    ({"nan_policy": "skip"}, "nan_policy"),
    ({"dtype": "float128"}, "dtype"),
    ({"dtype": "U5"}, "dtype"),
    ({"dtype": "nonsense"}, "dtype"),
    ({"method": "cuda"}, "Accepted: auto"),
    ({"method": 3}, "method"),
    ({"x": np.zeros(3, np.float32), "kernel": [1e300]}, "float64"),
])  # fmt: skip
def test_what_is_refused_and_how(arguments, words):
    call = {"x": np.arange(3.0), "kernel": [1.0, 2, 3, 4], **arguments}
    x, kernel = call.pop("x"), call.pop("kernel")
    with pytest.raises(ValueError, match=words):
        fw.convolve(x, kernel, **call)


def test_an_engine_that_cannot_says_why():
    with pytest.raises(EngineError, match="not a sum of few outer products"):
        fw.convolve(np.zeros((5, 5)), [[1, 2], [3, 5]], method="separable")
    with pytest.raises(EngineError, match="one or two axes"):
        fw.convolve(np.zeros((5, 5, 5)), np.ones((2, 2, 2)), method="opencv")


def test_plan_tells_engine_reason_and_estimates():
    plan = fw.plan(np.zeros((500, 700), np.float32), np.outer([1, 2, 1], [1, 3, 1]))
    assert plan.engine == min(plan.estimates, key=plan.estimates.get)
    assert plan.engine in str(plan)
    assert plan.reason in str(plan)
    assert set(plan.estimates) == set(fw.engines()) - {"numpy"}
    assert fw.plan(np.zeros((50, 70)), [[1, 2], [3, 5]], method="fft").reason == "asked for"
    large = fw.plan(np.zeros((500, 700)), np.random.default_rng(0).normal(size=(99, 99)))
    assert large.engine == "fft"
    with pytest.raises(ArgumentError, match="strde"):
        fw.plan(np.zeros(5), [1, 2], strde=2)


@pytest.mark.parametrize("dilation", [10**30, 10**9])
def test_absurd_windows_are_refused(dilation):
    with pytest.raises(ArgumentError, match="smaller window, `dilation` or `origin`"):
        fw.convolve(np.ones(3), [1.0, 1], dilation=dilation)


@pytest.mark.parametrize("boundary", ["constant", "nearest", "symmetric", "mirror", "wrap"])
def test_an_origin_far_outside_costs_nothing(boundary):
    x = np.arange(30.0)
    far = fw.correlate(x, [1.0, 2, 4], origin=10**8, boundary=boundary, fill_value=3)
    near = fw.correlate(x, [1.0, 2, 4], origin=10**8 % 1740, boundary=boundary, fill_value=3)
    if boundary in ("wrap", "symmetric", "mirror"):  # their periods 30, 60 and 58 divide 1740
        np.testing.assert_allclose(far, near)
    else:
        assert (far == (21 if boundary == "constant" else 0)).all()


def test_left_out_samples_are_accurate_for_complex_data_and_every_engine():
    kernel = fw.kernels.gaussian(4.0, truncate=5.0).copy()
    kernel[0, 0] *= 1.5
    x = np.full((80, 80), np.nan, complex)
    x[:, 60:] = np.random.default_rng(0).standard_normal((80, 20))
    x[5, 5] = 1 + 2j
    expected = fw.correlate(x, kernel, nan_policy="omit", method="plain")
    for data in (x, x.real):
        for method in ("auto", "fft", "opencv"):
            got = fw.correlate(data, kernel, nan_policy="omit", method=method)
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
            want = expected if np.iscomplexobj(data) else expected.real
            seen = ~np.isnan(expected)
            np.testing.assert_allclose(got[seen], want[seen], atol=1e-11)


def test_a_tiny_imaginary_part_is_not_a_spike():
    rng = np.random.default_rng(0)
    x = rng.random(20_000) + 1e-17j * rng.random(20_000)
    assert fw.plan(x, rng.random(4001)).engine == fw.plan(x.real, rng.random(4001)).engine == "fft"


def test_weights_below_float32_take_part():
    x = np.full(3, 1e20, np.float32)
    got = fw.convolve(x, [1e-46])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, 1e-26, rtol=1e-6)
    gaps = np.array([np.nan, 5, np.nan, 7], np.float32)
    np.testing.assert_array_equal(fw.correlate(gaps, [1e-46, 1.0], nan_policy="omit"), [0, 5, 5, 7])


def test_plan_agrees_with_what_runs_and_refuses_what_convolve_refuses():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(300, 300)).astype(np.float32), rng.random((101, 101))
    assert fw.plan(x, kernel, nan_policy="omit").engine == "fft"
    x[3, 3] = np.nan
    assert fw.plan(x, kernel, nan_policy="omit").engine != "fft"
    with pytest.raises(ArgumentError):
        fw.plan(np.ones(9), [1, -1], nan_policy="omit")
    with pytest.raises(MissingDataError):
        fw.plan([np.nan, 1], [1, 1], nan_policy="raise")


@pytest.mark.parametrize(("x", "kernel", "options"), [
    ([[1, 2], [3]], [1], {}),
    ([1.0], [[1, 2], [3]], {}),
    ([1.0], [1], {"fill_value": 10**400}),
    ([1.0], [1], {"fill_value": "1"}),
    ([1.0] * 3, [1e308] * 3, {"mode": "valid"}),
])  # fmt: skip
def test_odd_values_are_argument_errors(x, kernel, options):
    with pytest.raises(ArgumentError):
        fw.convolve(x, kernel, **options)


def test_numbers_that_leave_the_dtype_become_infinite_without_a_warning():
    assert fw.convolve(np.ones(3, np.float32), [1.0, 1], fill_value=1e300)[0] == np.inf
    assert np.isinf(fw.convolve(np.ones(3) * 1e10, [1.0], dtype="float16")).all()
    assert fw.convolve(np.ones(5), [1, 2], stride=np.array(2), axes=np.array(0)).shape == (3,)
