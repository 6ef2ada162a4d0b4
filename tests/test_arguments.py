import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from filterworks.arguments import (
    as_axes,
    as_int,
    as_kernel,
    as_number,
    as_signal,
    compute_dtype,
    per_axis,
    saturate,
)
from filterworks.errors import ArgumentError, ArgumentTypeError, JobError, MissingDataError, must, unknown


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64]),
        hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
        elements={"allow_nan": False},
    ),
    st.sampled_from(["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]),
)
def test_saturation_is_rounding_to_even_then_the_nearest_value_there_is(values, dtype):
    info = np.iinfo(dtype)
    got = saturate(values, np.dtype(dtype))
    assert got.dtype == dtype
    assert got.shape == values.shape
    for value, integer in zip(values.ravel().tolist(), got.ravel().tolist(), strict=True):
        expected = round(value) if abs(value) < 1e300 else (info.max if value > 0 else info.min)
        assert integer == min(max(expected, info.min), info.max)


def test_nan_never_becomes_an_integer():
    for dtype in ("uint8", "int64"):
        with pytest.raises(MissingDataError, match="nan_policy='omit'"):
            saturate(np.array([1.0, np.nan]), np.dtype(dtype))


def test_signals_kernels_and_axes():
    assert as_signal(np.ones(3, ">i2")).dtype == np.int16
    shared = np.ones(3)
    assert as_signal(shared) is shared
    assert as_kernel([1, 2]).dtype == np.float64
    assert as_kernel([1j]).dtype == np.complex128
    assert as_axes(None, 3) == (0, 1, 2)
    assert as_axes(-1, 3) == (2,)
    assert as_axes([np.int64(2), 0], 3, 2) == (2, 0)
    assert per_axis("stride", 3, 2) == (3, 3)
    assert per_axis("stride", np.array([1, 2]), 2) == (1, 2)
    assert compute_dtype(np.dtype("complex64")) == np.float32


@pytest.mark.parametrize(("call", "kind", "words"), [
    (lambda: as_int("n", 2.0), ArgumentTypeError, "`n` must be an integer; got 2.0"),
    (lambda: as_int("n", True), ArgumentTypeError, "integer"),
    (lambda: as_int("n", -1, 0), ArgumentError, "`n` must be an integer of at least 0; got -1"),
    (lambda: as_number("x", "1"), ArgumentTypeError, "`x` must be a finite number; got '1'"),
    (lambda: as_number("x", None, 0), ArgumentTypeError, "at least 0"),
    (lambda: as_number("x", 3, 0, 2), ArgumentError, "of at least 0 and at most 2; got 3"),
    (lambda: as_number("x", float("inf")), ArgumentError, "finite"),
    (lambda: as_axes(1.5, 3), ArgumentTypeError, "integer"),
    (lambda: as_axes((), 3), ArgumentError, "at least one"),
])  # fmt: skip
def test_what_is_refused_and_how(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_errors_say_what_was_given_and_what_is_accepted():
    assert must("a", "b", "c") == "`a` must be b; got 'c'"
    assert "did you mean 'gaussian'" in unknown("filter", "gausian", ["mean", "gaussian"])
    assert "did you mean" not in unknown("filter", "zzz", ["mean", "gaussian"])
    assert issubclass(ArgumentTypeError, TypeError)
    assert issubclass(ArgumentTypeError, ValueError)
    assert str(JobError(["one", "two"])) == "one\ntwo"
