import cv2
import numpy as np
import pytest
from scipy import ndimage, stats
from skimage.filters import edges
from skimage.morphology import disk

from filterworks import kernels
from filterworks.errors import ArgumentError


def test_all_are_float64_and_named():
    for name in kernels.names():
        kernel = getattr(kernels, name)()
        assert kernel.dtype == np.float64
        assert kernel.ndim == 2


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.3, (0.7, 1.9)])
@pytest.mark.parametrize("truncate", [2.0, 4.0])
@pytest.mark.parametrize("order", [0, 1, 2, 3, (1, 0), (0, 2)])
def test_gaussian_is_ndimages(sigma, truncate, order):
    impulse = np.zeros((31, 33))
    impulse[15, 16] = 1
    expected = ndimage.gaussian_filter(impulse, sigma, order, truncate=truncate, mode="constant")
    got = ndimage.correlate(impulse, kernels.gaussian(sigma, 2, truncate, order), mode="constant")
    np.testing.assert_allclose(got, expected, atol=1e-15)


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_smoothing_kernels_sum_to_one_in_any_dimension(ndim):
    for kernel in (kernels.gaussian(1.3, ndim), kernels.mean(4, ndim), kernels.binomial(5, ndim)):
        assert kernel.ndim == ndim
        assert kernel.sum() == pytest.approx(1, abs=1e-14)
    for kernel in (kernels.log(1.1, ndim), kernels.dog(1.2, None, ndim), kernels.laplacian(None, ndim)):
        assert abs(kernel.sum()) < 1e-2


@pytest.mark.parametrize("size", [1, 2, 63, 67, 1000, 1500])
def test_binomials_of_any_length(size):
    kernel = kernels.binomial(size, ndim=1)
    assert kernel.dtype == np.float64
    np.testing.assert_allclose(
        kernel, stats.binom.pmf(np.arange(size), size - 1, 0.5), rtol=1e-9, atol=1e-300
    )


def test_derivatives_have_the_libraries_scale_and_sign():
    ramp = np.tile(np.arange(9.0), (9, 1))
    for axis in (0, 1):
        x = ramp if axis == 1 else ramp.T
        np.testing.assert_array_equal(ndimage.correlate(x, kernels.sobel(axis)), ndimage.sobel(x, axis))
        np.testing.assert_array_equal(ndimage.correlate(x, kernels.prewitt(axis)), ndimage.prewitt(x, axis))
        expected = cv2.Scharr(x, cv2.CV_64F, int(axis == 1), int(axis == 0), borderType=cv2.BORDER_REFLECT)
        np.testing.assert_array_equal(ndimage.correlate(x, kernels.scharr(axis)), expected)
        inner = (slice(1, -1),) * 2
        slope = ndimage.correlate(x, kernels.central_difference(axis))
        np.testing.assert_array_equal(slope[inner], np.gradient(x, axis=axis)[inner])
    np.testing.assert_array_equal(kernels.laplacian(), ndimage.laplace(kernels.identity(3), mode="constant"))
    np.testing.assert_array_equal(kernels.roberts("main"), edges.ROBERTS_PD_WEIGHTS)
    np.testing.assert_array_equal(kernels.roberts("anti"), edges.ROBERTS_ND_WEIGHTS)


def test_log_disk_and_gabor_equal_their_sources():
    impulse = kernels.identity(41)
    np.testing.assert_allclose(
        ndimage.correlate(impulse, kernels.log(2.0)), ndimage.gaussian_laplace(impulse, 2.0), atol=1e-15
    )
    for radius in (1, 2, 5):
        flat = disk(radius).astype(float)
        np.testing.assert_allclose(kernels.disk(radius), flat / flat.sum(), atol=1e-16)
    ours = kernels.gabor(8, angle=30, sigma=3, gamma=0.5, phase=20)
    theirs = cv2.getGaborKernel(ours.shape[::-1], 3, np.radians(-30), 8, 0.5, np.radians(20), cv2.CV_64F)
    np.testing.assert_allclose(ours, theirs[::-1, ::-1], atol=1e-14)


def test_motion_is_a_line_of_the_given_length_and_direction():
    np.testing.assert_allclose(kernels.motion(5), np.full((1, 5), 0.2))
    np.testing.assert_allclose(kernels.motion(5, 90), np.full((5, 1), 0.2))
    rising = kernels.motion(9, 30)
    assert rising.sum() == pytest.approx(1)
    rows, columns = np.indices(rising.shape) - np.array(rising.shape).reshape(2, 1, 1) // 2
    spread = (rising * columns**2).sum(), (rising * rows**2).sum(), -(rising * rows * columns).sum()
    assert np.degrees(0.5 * np.arctan2(2 * spread[2], spread[0] - spread[1])) == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize(("call", "words"), [
    (lambda: kernels.gaussian(-1), "at least 0"),
    (lambda: kernels.gaussian((1, 2, 3)), "one per axis"),
    (lambda: kernels.gaussian("a"), "finite number"),
    (lambda: kernels.gaussian(0, order=1), "for a derivative"),
    (lambda: kernels.gaussian(1, order=-1), "at least 0"),
    (lambda: kernels.gaussian(float("nan")), "finite"),
    (lambda: kernels.gaussian(1, truncate=0), "above 0"),
    (lambda: kernels.mean(0), "at least 1"),
    (lambda: kernels.mean(2.5), "integer"),
    (lambda: kernels.sobel(2), "between -2 and 1"),
    (lambda: kernels.roberts("left"), "main, anti"),
    (lambda: kernels.laplacian(6), "4 or 8"),
    (lambda: kernels.dog(2, 1), "above low_sigma"),
    (lambda: kernels.motion(0), "at least 1"),
    (lambda: kernels.gabor(0), "above 0"),
    (lambda: kernels.sharpen(-1), "at least 0"),
])  # fmt: skip
def test_what_is_refused(call, words):
    with pytest.raises(ArgumentError, match=words):
        call()
