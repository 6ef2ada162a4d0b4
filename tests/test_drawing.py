"""Pictures of the arithmetic: as many frames as outputs, the numbers that are computed, nothing cut off."""

import xml.etree.ElementTree as ET
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont, ImageSequence

from filterworks import shapes
from filterworks.drawing import conv_arithmetic, draw_conv, draw_dilation
from filterworks.drawing.convolution import conv_scenes, number
from filterworks.drawing.dilation import dilation_scenes, dilation_title
from filterworks.drawing.scene import Dot, Label, Outline
from filterworks.errors import ArgumentError, FileError
from filterworks.functional import conv1d, conv2d, conv_transpose1d, conv_transpose2d

SVG = "{http://www.w3.org/2000/svg}"
FAMOUS = conv_arithmetic(5, 3, stride=2, padding=1)


def labels(scene):
    return [shape.text for shape in scene.shapes if isinstance(shape, Label)]


@st.composite
def layers(draw, transposed=False):
    ndim = draw(st.integers(1, 2))

    def some(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(ndim))

    size, kernel, stride, dilation = some(1, 5), some(1, 3), some(1, 3), some(1, 2)
    layer = {"stride": stride, "padding": some(0, 2), "dilation": dilation}
    if transposed:
        layer["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
    return size, kernel, layer, draw(st.integers(0, 1000))


def random_numbers(size, kernel, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(-9, 10, size).astype(float), rng.integers(-9, 10, kernel).astype(float)


@settings(deadline=None, max_examples=80)
@given(layers())
def test_one_frame_per_output_and_the_outputs_of_the_layer(problem):
    size, kernel, layer, seed = problem
    values, weights = random_numbers(size, kernel, seed)
    try:
        expected = shapes.conv_output_size(size, kernel, **layer)
    except ArgumentError:
        with pytest.raises(ArgumentError, match="does not fit"):
            conv_arithmetic(values=values, weights=weights, **layer)
        return
    steps = conv_arithmetic(values=values, weights=weights, **layer)
    assert len(conv_scenes(steps, numbers=True)) == prod(expected)
    result = (conv1d, conv2d)[len(size) - 1](values[None], weights[None, None], **layer)[0]
    np.testing.assert_allclose(steps.output, result, atol=1e-9)
    check_windows(steps)


@settings(deadline=None, max_examples=80)
@given(layers(transposed=True))
def test_transposed_frames_and_outputs(problem):
    size, kernel, layer, seed = problem
    values, weights = random_numbers(size, kernel, seed)
    try:
        expected = shapes.conv_transpose_output_size(size, kernel, **layer)
    except ArgumentError:
        with pytest.raises(ArgumentError, match="cuts everything away"):
            conv_arithmetic(values=values, weights=weights, transposed=True, **layer)
        return
    steps = conv_arithmetic(values=values, weights=weights, transposed=True, **layer)
    assert steps.output.shape == expected
    assert len(conv_scenes(steps)) == prod(expected)
    result = (conv_transpose1d, conv_transpose2d)[len(size) - 1](values[None], weights[None, None], **layer)[
        0
    ]
    np.testing.assert_allclose(steps.output, result, atol=1e-9)
    check_windows(steps)


def check_windows(steps):
    """What is drawn under the kernel sums to what is drawn in the output."""
    for position in steps.positions:
        window = steps.window(position)
        assert "cropped" not in {steps.kind(cell) for cell, _ in window}
        total = sum(steps.grid[cell] * weight for cell, weight in window)
        assert total == pytest.approx(steps.output[position], abs=1e-9)


def test_the_cells_of_a_transposed_axis():
    (axis,) = conv_arithmetic((3,), (3,), stride=2, padding=1, output_padding=1, transposed=True).axes
    assert axis.kinds == ("padding", "data", "inserted", "data", "inserted", "data", "padding", "padding")
    assert axis.sources == (None, 0, None, 1, None, 2, None, None)
    assert axis.starts == (0, 1, 2, 3, 4, 5)
    (axis,) = conv_arithmetic((4,), (2,), padding=2, transposed=True).axes
    assert axis.kinds == ("cropped", "data", "data", "cropped")


def test_the_worked_example_is_in_the_picture(tmp_path):
    steps = conv_arithmetic(values=[[0, 1, 2], [3, 4, 5], [6, 7, 8]], weights=[[0, 1], [2, 3]])
    np.testing.assert_array_equal(steps.output, [[19, 25], [37, 43]])
    scenes = conv_scenes(steps, numbers=True)
    first = labels(scenes[0])
    assert first[0] == "input 3 × 3, kernel 2 × 2: output 2 × 2"
    assert first[-2:] == ["step 1 of 4: output (0, 0)", "0·0 + 1·1 + 3·2 + 4·3 = 19"]
    assert "25" not in first
    assert {"19", "25", "37", "43"} <= set(labels(scenes[-1]))
    draw_conv(tmp_path / "a.svg", steps, numbers=True)
    texts = [node.text for node in ET.parse(tmp_path / "a.svg").iter(f"{SVG}text")]
    assert texts.count("19") == 4
    assert "4·0 + 5·1 + 7·2 + 8·3 = 43" in texts


def test_numbers_are_written_on_request_only():
    assert labels(conv_scenes(FAMOUS)[4]) == [FAMOUS.title, "step 5 of 9: output (1, 1)"]
    written = labels(conv_scenes(FAMOUS, numbers=True)[4])
    assert len(written) == 49 + 9 + 5 + 3
    many = labels(conv_scenes(conv_arithmetic(5, 4), numbers=True)[0])
    assert many[-1] == f"the sum of 16 products is {number(conv_arithmetic(5, 4).output[0, 0])}"


@pytest.mark.parametrize(
    "steps",
    [
        FAMOUS,
        conv_arithmetic((5,), (2,)),
        conv_arithmetic((1, 12), (1, 3)),
        conv_arithmetic((12, 1), (3, 1), padding=(1, 0)),
        conv_arithmetic(3, 3, stride=2, padding=1, output_padding=1, transposed=True),
        conv_arithmetic(values=[[-1234567.0, 1e-9], [0.333333, 1e100]], weights=[[-0.123456, 1e50]]),
        conv_arithmetic((1,), (1,)),
    ],
    ids=lambda steps: steps.title,
)
def test_nothing_is_cut_off(steps):
    for numbers in (False, True):
        scenes = conv_scenes(steps, numbers=numbers)
        assert len({(scene.width, scene.height) for scene in scenes}) == 1
        for scene in scenes:
            check_inside(scene)


def check_inside(scene):
    for shape in scene.shapes:
        for x, y in corners(shape):
            assert -0.01 <= x <= scene.width + 0.01, shape
            assert -0.01 <= y <= scene.height + 0.01, shape


def corners(shape):
    if isinstance(shape, Outline):
        return shape.points
    if isinstance(shape, Dot):
        (x, y), r = shape.centre, shape.radius
        return (x - r, y - r), (x + r, y + r)
    width = ImageFont.load_default(size=100).getlength(shape.text.replace("×", "x")) * shape.size / 100
    left = shape.at[0] - {"start": 0, "middle": width / 2, "end": width}[shape.anchor]
    return (left, shape.at[1] - shape.size / 2), (left + width, shape.at[1] + shape.size / 2)


def test_a_gif_shows_every_step(tmp_path):
    draw_conv(tmp_path / "a.gif", FAMOUS, numbers=True)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 9
        assert gif.info["loop"] == 0
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(gif)]
    assert durations == [700] * 8 + [1800]
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_png_is_a_sheet_or_one_step(tmp_path):
    draw_conv(tmp_path / "all.png", FAMOUS)
    draw_conv(tmp_path / "one.PNG", FAMOUS, step=5)
    scene, alone = conv_scenes(FAMOUS, heading=False)[0], conv_scenes(FAMOUS)[4]
    with Image.open(tmp_path / "all.png") as sheet, Image.open(tmp_path / "one.PNG") as one:
        assert sheet.width == round(3 * scene.width * 2)
        assert sheet.height > round(3 * scene.height * 2)
        assert one.size == (round(alone.width * 2), round(alone.height * 2))
        assert len(one.convert("RGB").getcolors(1 << 20)) > 8


def test_an_svg_holds_the_same_shapes(tmp_path):
    draw_conv(tmp_path / "a.svg", FAMOUS, numbers=True)
    root = ET.parse(tmp_path / "a.svg").getroot()
    assert root.find(f"{SVG}title").text == FAMOUS.title
    groups = root.findall(f"{SVG}g")
    scenes = conv_scenes(FAMOUS, numbers=True, heading=False)
    assert [len(group) for group in groups[1:]] == [len(scene.shapes) for scene in scenes]
    classes = {node.get("class") for node in root.iter() if node.get("class")}
    styles = root.find(f"{SVG}style").text
    assert all(f".{name} {{" in styles for name in classes)


def test_text_is_escaped(tmp_path):
    from filterworks.drawing.scene import Scene, sheet
    from filterworks.drawing.vector import to_svg

    scene = Scene(50, 20, (Label((25, 10), "a < b & c", 10, "#000000"),))
    root = ET.fromstring(to_svg(sheet([scene]), "x > y"))
    assert root.find(f".//{SVG}text").text == "a < b & c"


@pytest.mark.parametrize(
    ("dilations", "read", "span"), [((2, 2, 2), 7, 13), ((1, 2, 3), 13, 13), ((1,), 3, 3), ((4, 1), 9, 11)]
)
def test_the_gridding_effect(tmp_path, dilations, read, span):
    layers = [(3, d) for d in dilations]
    scenes = dilation_scenes(layers)
    assert len(scenes) == len(layers) + 1
    for scene in scenes:
        check_inside(scene)
    dots = [shape for shape in scenes[-1].shapes if isinstance(shape, Dot)]
    bottom = max(dot.centre[1] for dot in dots)
    inputs = [dot for dot in dots if dot.centre[1] == bottom]
    assert len(inputs) == span
    assert sum(dot.fill != "#ffffff" for dot in inputs) == read
    lines = [shape for shape in scenes[-1].shapes if isinstance(shape, Outline)]
    readers = [
        len(shapes.samples_read(layers[level:])) if level < len(layers) else 1
        for level in range(1, len(layers) + 1)
    ]
    assert len(lines) == 3 * sum(readers)
    reads = f"all {span}" if read == span else f"{read} of {span}"
    assert dilation_title(layers).endswith(f"one output reads {reads} samples")
    for suffix in (".png", ".svg", ".gif"):
        draw_dilation(tmp_path / f"a{suffix}", layers)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == len(layers) + 1
    assert len(list(ET.parse(tmp_path / "a.svg").iter(f"{SVG}circle"))) == len(dots)


def test_refusals(tmp_path):
    with pytest.raises(ArgumentError, match="the input must be at most 12 to be drawn; got 13"):
        conv_arithmetic(13, 3)
    with pytest.raises(ArgumentError, match="the kernel must be at most 12"):
        conv_arithmetic((12,), (13,))
    with pytest.raises(ArgumentError, match="padded input's length must be at most 32 to be drawn; got 52"):
        conv_arithmetic((12,), 3, padding=20)
    with pytest.raises(ArgumentError, match="number of steps must be at most 400 to be drawn; got 484"):
        conv_arithmetic(12, 3, padding=6)
    with pytest.raises(ArgumentError, match="one or two axes"):
        conv_arithmetic((3, 3, 3), 2)
    with pytest.raises(ArgumentError, match="one or two axes"):
        conv_arithmetic((3, 3), (2,))
    with pytest.raises(ArgumentError, match="give the size of the kernel, or its numbers"):
        conv_arithmetic(5)
    with pytest.raises(ArgumentError, match=r"the input must be \(4, 4\); got numbers of shape \(2, 2\)"):
        conv_arithmetic(4, 2, values=np.ones((2, 2)))
    with pytest.raises(ArgumentError, match="`values` must be real and finite"):
        conv_arithmetic(kernel=1, values=[[np.nan]])
    with pytest.raises(ArgumentError, match="`output_padding` belongs to a transposed"):
        conv_arithmetic(5, 3, output_padding=1)
    with pytest.raises(ArgumentError, match="`step` must be from 1 to 9, the number of outputs; got 10"):
        draw_conv(tmp_path / "a.png", FAMOUS, step=10)
    with pytest.raises(ArgumentError, match=r"unknown picture suffix '.jpg'.*Accepted: .gif, .png, .svg"):
        draw_conv(tmp_path / "a.jpg", FAMOUS)
    with pytest.raises(ArgumentError, match="a sheet holds at most 150 steps; got 196"):
        draw_conv(tmp_path / "a.png", conv_arithmetic(12, 1, padding=1))
    with pytest.raises(ArgumentError, match="samples spanned must be at most 48 to be drawn; got 61"):
        draw_dilation(tmp_path / "a.png", [(3, 10), (3, 20)])
    with pytest.raises(ArgumentError, match="layers must be 1 to 8 to be drawn; got 9"):
        draw_dilation(tmp_path / "a.png", [(2, 1)] * 9)
    with pytest.raises(FileError, match="nowhere"):
        draw_conv(tmp_path / "nowhere" / "a.png", FAMOUS, step=1)
    assert list(tmp_path.iterdir()) == []
