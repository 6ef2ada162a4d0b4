"""Learning a kernel: the worked example, recovery for all shapes, what the data leave open, the refusals."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filterworks as fw
from filterworks.errors import ArgumentError, MissingDataError, UndeterminedError
from filterworks.functional import conv1d, conv2d, conv3d
from filterworks.learning import learn_kernel, residuals
from filterworks.normal_equations import NormalEquations, blocks, valid_target

EDGES = np.repeat([[1.0, 1, 0, 0, 0, 0, 1, 1]], 6, axis=0)
ANSWER = fw.correlate(EDGES, [[1, -1]], mode="valid")
ASYMMETRIC = np.array([[1.0, -2, 3], [0.5, 4, -0.25]])


def test_the_edge_image_by_least_squares():
    np.testing.assert_array_equal(ANSWER, np.repeat([[0, 1, 0, 0, 0, -1, 0]], 6, axis=0))
    np.testing.assert_allclose(learn_kernel(EDGES, ANSWER, (1, 2)), [[1, -1]], atol=1e-14)
    kernel, bias = learn_kernel(EDGES, ANSWER, (1, 2), bias=True)
    np.testing.assert_allclose(kernel, [[1, -1]], atol=1e-14)
    assert isinstance(bias, float)
    assert abs(bias) < 1e-14


@pytest.mark.parametrize("seed", range(5))
def test_the_edge_image_by_twenty_steps_of_descent(seed):
    losses: list[float] = []
    kernel = learn_kernel(
        EDGES, ANSWER, (1, 2), method="gradient", learning_rate=0.01, steps=20, seed=seed, history=losses
    )
    np.testing.assert_allclose(kernel, [[0.93, -0.91]], atol=0.04)
    assert len(losses) == 21
    assert all(after < before for before, after in pairwise(losses))
    error = fw.correlate(EDGES, kernel, mode="valid") - ANSWER
    assert losses[-1] == pytest.approx(np.sum(error**2))


def test_descent_is_the_plain_recursion():
    kernel = learn_kernel(EDGES, ANSWER, (1, 2), method="gradient", learning_rate=0.01, steps=3, seed=4)
    expected = 0.1 * np.random.default_rng(4).standard_normal((1, 2))
    for _ in range(3):
        error = fw.correlate(EDGES, expected, mode="valid") - ANSWER
        expected = expected - 0.01 * 2 * fw.correlate(EDGES, error, mode="valid")
    np.testing.assert_allclose(kernel, expected, rtol=1e-12)


def test_descent_left_alone_arrives():
    rng = np.random.default_rng(3)
    image = rng.normal(100, 30, (40, 50)).cumsum(axis=1) / 50
    target = fw.correlate(image, ASYMMETRIC, mode="valid") + 7
    losses: list[float] = []
    kernel, bias = learn_kernel(
        image, target, (2, 3), method="gradient", bias=True, steps=100_000, history=losses
    )
    np.testing.assert_allclose(kernel, ASYMMETRIC, atol=1e-6)
    assert bias == pytest.approx(7, abs=1e-4)
    assert losses[-1] < 1e-6 * losses[0]


@st.composite
def problems(draw):
    ndim = draw(st.integers(1, 3))
    size = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    shapes = [tuple(k - 1 + draw(st.integers(8, 12)) for k in size) for _ in range(draw(st.integers(1, 3)))]
    return size, shapes, draw(st.booleans()), draw(st.booleans()), draw(st.integers(0, 2**31))


@settings(deadline=None, max_examples=60)
@given(problems())
def test_noise_free_data_give_the_kernel_back(problem):
    size, shapes, bias, same, seed = problem
    rng = np.random.default_rng(seed)
    while np.prod(size) + 1 > sum(np.prod([n - k + 1 for n, k in zip(s, size)]) for s in shapes) / 2:  # noqa: B905
        shapes = [*shapes, shapes[0]]
    kernel = rng.standard_normal(size)
    inputs = [rng.standard_normal(shape) for shape in shapes]
    mode = "same" if same else "valid"
    targets = [fw.correlate(x, kernel, mode=mode) + (2.5 if bias else 0) for x in inputs]
    found = learn_kernel(inputs, targets, size, bias=bias)
    if bias:
        found, offset = found
        assert offset == pytest.approx(2.5, abs=1e-9)
    np.testing.assert_allclose(found, kernel, atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "size", "layer"),
    [((40,), (3,), conv1d), ((20, 17), (2, 3), conv2d), ((9, 8, 10), (2, 1, 3), conv3d)],
)
def test_channels_as_layers_have_them(shape, size, layer):
    rng = np.random.default_rng(1)
    inputs = [rng.standard_normal((2, *shape)), rng.standard_normal((2, *shape))]
    weight, offset = rng.standard_normal((3, 2, *size)), np.array([1.0, -2.0, 0.5])
    targets = [layer(x, weight, offset) for x in inputs]
    kernel, bias = learn_kernel(inputs, targets, size, channels=True, bias=True)
    np.testing.assert_allclose(kernel, weight, atol=1e-12)
    np.testing.assert_allclose(bias, offset, atol=1e-12)
    one, constant = learn_kernel(inputs, [y[1] for y in targets], size, channels=True, bias=True)
    np.testing.assert_allclose(one, weight[1], atol=1e-12)
    assert constant == pytest.approx(-2.0)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((50,), (5,)), ((9, 7), (3, 4)), ((6, 7), (5, 2)), ((8, 9, 7), (3, 2, 4)), ((5, 400), (2, 3))],
)
def test_the_sums_are_those_of_the_design_matrix(shape, size, monkeypatch):
    monkeypatch.setattr("filterworks.normal_equations._BLOCK", 300)  # many blocks, in every axis
    rng = np.random.default_rng(5)
    x = rng.standard_normal((2, *shape))
    valid = tuple(n - k + 1 for n, k in zip(shape, size, strict=True))
    y = rng.standard_normal((3, *valid))
    windows = np.lib.stride_tricks.sliding_window_view(x, size, axis=tuple(range(1, x.ndim)))
    design = np.moveaxis(windows, 0, len(size)).reshape(np.prod(valid), -1)
    design = np.column_stack([design, np.ones(len(design))])
    count = len(design)
    penalty = np.diag([0.1] * (design.shape[1] - 1) + [0])
    expected = np.linalg.solve(design.T @ design / count + penalty, design.T @ y.reshape(3, -1).T / count)
    equations = NormalEquations(size, 2, 3)
    equations.add(x, y)
    assert equations.samples == count
    kernel, bias = equations.solve(bias=True, ridge=0.1)
    np.testing.assert_allclose(kernel.reshape(3, -1).T, expected[:-1], atol=1e-12)
    np.testing.assert_allclose(bias, expected[-1], atol=1e-12)


def test_blocks_cover_every_position_once():
    counts = np.zeros((37, 23, 5), int)
    for block in blocks((37, 23, 5), (3, 2, 2), 10_000):
        counts[block] += 1
    assert (counts == 1).all()


def test_integers_do_not_wrap_and_are_exact():
    rng = np.random.default_rng(2)
    image = rng.integers(0, 256, (60, 50), dtype=np.uint8)
    wide = fw.correlate(image.astype(np.float64), ASYMMETRIC, mode="valid")
    np.testing.assert_allclose(learn_kernel(image, wide, (2, 3)), ASYMMETRIC, atol=1e-12)
    twice = (image.astype(np.uint16) * 2).astype(np.uint16)
    np.testing.assert_allclose(learn_kernel(image, twice, 1), [[2]], rtol=1e-15)
    equations = NormalEquations((1, 1))
    equations.add(image[None], image[None])
    assert equations.system(False, 0).matrix[0, 0] == int((image.astype(int) ** 2).sum())


def test_targets_of_the_inputs_size_give_their_centre():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((30, 40))
    for size in ((4, 3), (2, 6), (5, 5)):
        kernel = rng.standard_normal(size)
        same = fw.correlate(x, kernel, mode="same")
        np.testing.assert_allclose(
            valid_target(x[None], same[None], size)[0], fw.correlate(x, kernel, mode="valid")
        )
        np.testing.assert_allclose(learn_kernel(x, same, size), kernel, atol=1e-12)


def test_ridge_is_the_penalised_solution():
    rng = np.random.default_rng(7)
    x, y = rng.standard_normal(200) + 3, rng.standard_normal(198)
    design = np.column_stack([x[:-2], x[1:-1], x[2:]])
    expected = np.linalg.solve(design.T @ design / 198 + 0.3 * np.eye(3), design.T @ y / 198)
    np.testing.assert_allclose(learn_kernel(x, y, 3, ridge=0.3), expected, atol=1e-13)
    walked = learn_kernel(x, y, 3, ridge=0.3, method="gradient")
    np.testing.assert_allclose(walked, expected, atol=1e-9)


def test_what_the_data_leave_open_is_said():
    flat = np.full((20, 20), 7.0)
    with pytest.raises(UndeterminedError, match=r"determine only 1 of 9 unknowns \(9 weights\).*`ridge`"):
        learn_kernel(flat, flat, 3)
    with pytest.raises(
        UndeterminedError, match=r"only 1 of 10 unknowns \(9 weights and a bias\): 324 samples"
    ):
        learn_kernel(flat, flat, 3, bias=True)
    with pytest.raises(UndeterminedError, match="only 4 of 9 unknowns"):
        learn_kernel(np.random.default_rng(0).random((4, 4)), np.ones((2, 2)), 3)
    with pytest.raises(UndeterminedError, match="only 1 of 9"):
        learn_kernel(flat, flat, 3, method="gradient")
    with pytest.raises(UndeterminedError, match="only 0 of 4"):
        learn_kernel(np.zeros((9, 9)), np.zeros((8, 8)), 2)
    with pytest.raises(UndeterminedError, match="a larger `ridge` than 1e-30"):
        learn_kernel(flat, flat, 3, ridge=1e-30)
    np.testing.assert_allclose(learn_kernel(flat, flat, 3, ridge=1e-3), np.full((3, 3), 1 / 9), rtol=1e-5)


def test_a_ramp_determines_a_plane_only():
    ramp = np.add.outer(np.arange(30.0), 2 * np.arange(40.0) ** 2)
    with pytest.raises(UndeterminedError, match=r"determine only [2-6] of 25"):
        learn_kernel(ramp, ramp, 5)


def test_refusals():
    x = np.arange(12.0).reshape(3, 4)
    bad = x.copy()
    bad[0, 1], bad[2, 2] = np.nan, np.inf
    with pytest.raises(
        MissingDataError, match="`inputs` must be finite; got 2 NaN or infinite among 12 samples"
    ):
        learn_kernel(bad, x, 1)
    with pytest.raises(MissingDataError, match="`targets` must be finite; got 2"):
        learn_kernel(x, bad, 1)
    with pytest.raises(ArgumentError, match=r"input of \(3, 4\) is smaller than the kernel of \(5, 5\)"):
        learn_kernel(x, x, 5)
    with pytest.raises(ArgumentError, match=r"must be \(2, 3\) .* or \(3, 4\) .* got \(2, 2\)"):
        learn_kernel(x, x[:2, :2], 2)
    with pytest.raises(ArgumentError, match="got 2 inputs and 1 targets"):
        learn_kernel([x, x], [x], 2)
    with pytest.raises(ArgumentError, match="same number of axes"):
        learn_kernel([x, x[0]], [x, x[0]], 1)
    with pytest.raises(ArgumentError, match="same channels; got 3 -> 1 after 2 -> 1"):
        learn_kernel([x[:2], x], [x[0], x[0]], 1, channels=True)
    with pytest.raises(ArgumentError, match="`size` must be an integer or 2 of them"):
        learn_kernel(x, x, (1, 2, 3))
    with pytest.raises(ArgumentError, match="`size` must be an integer of at least 1; got 0"):
        learn_kernel(x, x, 0)
    with pytest.raises(ArgumentError, match="unknown method 'adam'"):
        learn_kernel(x, x, 1, method="adam")
    with pytest.raises(ArgumentError, match="`ridge` must be a finite number of at least 0; got -1"):
        learn_kernel(x, x, 1, ridge=-1)
    with pytest.raises(ArgumentError, match="`inputs` must be real"):
        learn_kernel(x * 1j, x, 1)
    with pytest.raises(ArgumentError, match="their squares overflow"):
        learn_kernel(x * 1e200, x, 1)
    with pytest.raises(
        ArgumentError, match=r"`learning_rate` must be below 0.03333 for these data.*got 0.05"
    ):
        learn_kernel(EDGES, ANSWER, (1, 2), method="gradient", learning_rate=0.05)
    with pytest.raises(ArgumentError, match="at least one axis after that of the channels"):
        learn_kernel(x[0], x[0], 1, channels=True)


def test_nested_lists_are_one_array():
    kernel = learn_kernel([[1, 4, 2], [8, 5, 7]], [[9, 8], [18, 19]], (1, 2))
    np.testing.assert_allclose(kernel, [[1, 2]], atol=1e-12)


def test_residuals_are_the_model_less_the_target():
    rng = np.random.default_rng(8)
    x, kernel = rng.integers(0, 255, (700, 800), dtype=np.uint8), rng.standard_normal((2, 3))
    y = rng.standard_normal((699, 798))
    found = np.concatenate([part.ravel() for part in residuals(x, y, kernel, 0.5)])
    expected = fw.correlate(x.astype(float), kernel, mode="valid") + 0.5 - y
    assert np.sum(found**2) == pytest.approx(np.sum(expected**2))


def test_memory_does_not_grow_with_the_image():
    x = np.random.default_rng(9).integers(0, 255, (1, 1500, 1200), dtype=np.uint8)
    equations = NormalEquations((5, 5))
    tracemalloc.start()
    equations.add(x, valid_target(x, x, (5, 5)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # the design matrix would take 360 MB
