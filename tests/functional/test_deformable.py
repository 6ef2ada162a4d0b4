"""Deformable convolution against its loops."""

import numpy as np
import pytest

from filterworks import functional
from filterworks.functional import deformable
from tests.functional import loops


@pytest.mark.parametrize(
    ("groups", "moved", "stride", "padding", "dilation", "masked"),
    [
        (1, 1, (1, 1), (0, 0), (1, 1), False),
        (2, 1, (2, 1), (1, 2), (1, 2), True),
        (1, 2, (1, 2), (2, 1), (2, 1), True),
        (2, 4, (1, 1), (1, 1), (1, 1), False),
        (4, 2, (1, 1), (3, 0), (1, 1), True),
    ],
)
def test_equals_the_loops(groups, moved, stride, padding, dilation, masked):
    rng = np.random.default_rng(groups + moved)
    x, weight, bias = (
        rng.standard_normal((2, 4, 6, 7)),
        rng.standard_normal((4, 4 // groups, 3, 2)),
        rng.standard_normal(4),
    )
    out = functional.conv2d(x, weight, None, stride, padding, dilation, groups).shape[2:]
    offset = rng.uniform(-4, 4, (2, 2 * moved * 6, *out))
    offset.flat[::7] = np.round(offset.flat[::7])
    mask = rng.uniform(size=(2, moved * 6, *out)) if masked else None
    y = functional.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)
    expected = loops.deformable(x, offset, weight, bias, stride, padding, dilation, mask)
    np.testing.assert_allclose(y, expected, atol=1e-12)


def test_zero_offset_is_the_plain_layer():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((3, 4, 9, 8)).astype("f4"), rng.standard_normal((6, 2, 3, 2)).astype("f4")
    y = functional.conv2d(x, weight, stride=2, padding=(1, 2), groups=2)
    offset = np.zeros((3, 12, *y.shape[2:]))
    moved = functional.deform_conv2d(x, offset, weight, stride=2, padding=(1, 2))
    assert moved.dtype == np.float32
    np.testing.assert_allclose(moved, y, atol=1e-5)
    np.testing.assert_allclose(
        functional.deform_conv2d(x[0], offset[0], weight, stride=2, padding=(1, 2)), y[0], atol=1e-5
    )


def test_whole_offsets_shift():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((1, 2, 9, 8)), rng.standard_normal((3, 2, 3, 2))
    offset = np.zeros((1, 12, 9, 8))
    offset[:, 0::2], offset[:, 1::2] = 2, -1
    y = functional.deform_conv2d(x, offset, weight, padding=[(1, 1), (0, 1)])
    shifted = np.zeros_like(x)
    shifted[:, :, :7, 1:] = x[:, :, 2:, :-1]
    expected = functional.conv2d(shifted, weight, padding=[(1, 1), (0, 1)])
    # At the upper and right edge the shifted image's padding hides samples that the offsets still find.
    np.testing.assert_allclose(y[:, :, 1:, :-1], expected[:, :, 1:, :-1], atol=1e-12)


def test_small_tiles_and_integer_images(monkeypatch):
    rng = np.random.default_rng(2)
    x, weight = rng.integers(0, 255, (2, 4, 12, 13), dtype="u1"), rng.standard_normal((4, 4, 3, 3))
    offset = rng.uniform(-2, 2, (2, 18, 10, 11))
    whole = functional.deform_conv2d(x, offset, weight)
    assert whole.dtype == np.float32
    monkeypatch.setattr(deformable, "LARGE_TILE_BYTES", 1 << 12)
    np.testing.assert_allclose(functional.deform_conv2d(x, offset, weight), whole, rtol=1e-4, atol=1e-2)


def test_nan_stays_where_it_is_read():
    x = np.ones((1, 1, 5, 5))
    x[0, 0, 0, 4] = np.nan
    offset = np.zeros((1, 2, 5, 5))
    offset[0, 0] = -1.0
    y = functional.deform_conv2d(x, offset, np.full((1, 1, 1, 1), 3.0))
    np.testing.assert_array_equal(np.argwhere(np.isnan(y[0, 0])), [[1, 4]])
    np.testing.assert_array_equal(y[0, 0, 0], np.zeros(5))
    offset[0, 0] = 0
    offset[0, 1, 2, 2] = np.nan
    y = functional.deform_conv2d(np.ones((1, 1, 5, 5)), offset, np.full((1, 1, 1, 1), 3.0))
    np.testing.assert_array_equal(np.argwhere(np.isnan(y[0, 0])), [[2, 2]])


def test_far_offsets_read_zero():
    offset = np.full((1, 2, 3, 3), 1e30)
    offset[0, 1] = np.inf
    np.testing.assert_array_equal(
        functional.deform_conv2d(np.ones((1, 1, 3, 3)), offset, np.ones((1, 1, 1, 1))), 0
    )


@pytest.mark.parametrize(
    ("offset", "mask", "message"),
    [
        (
            (1, 17, 3, 3),
            None,
            r"`offset` must be \(1, '2·G·9', 3, 3\) with G dividing the 4 channels; got \(1, 17, 3, 3\)",
        ),
        ((1, 54, 3, 3), None, r"got \(1, 54, 3, 3\). The output would be \(1, 2, 3, 3\)"),
        ((1, 18, 4, 3), None, r"got \(1, 18, 4, 3\)"),
        ((18, 3, 3), None, r"got \(18, 3, 3\)"),
        (
            (1, 36, 3, 3),
            (1, 9, 3, 3),
            r"`mask` must be \(1, 18, 3, 3\), one factor per tap; got \(1, 9, 3, 3\)",
        ),
    ],
)
def test_refused_shapes(offset, mask, message):
    with pytest.raises(ValueError, match=message):
        functional.deform_conv2d(
            np.ones((1, 4, 5, 5)),
            np.zeros(offset),
            np.ones((2, 4, 3, 3)),
            mask=None if mask is None else np.ones(mask),
        )
