import itertools

import cv2
import numpy as np
import pytest
import skimage.data
import skimage.feature
import skimage.filters
from scipy import ndimage

import filterworks as fw
from filterworks.engine import stencil, written
from filterworks.errors import ArgumentError, MissingDataError

MODES = {
    "symmetric": "reflect",
    "mirror": "mirror",
    "nearest": "nearest",
    "wrap": "wrap",
    "constant": "constant",
}


@pytest.fixture(scope="module")
def photo():
    return skimage.data.camera()[100:260, 150:330]


@pytest.mark.parametrize("boundary", [*MODES, "omit"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("wanted", [None, "same", "float32", "float64", "int16"])
def test_edges_of_small_integers_in_one_pass_have_the_same_bits(photo, boundary, dtype, wanted, monkeypatch):
    monkeypatch.setattr(written, "_REPAYS", 1)
    written.Written.tallies.clear()
    stencil.prepare.cache_clear()
    x = np.stack([photo, photo[::-1], photo.T[:160, :160].repeat(2, 1)[:, :180]], -1).astype(dtype) * 201
    options = {"boundary": boundary, "axes": (1, 0), "dtype": dtype if wanted == "same" else wanted}
    one_pass = boundary != "omit" and wanted in (None, "same", "float32")
    for function in (fw.filters.sobel, fw.filters.prewitt, fw.filters.scharr, fw.filters.roberts):
        if boundary == "omit":
            with pytest.raises(ArgumentError, match="omit"):
                function(x, **options)
            continue
        made = []
        for prepare in (stencil.prepare, lambda *_: None):
            with monkeypatch.context() as patch:
                patch.setattr(stencil, "prepare", prepare)
                made.append(function(x, **options))
        assert made[0].dtype == made[1].dtype == np.dtype(options["dtype"] or "float32")
        assert made[0].tobytes() == made[1].tobytes()
    ready = [key for key, tally in written.Written.tallies.items() if key[0] == "stencil" and tally.is_ready]
    assert bool(ready) == one_pass


@pytest.mark.parametrize(("ours", "theirs"), MODES.items())
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_linear_filters_equal_ndimage(photo, ours, theirs, dtype):
    x = photo.astype(dtype)
    exact = photo.astype(float)
    pairs = [
        (fw.filters.gaussian(x, 1.7, boundary=ours), ndimage.gaussian_filter(exact, 1.7, mode=theirs)),
        (
            fw.filters.gaussian(x, (0.8, 3), boundary=ours),
            ndimage.gaussian_filter(exact, (0.8, 3), mode=theirs),
        ),
        (fw.filters.mean(x, (4, 7), boundary=ours), ndimage.uniform_filter(exact, (4, 7), mode=theirs)),
        (fw.filters.laplace(x, boundary=ours), ndimage.laplace(exact, mode=theirs)),
        (fw.filters.log(x, 1.4, boundary=ours), ndimage.gaussian_laplace(exact, 1.4, mode=theirs)),
        (fw.filters.sobel(x, axis=0, boundary=ours), ndimage.sobel(exact, 0, mode=theirs)),
        (fw.filters.prewitt(x, axis=-1, boundary=ours), ndimage.prewitt(exact, -1, mode=theirs)),
        (
            fw.filters.sobel(x, boundary=ours),
            ndimage.generic_gradient_magnitude(exact, ndimage.sobel, mode=theirs),
        ),
        (
            fw.filters.gaussian(x, 1.2, order=(1, 0), boundary=ours),
            ndimage.gaussian_filter(exact, 1.2, (1, 0), mode=theirs),
        ),
    ]
    for got, expected in pairs:
        rounded = 0.5 if got.dtype.kind in "iu" else 0
        precise = 1e-12 if got.dtype in (np.float64, np.int32) else 1e-5
        assert np.abs(got - expected).max() <= rounded + precise * 255 * 16


@pytest.mark.parametrize("name", fw.filters.__all__)
def test_integers_stay_unless_the_result_is_signed(name, photo):
    needed = {"gaussian": {"sigma": 1}, "bilateral": {"sigma_color": 20}, "log": {"sigma": 1}, "dog": {"low_sigma": 1},
              "gabor": {"wavelength": 6}, "kernel": {"weights": [[1, 2], [3, 4]]}}  # fmt: skip
    signed = {"sobel", "prewitt", "scharr", "roberts", "central_difference", "laplace", "log", "dog", "gabor"}
    function = getattr(fw.filters, name)
    small = photo[:24, :30]
    for dtype in ("uint8", "int16", "uint16", "int32"):
        got = function(small.astype(dtype), **needed.get(name, {}))
        assert got.shape == small.shape
        if name == "canny":
            assert got.dtype == bool
        elif name in signed:
            assert got.dtype == (np.float64 if dtype == "int32" else np.float32)
            assert function(small.astype(dtype), **needed.get(name, {}), dtype="int16").dtype == np.int16
        else:
            assert got.dtype == dtype
            assert function(small.astype(dtype), **needed.get(name, {}), dtype="float64").dtype == np.float64
    for dtype in ("float32", "float64"):
        if name != "canny":
            assert function(small.astype(dtype), **needed.get(name, {})).dtype == dtype


@pytest.mark.parametrize("name", fw.filters.__all__)
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (0, 2)])
def test_other_axes_are_filtered_each_by_itself(name, axes):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (12, 13, 14)).astype(np.uint8)
    needed = {"gaussian": {"sigma": 0.7}, "bilateral": {"sigma_color": 20}, "log": {"sigma": 0.7},
              "dog": {"low_sigma": 0.5}, "gabor": {"wavelength": 3}, "kernel": {"weights": [[1, 2], [3, 4]]}}  # fmt: skip
    function = getattr(fw.filters, name)
    got = function(x, axes=axes, **needed.get(name, {}))
    other = ({0, 1, 2} - set(axes)).pop()
    for index in (0, 5, 11):
        alone = function(np.take(x, index, other), **needed.get(name, {}))
        np.testing.assert_allclose(
            np.take(got, index, other).astype(float),
            alone.astype(float),
            atol=2e-3 if alone.dtype.kind == "f" else 1,
        )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("size", [3, 5, 7, (1, 9), (3, 7)])
def test_median_equals_ndimage(photo, dtype, size):
    x = photo.astype(dtype) - (100 if dtype == "int16" else 0)
    for ours, theirs in MODES.items():
        got = fw.filters.median(x, size, boundary=ours)
        np.testing.assert_array_equal(got, ndimage.median_filter(x, size, mode=theirs))
        assert got.dtype == x.dtype


def test_median_of_series_volumes_and_colour():
    rng = np.random.default_rng(0)
    for shape, size in (((40,), 5), ((9, 10, 11), 3)):
        x = rng.normal(size=shape)
        np.testing.assert_array_equal(
            fw.filters.median(x, size), ndimage.median_filter(x, size, mode="reflect")
        )
    colour = skimage.data.astronaut()[:50, :60]
    got = fw.filters.median(colour, 5, axes=(0, 1))
    np.testing.assert_array_equal(got, ndimage.median_filter(colour, (5, 5, 1), mode="reflect"))


def test_median_of_data_with_gaps():
    x = np.array([1.0, np.nan, 3, 8, 4])
    np.testing.assert_array_equal(fw.filters.median(x, 3), [np.nan, np.nan, np.nan, 4, 4])
    np.testing.assert_array_equal(fw.filters.median(x, 3, nan_policy="omit"), [1, 2, 5.5, 4, 4])
    np.testing.assert_array_equal(
        fw.filters.median(x, 3, nan_policy="omit", boundary="omit"), [1, 2, 5.5, 4, 6]
    )
    assert np.isnan(fw.filters.median([np.nan] * 3, 3, nan_policy="omit")).all()
    with pytest.raises(MissingDataError):
        fw.filters.median(x, 3, nan_policy="raise")
    ints = np.array([1, 9, 5], np.uint8)
    np.testing.assert_array_equal(fw.filters.median(ints, 3, boundary="omit", dtype=float), [5, 5, 7])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_bilateral_equals_its_definition(photo, dtype):
    x = photo[:30, :40].astype(dtype)
    got = fw.filters.bilateral(x, 25.0, 1.5, dtype="float64")
    padded = np.pad(x.astype(float), 3, mode="symmetric")
    expected = np.empty(x.shape)
    t = np.arange(-3, 4)
    distance = t[:, None] ** 2 + t**2
    for i, j in itertools.product(*map(range, x.shape)):
        window = padded[i : i + 7, j : j + 7]
        w = np.exp(-distance / (2 * 1.5**2) - (window - window[3, 3]) ** 2 / (2 * 25.0**2)) * (distance <= 9)
        expected[i, j] = (w * window).sum() / w.sum()
    assert np.abs(got - expected).max() <= (2e-3 if dtype == "uint8" else 1e-9)
    theirs = cv2.bilateralFilter(
        np.ascontiguousarray(x, np.float32), 7, 25.0, 1.5, borderType=cv2.BORDER_REFLECT
    )
    assert np.abs(got - theirs).max() < 0.01


def test_bilateral_keeps_edges_and_leaves_gaps_out():
    x = np.repeat([[10.0, 200.0]], 8, axis=0).repeat(8, axis=1)
    np.testing.assert_allclose(fw.filters.bilateral(x, 5), x, atol=1e-6)
    x[3, 3] = np.nan
    assert np.isnan(fw.filters.bilateral(x, 5)).sum() > 20
    whole = fw.filters.bilateral(x, 5, nan_policy="omit")
    assert np.isnan(whole).sum() == 1  # the missing sample itself has no value to compare with


def test_canny_equals_skimage_in_the_main(photo):
    ours = fw.filters.canny(photo.astype(float), 2.0, 40, 90)
    theirs = skimage.feature.canny(photo.astype(float), 2.0, 40, 90, mode="reflect")
    inner = (slice(4, -4),) * 2
    assert (ours == theirs)[inner].mean() > 0.985
    assert 0.02 < ours.mean() < 0.2


def test_canny_is_one_sample_wide_and_joins_weak_to_strong():
    x = np.zeros((30, 40))
    x[:, 20:] = np.linspace(3, 30, 30)[:, None]
    edges = fw.filters.canny(x, 1.0, low=5, high=60)
    assert edges[3:, 18:22].any(axis=1).all()
    assert edges.sum(axis=1).max() <= 2
    assert not fw.filters.canny(x[:15], 1.0, low=5, high=60).any()
    assert not fw.filters.canny(np.full((9, 9), 7)).any()


def test_dog_and_unsharp_equal_skimage(photo):
    x = photo / 255
    np.testing.assert_allclose(
        fw.filters.dog(x, 1.0, 2.5, boundary="nearest"),
        skimage.filters.difference_of_gaussians(x, 1.0, 2.5), atol=1e-12,
    )  # fmt: skip
    ours = fw.filters.unsharp_mask(x, 2.0, 1.5)
    theirs = skimage.filters.unsharp_mask(x, 2.0, 1.5, preserve_range=True)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)
    noisy = fw.filters.unsharp_mask(photo, 1.0, 2.0, threshold=1000)
    np.testing.assert_array_equal(noisy, photo)
    np.testing.assert_array_equal(fw.filters.unsharp_mask(photo, 1.0, 0), photo)


def test_kernel_from_numbers_and_files(tmp_path, photo):
    taps = np.array([[1.0, 2, 0.5], [0, -1, 3]])
    np.save(tmp_path / "k.npy", taps)
    (tmp_path / "k.txt").write_text("1 2 0.5\n0 -1 3\n")
    (tmp_path / "k.csv").write_text("1,2,0.5\n\n0,-1,3\n")
    x = photo.astype(float)
    expected = ndimage.correlate(x, taps)
    for name in ("k.npy", "k.txt", "k.csv"):
        np.testing.assert_allclose(fw.filters.kernel(x, path=tmp_path / name), expected, atol=1e-9)
    np.testing.assert_allclose(fw.filters.kernel(x, taps.tolist()), expected, atol=1e-9)
    flipped = fw.filters.kernel(x, taps, flip=True, boundary="wrap")
    np.testing.assert_allclose(flipped, fw.convolve(x, taps, boundary="wrap"), atol=1e-9)
    assert fw.filters.kernel(photo, [[1, -1]]).dtype == np.float32
    assert fw.filters.kernel(photo, [[0.5, 0.5]]).dtype == np.uint8
    (tmp_path / "bad.txt").write_text("1 2\n3\n")
    (tmp_path / "object.npy").write_bytes(b"\x93NUMPY nothing")
    for place in ("bad.txt", "object.npy", "missing.npy"):
        with pytest.raises(ArgumentError, match=place):
            fw.filters.kernel(x, path=tmp_path / place)


def test_complex_data_where_they_make_sense():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 21)) + 1j * rng.normal(size=(20, 21))
    got = fw.filters.gaussian(x, 1.5)
    np.testing.assert_allclose(got.real, ndimage.gaussian_filter(x.real, 1.5), atol=1e-12)
    np.testing.assert_allclose(got.imag, ndimage.gaussian_filter(x.imag, 1.5), atol=1e-12)
    for function in (fw.filters.sobel, fw.filters.median, fw.filters.canny):
        with pytest.raises(ArgumentError):
            function(x)


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: fw.filters.median(x, 4), "odd"),
    (lambda x: fw.filters.median(x, (3, 3, 3)), "one per axis"),
    (lambda x: fw.filters.mean(x, (3, 3, 3)), "one per axis"),
    (lambda x: fw.filters.sobel(x, axis=3), "between"),
    (lambda x: fw.filters.sobel(x, axes=0, axis=1), "among the filtered axes"),
    (lambda x: fw.filters.canny(x, low=3), "both"),
    (lambda x: fw.filters.canny(x, low=3, high=1), "at least 3"),
    (lambda x: fw.filters.canny(x, dtype="uint8"), "booleans"),
    (lambda x: fw.filters.bilateral(x, 0), "above 0"),
    (lambda x: fw.filters.bilateral(x[0], 5), "two axes"),
    (lambda x: fw.filters.disk(x[0], 2), "axes"),
    (lambda x: fw.filters.kernel(x), "either"),
    (lambda x: fw.filters.kernel(x, [[1], [1, 2]]), "rows of numbers"),
    (lambda x: fw.filters.kernel(x, "abc"), "rows of numbers"),
    (lambda x: fw.filters.gaussian(x, 1, order=(1, 2, 3)), "one per axis"),
    (lambda x: fw.filters.unsharp_mask(x, 1, -1), "amount"),
])  # fmt: skip
def test_what_is_refused(call, words):
    with pytest.raises(ArgumentError, match=words):
        call(np.zeros((6, 7)))


@pytest.mark.parametrize("name", fw.filters.__all__)
def test_empty_and_tiny_arrays(name):
    needed = {"gaussian": {"sigma": 1}, "bilateral": {"sigma_color": 20}, "log": {"sigma": 1}, "dog": {"low_sigma": 1},
              "gabor": {"wavelength": 6}, "kernel": {"weights": [[1, 2], [3, 4]]}}  # fmt: skip
    function = getattr(fw.filters, name)
    assert function(np.zeros((0, 4), np.uint8), **needed.get(name, {})).shape == (0, 4)
    for shape in ((1, 1), (1, 6), (2, 1)):
        assert function(np.ones(shape, np.uint8), **needed.get(name, {})).shape == shape


@pytest.mark.parametrize(
    ("dtype", "height"), [("float32", 1e20), ("float32", 1e-25), ("float64", 1e200), ("float64", 1e-200)]
)
def test_magnitudes_of_very_large_and_very_small_data(dtype, height):
    step = np.repeat([[0, 0, height, height]], 3, axis=0).astype(dtype)
    np.testing.assert_allclose(fw.filters.sobel(step)[1], [0, 4 * height, 4 * height, 0], rtol=1e-6)
    np.testing.assert_allclose(fw.filters.roberts(step)[1, 2], height * np.sqrt(2), rtol=1e-6)


def test_canny_trusts_explicit_thresholds_on_an_offset():
    x = np.zeros((20, 20))
    x[:, 10:] += 1
    np.testing.assert_array_equal(
        fw.filters.canny(x + 1e6, 1, low=0.5, high=1), fw.filters.canny(x, 1, low=0.5, high=1)
    )


def test_canny_in_bands_equals_canny_at_once(photo, monkeypatch):
    from filterworks import bands

    for boundary in ("symmetric", "wrap", "constant"):
        for limits in ({}, {"low": 40, "high": 90}):
            monkeypatch.setattr(bands, "BAND", 1 << 30)
            whole = fw.filters.canny(photo, 1.2, boundary=boundary, **limits)
            monkeypatch.setattr(bands, "BAND", 2000)
            np.testing.assert_array_equal(fw.filters.canny(photo, 1.2, boundary=boundary, **limits), whole)


def test_ranks_outside_of_the_data_may_be_nan():
    x = np.eye(4)
    got = fw.filters.median(x, 3, boundary="constant", fill_value=np.nan)
    assert np.isnan(got[0]).all()
    assert np.isfinite(got[1:3, 1:3]).all()
    inside = fw.filters.median(x, 3, boundary="constant", fill_value=np.nan, nan_policy="omit")
    np.testing.assert_array_equal(inside, fw.filters.median(x, 3, boundary="omit"))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("boundary", ["symmetric", "nearest", "wrap"])
def test_medians_of_any_number_of_channels(channels, boundary):
    x = np.random.default_rng(1).integers(0, 256, (21, 20, channels)).astype(np.uint8)
    for size in (3, 5, 7, 9):
        wanted = ndimage.median_filter(x, size=(size, size, 1), mode=MODES[boundary])
        assert np.array_equal(fw.filters.median(x, size, axes=(0, 1), boundary=boundary), wanted)


def test_medians_of_an_even_number_are_rounded_once():
    half = np.array([0.6235, 0.625, np.nan, 1], np.float16)
    found = fw.filters.median(half, nan_policy="omit")
    assert found.dtype == np.float32
    assert found[1] == (np.float32(half[0]) + np.float32(half[1])) / 2
    small = np.array([1e-45, 1e-45, 1e-45, np.nan, 0, 0], np.float32)
    assert np.array_equal(fw.filters.median(small)[:2], small[:2])
