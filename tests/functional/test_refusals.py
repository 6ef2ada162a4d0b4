"""What torch refuses is refused, with the numbers; what it allows at the edge is allowed."""

import numpy as np
import pytest

from filterworks import functional
from filterworks.errors import ArgumentError


def ones(*shape):
    return np.ones(shape)


REFUSED = [
    (
        functional.conv1d,
        (ones(2, 2, 5), ones(2, 2, 8)),
        {"padding": 1},
        r"conv1d: the kernel does not fit: 8 taps with dilation 1 span 8 samples, the padded input "
        r"has 5 \+ 1 \+ 1 = 7; "
        r"the output size would be ⌊\(7 − 8\)/1⌋ \+ 1 = 0; got `input` \(2, 2, 5\) and `weight` \(2, 2, 8\)",
    ),
    (
        functional.conv2d,
        (ones(1, 2, 9, 4), ones(2, 2, 3, 3)),
        {"dilation": 2},
        r"3 taps with dilation 2 span 5 samples",
    ),
    (
        functional.conv2d,
        (ones(1, 3, 8, 8), ones(4, 2, 3, 3)),
        {},
        r"conv2d: `input` must have groups · weight.shape\[1\] = 2 channels, not 3; got `input` \(1, "
        r"3, 8, 8\) and "
        r"`weight` \(4, 2, 3, 3\), groups=1, .* With 2 channels the output would be \(1, 4, 6, 6\)",
    ),
    (
        functional.conv1d,
        (ones(2, 5, 5), ones(4, 2, 3)),
        {"groups": 2},
        r"= 4 channels, not 5; .* would be \(2, 4, 3\)",
    ),
    (
        functional.conv1d,
        (ones(2, 4, 5), ones(3, 2, 3)),
        {"groups": 2},
        r"`weight` must have a multiple of groups=2 at axis 0; .*output would be \(3,\)",
    ),
    (
        functional.conv1d,
        (ones(2, 2, 5), ones(2, 2, 3), ones(3)),
        {},
        r"`bias` must have shape \(2,\), one number per output channel; got \(3,\). The output would "
        r"be \(2, 2, 3\)",
    ),
    (functional.conv1d, (ones(2, 2, 5), ones(2, 2, 3), ones(2, 1)), {}, r"got \(2, 1\)"),
    (
        functional.conv2d,
        (ones(2, 5), ones(2, 2, 8, 8)),
        {},
        r"`input` must be \(N, C_in, H, W\) or \(C_in, H, W\); got `input` \(2, 5\)",
    ),
    (
        functional.conv2d,
        (ones(1, 2, 5, 5), ones(2, 2, 3)),
        {},
        r"`weight` must be \(C_out, C_in/groups, kH, kW\)",
    ),
    (functional.conv1d, (ones(2, 2, 5), ones(2, 2, 0)), {}, r"with a non-empty kernel; .*\(2, 2, 0\)"),
    (functional.conv1d, (ones(2, 2, 5), ones(0, 2, 3)), {}, r"at least one output channel"),
    (
        functional.conv1d,
        (ones(1, 1, 0), ones(1, 1, 1)),
        {"padding": 1},
        r"only the batch or the channels may be empty",
    ),
    (functional.conv1d, (ones(1, 1, 0), ones(1, 1, 1)), {}, r"the output size would be"),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"padding": "same", "stride": 2},
        r"needs stride 1; got stride \(2,\)",
    ),
    (functional.conv1d, (ones(1, 1, 5), ones(1, 1, 3)), {"padding": "sane"}, r"did you mean 'same'"),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"padding": -1},
        r"`padding` must be an integer of at least 0; got -1",
    ),
    (functional.conv1d, (ones(1, 1, 5), ones(1, 1, 3)), {"padding": [(1, -2)]}, r"got -2"),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"padding": [(1, 2, 3)]},
        r"one \(low, high\) pair per axis",
    ),
    (functional.conv1d, (ones(1, 1, 5), ones(1, 1, 3)), {"padding": (1, 2)}, r"for 1 axes; got \(1, 2\)"),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"stride": 0},
        r"`stride` must be an integer of at least 1; got 0",
    ),
    (functional.conv1d, (ones(1, 1, 5), ones(1, 1, 3)), {"stride": 1.0}, r"`stride` must be an integer"),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"dilation": 0},
        r"`dilation` must be an integer of at least 1; got 0",
    ),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"groups": 0},
        r"`groups` must be an integer of at least 1; got 0",
    ),
    (
        functional.conv2d,
        (ones(1, 1, 5, 5), ones(1, 1, 3, 3)),
        {"stride": (1, 2, 1)},
        r"an integer or 2 of them",
    ),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"padding_mode": "reflex"},
        r"did you mean 'reflect'",
    ),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"padding_mode": "reflect", "padding": 5},
        r"must not pad more than 4 samples on a side of an axis of 5; got \(5, 5\). The output would "
        r"be \(1, 1, 13\)",
    ),
    (
        functional.conv1d,
        (ones(1, 1, 5), ones(1, 1, 3)),
        {"padding_mode": "circular", "padding": 6},
        r"more than 5 samples",
    ),
    (
        functional.conv_transpose1d,
        (ones(1, 2, 5), ones(2, 2, 3)),
        {"stride": 2, "output_padding": 2},
        r"`output_padding` must be smaller than the stride or the dilation; got 2 with stride 2 and "
        r"dilation 1",
    ),
    (
        functional.conv_transpose1d,
        (ones(1, 2, 5), ones(2, 2, 3)),
        {"output_padding": -1},
        r"at least 0; got -1",
    ),
    (
        functional.conv_transpose1d,
        (ones(1, 2, 2), ones(2, 2, 1)),
        {"padding": 1},
        r"the output size would be 1·\(2 − 1\) \+ 1 − 1 − 1 \+ 0 = 0; it must be at least 1",
    ),
    (
        functional.conv_transpose1d,
        (ones(1, 3, 3), ones(3, 3, 3)),
        {"groups": 2},
        r"multiple of groups=2 at axis 0",
    ),
    (
        functional.conv_transpose1d,
        (ones(1, 2, 3), ones(3, 3, 3)),
        {},
        r"must have weight.shape\[0\] = 3 channels, not 2; .* would be \(1, 3, 5\)",
    ),
    (functional.conv_transpose1d, (ones(1, 4, 3), ones(4, 3, 3), ones(3)), {"groups": 2}, r"shape \(6,\)"),
    (
        functional.conv_transpose1d,
        (ones(1, 2, 3), ones(2, 3, 3)),
        {"padding": "same"},
        r"only a direct convolution",
    ),
    (
        functional.conv_transpose1d,
        (ones(1, 2, 0), ones(2, 2, 3)),
        {},
        r"only the batch or the channels may be empty",
    ),
    (
        functional.conv2d_input,
        ((1, 3, 8, 8), ones(4, 3, 3, 3), ones(1, 4, 5, 6)),
        {},
        r"`grad_output` must have the output's shape \(1, 4, 6, 6\); got \(1, 4, 5, 6\)",
    ),
    (functional.conv2d_weight, (ones(1, 3, 8, 8), (4, 3, 3, 3), ones(4, 6, 6)), {}, r"got \(4, 6, 6\)"),
    (
        functional.conv1d_input,
        (8, ones(4, 3, 3), ones(1, 4, 6)),
        {},
        r"`input_size` must be a sequence of sizes; got 8",
    ),
    (
        functional.conv1d_weight,
        (ones(1, 1, 3) * 1j, (1, 1, 2), ones(1, 1, 2)),
        {},
        r"`input` must be real here; got complex128",
    ),
    (
        functional.depthwise_separable_conv2d,
        (ones(2, 5, 5), ones(3, 1, 2, 2), ones(1, 3, 1, 1)),
        {},
        r"must be \(C·m, 1, kH, kW\)",
    ),
    (
        functional.depthwise_separable_conv2d,
        (ones(2, 5, 5), ones(4, 1, 2, 2), ones(1, 3, 1, 1)),
        {},
        r"must be \(C_out, 4, 1, 1\)",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "options", "message"), REFUSED)
def test_refused(function, arguments, options, message):
    with pytest.raises(ArgumentError, match=message):
        function(*arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "options", "shape"),
    [
        ((ones(0, 3, 8, 8), ones(4, 3, 3, 3)), {}, (0, 4, 6, 6)),
        ((ones(0, 3, 0, 8), ones(4, 3, 3, 3)), {"padding": 2}, (0, 4, 2, 10)),
        ((ones(0, 4, 8, 8), ones(4, 1, 3, 3)), {"groups": 4, "stride": 2}, (0, 4, 3, 3)),
        ((ones(0, 3, 8, 8), ones(4, 3, 1, 1)), {}, (0, 4, 8, 8)),
    ],
)
def test_empty_batches_are_legal(arguments, options, shape):
    y = functional.conv2d(*arguments, **options)
    assert y.shape == shape
    assert (
        functional.conv2d_weight(arguments[0], arguments[1].shape, y, **options).shape == arguments[1].shape
    )
    assert functional.conv2d_input(arguments[0].shape, arguments[1], y, **options).shape == arguments[0].shape
    assert functional.conv_transpose2d(ones(0, 3, 4, 4), ones(3, 2, 3, 3)).shape == (0, 2, 6, 6)
    assert functional.max_pool2d(ones(0, 3, 4, 4), 2).shape == (0, 3, 2, 2)
    assert functional.deform_conv2d(ones(0, 3, 4, 4), ones(0, 8, 3, 3), ones(1, 3, 2, 2)).shape == (
        0,
        1,
        3,
        3,
    )


def test_no_channels_leave_the_bias():
    np.testing.assert_array_equal(
        functional.conv1d(ones(2, 0, 5), ones(3, 0, 3), [1.0, 2.0, 3.0])[1], [[1] * 3, [2] * 3, [3] * 3]
    )
    np.testing.assert_array_equal(
        functional.conv1d_weight(ones(0, 2, 5), (3, 2, 3), ones(0, 3, 3)), np.zeros((3, 2, 3))
    )
