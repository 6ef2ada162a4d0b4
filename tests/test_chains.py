import pickle
import re

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import filterworks as fw
from filterworks.chains import parse_step, step
from filterworks.errors import ArgumentError
from filterworks.operations import OPERATIONS
from filterworks.verification import REFERENCES, reference, reference_chain


def test_a_chain_is_its_steps_and_its_reach_their_sum():
    chain = fw.Chain.parse("gaussian:sigma=2 | mean:size=[3,7] | sobel")
    assert chain.reach == (8 + 1 + 1, 8 + 3 + 1)
    assert chain.reach_along(2) == chain.reach
    x = skimage.data.camera()[:60, :70].astype(float)
    expected = ndimage.generic_gradient_magnitude(
        ndimage.uniform_filter(ndimage.gaussian_filter(x, 2), (3, 7)), ndimage.sobel
    )
    np.testing.assert_allclose(chain(x), expected, atol=1e-9)
    np.testing.assert_allclose(chain(x, axes=(1, 0)), chain(x), atol=60)  # the sizes follow the axes
    assert fw.Chain.parse("gaussian:sigma=1")(np.zeros(9)).shape == (9,)
    colour = np.stack([x, x[::-1], 2 * x], axis=-1)
    for channel in range(3):
        np.testing.assert_allclose(
            chain(colour, axes=(0, 1))[..., channel], chain(colour[..., channel]), atol=1e-9
        )


def test_integers_are_rounded_once_at_the_end():
    x = skimage.data.camera()[:80, :90]
    chain = fw.Chain.parse("gaussian:sigma=1 | mean:size=3 | unsharp_mask:sigma=2")
    assert chain(x).dtype == np.uint8
    exact = chain(x.astype(float))
    assert np.abs(chain(x) - np.clip(exact, 0, 255)).max() <= 0.5 + 1e-3
    assert fw.Chain.parse("gaussian:sigma=1 | sobel")(x).dtype == np.float32
    np.testing.assert_allclose(
        fw.Chain.parse("gaussian:sigma=1 | sobel")(x),
        fw.filters.sobel(fw.filters.gaussian(x.astype(np.float32), 1)), atol=1e-3,
    )  # fmt: skip


TEXTS = [
    "gaussian:sigma=2",
    "gaussian:sigma=[1,2.5],truncate=3.0 | sobel:axis=0",
    "kernel:weights=[[1,2],[3,-4.5]],flip=true",
    "canny:low=null",
    "mean:size=3,boundary=ndimage:reflect | median:size=5",
    'kernel:path="a,b|c.npy"',
    "roberts",
]


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_chain_are_two_spellings(text):
    chain = fw.Chain.parse(text)
    assert fw.Chain.parse(str(chain)) == chain
    assert pickle.loads(pickle.dumps(chain)) == chain
    assert hash(chain) == hash(fw.Chain.parse(str(chain)))


@pytest.mark.parametrize(
    ("text", "same"),
    [(".5", 0.5), ("5.", 5), ("+5", 5), ("+.5e1", 5), ("[.5,1.]", (0.5, 1)), ("-.0", 0)],
)
def test_numbers_may_be_written_short(text, same):
    assert parse_step(f"gaussian:sigma={text}") == step("gaussian", {"sigma": same})


@pytest.mark.parametrize("text", [".", "1..2", "1.2.3", "..5", "--5", "[.5", "1-2"])
def test_what_is_no_number_is_refused_as_it_was_written(text):
    with pytest.raises(ArgumentError, match=re.escape(text)):
        fw.Chain.parse(f"gaussian:sigma={text}").check()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_chain_or_an_argument_error(text):
    try:
        chain = fw.Chain.parse(text)
    except ArgumentError:
        return
    assert fw.Chain.parse(str(chain)) == chain


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists)
)
def test_any_value_survives_the_text_form(value):
    one = step("kernel", {"path": value})
    assert parse_step(str(one)) == one


@pytest.mark.parametrize(("text", "words"), [
    ("", "name is missing"),
    ("gausian:sigma=1", "did you mean 'gaussian'"),
    ("gaussian:sigm=1", "did you mean 'sigma'"),
    ("gaussian", "needs a value for `sigma`"),
    ("gaussian:2", "key=value"),
    ("gaussian:sigma=1,sigma=2", "given twice"),
    ("gaussian:sigma=1 | | sobel", "name is missing"),
])  # fmt: skip
def test_texts_that_are_refused(text, words):
    with pytest.raises(ArgumentError, match=words):
        fw.Chain.parse(text)


@pytest.mark.parametrize(("text", "words"), [
    ("gaussian:sigma=-1", "gaussian: `sigma` must be a finite number of at least 0; got -1"),
    ("gaussian:sigma=abc", "abc"),
    ("median:size=4", "odd"),
    ("mean:boundary=reflect,size=3", "two different things"),
    ("canny:low=1", "both"),
    ("kernel:weights=[1,2,3]", "axes"),
    ("kernel:path=nowhere.npy", "nowhere.npy"),
    ("gaussian:sigma=1,method=cuda", "method"),
])  # fmt: skip
def test_values_are_checked_before_any_data(text, words):
    with pytest.raises(ArgumentError, match=words):
        fw.Chain.parse(text).check()
    with pytest.raises(ArgumentError):
        fw.Chain(())


def test_verify_passes_and_would_notice(monkeypatch):
    report = fw.verify(seed=3)
    assert report.ok, str(report)
    subjects = [check.subject for check in report.checks]
    assert {f"filter {name}" for name in OPERATIONS} <= set(subjects)
    for engine in ("auto", *fw.engines()):
        assert f"engine {engine} (float64)" in subjects
    assert sum(check.cases for check in report.checks) > 900
    monkeypatch.setitem(REFERENCES, "mean", lambda x, outside, **rest: x)
    broken = fw.verify(seed=3)
    assert not broken.ok
    assert [check.subject for check in broken.checks if not check.ok] == ["filter mean"]
    assert "FAILED" in str(broken)


@pytest.mark.parametrize("text", ["gaussian:sigma=1.5", "median:size=5 | sobel", "dog:low_sigma=1"])
def test_the_reference_chain_equals_the_chain(text):
    x = skimage.data.astronaut()[:40, :50]
    chain = fw.Chain.parse(text)
    got, expected = chain(x, axes=(0, 1)), reference_chain(chain)(x)
    assert np.abs(got - expected).max() <= (0.5 if got.dtype == np.uint8 else 1e-2)
    alone = reference(chain.steps[0], x[..., 1], (0, 1))
    np.testing.assert_array_equal(alone, reference(chain.steps[0], x, (0, 1))[..., 1])


def test_the_reach_of_a_large_window_is_integers_only():
    assert fw.Chain.parse("mean:size=2000001 | median:size=[3,100001]").reach == (1_000_001, 1_050_000)


@pytest.mark.parametrize(("text", "words"), [
    ("kernel:path=5", "name of a file"),
    ("kernel:weights=[[1]],flip=3", "true or false"),
    ("gaussian:sigma=1e-200,order=1", "derivative"),
    ("kernel:weights=" + "[" * 5000 + "]" * 5000, "rows of numbers"),
    ('kernel:path="a\\"b|c.txt"', "a\"b|c.txt"),
])  # fmt: skip
def test_odd_values_are_argument_errors(text, words):
    with pytest.raises(ArgumentError) as caught:
        fw.Chain.parse(text).check()
    assert words in str(caught.value)


def test_what_was_computed_before_changes_nothing():
    photo = skimage.data.astronaut()[:64, :80]
    taps = np.arange(1.0, 26.0).reshape(5, 5)
    text = f"kernel:weights={taps.astype(int).tolist()}"
    big = np.tile(photo, (6, 6, 1)).astype(np.uint16) * 200
    fw.filters.kernel(big, taps / 300, axes=(0, 1))  # remembers an engine for calls like this one
    expected = fw.Chain.parse(text)(big, axes=(0, 1))
    fw.filters.kernel(big, taps, axes=(0, 1))
    fw.filters.kernel(photo, taps, axes=(0, 1))
    np.testing.assert_array_equal(fw.Chain.parse(text)(big, axes=(0, 1)), expected)
    part = fw.Chain.parse(text)(big[100:180], axes=(0, 1))
    np.testing.assert_array_equal(part[2:-2], expected[102:178])


@pytest.mark.parametrize("text", [
    "gaussian:sigma=1.3", "gaussian:sigma=[1,2],order=[0,1]", "mean:size=5,boundary=wrap", "laplace", "emboss", "sobel",
    "sharpen:nan_policy=omit", "disk:radius=2,boundary=constant,fill_value=7", "gaussian:sigma=1 | median:size=3", "binomial:size=4",
])  # fmt: skip
@pytest.mark.parametrize("dtype", ["uint8", ">u2", "float32", "float64"])
def test_what_a_chain_remembers_changes_nothing(text, dtype):
    rng = np.random.default_rng(5)
    used = fw.Chain.parse(text)
    for shape in [(9, 14), (9, 14, 3), (9, 14)]:
        for _ in range(3):
            x = (rng.random(shape) * 200).astype(dtype)
            if x.dtype.kind == "f":
                x.flat[rng.integers(x.size, size=2)] = np.nan, np.inf
            for data in (x, x[::-1], np.asfortranarray(x)):
                got, expected = used(data, axes=(0, 1)), fw.Chain.parse(text)(data, axes=(0, 1))
                assert got.dtype == expected.dtype
                np.testing.assert_array_equal(got, expected)
    again = pickle.loads(pickle.dumps(used))
    assert again == used
    np.testing.assert_array_equal(again(x, axes=(0, 1)), used(x, axes=(0, 1)))
