"""``filterworks draw`` and ``filterworks shape``: files that can be opened, formulas that are right."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image

SVG = "{http://www.w3.org/2000/svg}"


def test_the_famous_figure_in_every_format(tmp_path, command):
    words = ("draw", "conv", "--input", 5, "--kernel", 3, "--stride", 2, "--padding", 1)
    for suffix, opened in (("gif", "GIF"), ("png", "PNG")):
        result = command(*words, "-o", tmp_path / f"fig.{suffix}")
        assert (result.code, result.err) == (0, "")
        assert "input 5 × 5, kernel 3 × 3, stride 2, padding 1: output 3 × 3" in result.out
        assert "9 steps" in result.out
        with Image.open(tmp_path / f"fig.{suffix}") as picture:
            assert picture.format == opened
            assert getattr(picture, "n_frames", 1) == (9 if suffix == "gif" else 1)
    assert command(*words, "-o", tmp_path / "fig.svg").code == 0
    assert len(ET.parse(tmp_path / "fig.svg").getroot().findall(f"{SVG}g")) == 10


def test_transposed_per_axis_and_one_axis(tmp_path, command):
    up = command(
        "draw", "conv", "--input", "2x3", "--kernel", "3x2", "--stride", "2x1", "--padding", "1x0",
        "--output-padding", "1x0", "--dilation", 1, "--transposed", "-o", tmp_path / "a.svg",
    )  # fmt: skip
    assert up.out.startswith(
        "transposed: input 2 × 3, kernel 3 × 2, stride 2 × 1, padding 1 × 0, output padding 1 × 0"
    )
    assert "output 4 × 4\n16 steps" in up.out
    row = command(
        "draw", "conv", "--input", 6, "--axes", 1, "--kernel", 2, "--dilation", 3, "-o", tmp_path / "b.png"
    )
    assert row.out.startswith("input 6, kernel 2, dilation 3: output 3\n3 steps")
    uneven = command(
        "draw", "conv", "--input", 4, "--kernel", 2, "--padding", "same", "-o", tmp_path / "c.png"
    )
    assert "padding (0, 1): output 4 × 4" in uneven.out


def test_numbers_given_on_the_command_line_or_in_files(tmp_path, command):
    given = ("draw", "conv", "--values", "0,1,2;3,4,5;6,7,8")
    assert command(*given, "--weights", "0,1;2,3", "-o", tmp_path / "a.svg").code == 0
    np.save(tmp_path / "k.npy", np.array([[0, 1], [2, 3]]))
    assert command(*given, "--weights", tmp_path / "k.npy", "-o", tmp_path / "b.svg").code == 0
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()
    texts = [node.text for node in ET.parse(tmp_path / "a.svg").iter(f"{SVG}text")]
    assert "0·0 + 1·1 + 3·2 + 4·3 = 19" in texts
    assert command(*given, "--kernel", 2, "--step", 4, "-o", tmp_path / "c.svg").code == 0
    texts = [node.text for node in ET.parse(tmp_path / "c.svg").iter(f"{SVG}text")]
    assert "4·0 + 5·1 + 7·2 + 8·3 = 43" in texts


def test_dilation(tmp_path, command):
    result = command("draw", "dilation", "--kernel", 3, "--dilations", "2,2,2", "-o", tmp_path / "a.png")
    assert result.out.startswith("kernel 3, dilations 2, 2, 2: one output reads 7 of 13 samples\n")
    mixed = command("draw", "dilation", "--kernel", "3,2", "--dilations", "1,3", "-o", tmp_path / "a.gif")
    assert "one output reads all 6 samples" in mixed.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("conv --input 5 --kernel 3 -o a.jpg", "unknown picture suffix '.jpg'"),
        ("conv --input 5 --kernel 3 -o taken.png", "-o taken.png exists; --overwrite replaces it"),
        ("conv --input 5 --kernel 3 -o no/a.png", "its folder does not exist"),
        ("conv --input 5 --kernel 3", "Missing option '-o'"),
        ("conv --input 5 -o a.png", "give --kernel, or its numbers with --weights"),
        ("conv --kernel 3 -o a.png", "give --input, or its numbers with --values"),
        ("conv --input 50 --kernel 3 -o a.png", "the input must be at most 12 to be drawn; got 50"),
        (
            "conv --input 5 --kernel 7 -o a.png",
            "7 taps with dilation 1 span 7 samples, the padded input has 5",
        ),
        (
            "conv --input 5x --kernel 3 -o a.png",
            "must be an integer of at least 1, or one per axis as 5x7; got 5x",
        ),
        (
            "conv --input 5 --kernel 3 --padding -1 -o a.png",
            "must be as 1, 1x2, 0:1 (low:high), same or valid; got -1",
        ),
        ("conv --input 5 --kernel 3 --padding 1x2x3 -o a.png", "`padding` must be"),
        ("conv --input 5x5x5 --kernel 3 -o a.png", "one or two axes"),
        ("conv --input 5 --kernel 3 --output-padding 1 -o a.png", "`output_padding` belongs to a transposed"),
        (
            "conv --input 5 --kernel 3 --transposed --output-padding 1 -o a.png",
            "must be smaller than the stride",
        ),
        (
            "conv --input 5 --kernel 3 --step 10 -o a.png",
            "`step` must be from 1 to 9, the number of outputs; got 10",
        ),
        (
            "conv --input 5x7 --kernel 3 --axes 1 -o a.png",
            "--axes 1 does not fit the sizes given, which have 2",
        ),
        ("conv --values 1,2;3 --kernel 1 -o a.png", "--values must be rows of numbers of one length"),
        ("conv --values nowhere.npy --kernel 1 -o a.png", "no kernel can be read from nowhere.npy"),
        ("dilation --dilations 1,0 -o a.png", "--dilations must be positive integers as 1,2,3; got 1,0"),
        (
            "dilation --dilations 1,2,3 --kernel 3,3 -o a.png",
            "--kernel must be one number, or 3, one per dilation",
        ),
        ("dilation --dilations 1,2,30 -o a.png", "samples spanned must be at most 48 to be drawn; got 67"),
    ],
)
def test_wrong_usage(tmp_path, command, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.png").write_bytes(b"kept")
    result = command("draw", *arguments.split())
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["taken.png"]
    assert (tmp_path / "taken.png").read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            "conv --input 5 --kernel 3 --stride 2 --padding 1",
            [
                "output: 3",
                "o = floor((i + 2p - k)/s) + 1 = floor((5 + 2*1 - 3)/2) + 1 = 3",
                "the padding that keeps the size at stride 1: 1 on each side",
                "back with output_padding a = (i + 2p - k) mod s = (5 + 2*1 - 3) mod 2 = 0",
            ],
        ),
        (
            "conv --input 5 --kernel 2 --stride 2 --padding 1",
            ["= floor((5 + 2*1 - 2)/2) + 1 = 3", "mod 2 = 1"],
        ),
        ("conv --input 6 --kernel 3 --stride 2 --padding 1", ["+ 1 = 3", "(6 + 2*1 - 3) mod 2 = 1"]),
        ("conv --input 5 --kernel 4 --padding 2", ["output: 6", "at stride 1: 1 before and 2 after"]),
        (
            "conv --input 8 --kernel 3x5 --stride 3x4 --padding 0x1 --dilation 1",
            [
                "output: 2 x 2",
                "axis 0:",
                "floor((8 + 2*0 - 3)/3) + 1 = 2",
                "axis 1:",
                "floor((8 + 2*1 - 5)/4) + 1 = 2",
            ],
        ),
        (
            "conv --input 9 --kernel 3 --dilation 2 --padding 0:1",
            ["k_eff = d(k - 1) + 1 = 2*(3 - 1) + 1 = 5", "floor((9 + 0 + 1 - 5)/1) + 1 = 6"],
        ),
        (
            "transposed --input 3 --kernel 3 --stride 2 --padding 1 --output-padding 1",
            [
                "output: 6",
                "o' = s(i' - 1) + k - 2p + a = 2*(3 - 1) + 3 - 2*1 + 1 = 6",
                "k' = 3 (flipped), s' = 1, 1 zero between the samples",
                "p' = d(k - 1) - p: 1*(3 - 1) - 1 = 1 before and 1*(3 - 1) - 1 + 1 = 2 after",
            ],
        ),
        ("transposed --input 4 --kernel 2 --padding 2", ["output: 1", "= -1 after; negative: cropped"]),
        (
            "stack 3,d=2 3,d=2 3,d=2",
            [
                "= 1 + 2*(3 - 1)*1 + 2*(3 - 1)*1 + 2*(3 - 1)*1 = 13",
                "one output reads 7 of the 13 samples it spans: the others never (gridding)",
                "  #.#.#.#.#.#.#",
            ],
        ),
        ("stack 3 3,d=2 3,d=3", ["reads 13 of the 13 samples it spans: every one"]),
        ("stack 7,s=2 3,s=2 3,d=2", ["3      3       1       2         27               4", "= 27"]),
        (
            "stack 3x5,s=2x1 3,d=2",
            ["axis 0: one output reads 9 of the 11", "axis 1: one output reads 9 of the 9"],
        ),
    ],
)
def test_shape_fills_the_formula_in(command, arguments, lines):
    result = command("shape", *arguments.split())
    assert (result.code, result.err) == (0, "")
    for line in lines:
        assert line in result.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            "conv --input 5 --kernel 9",
            "9 taps with dilation 1 span 9 samples, the padded input has 5 + 0 + 0 = 5",
        ),
        ("conv --input 5x5 --kernel 3x3x3", "the same number of them; got {'input': 2, 'kernel': 3}"),
        ("conv --input 5 --kernel 3 --output-padding 1", "--output-padding belongs to `shape transposed`"),
        ("conv --input 5 --kernel 3 --stride 2 --padding same", "padding='same' needs stride 1"),
        ("transposed --input 3x4 --kernel 2 --padding 2x0", "the padding cuts everything away"),
        (
            "transposed --input 3 --kernel 2 --output-padding 2",
            "must be smaller than the stride or the dilation",
        ),
        ("stack 3,q=2", "must be as 3, 3,s=2 or 3x5,s=2x1,d=2; got 3,q=2"),
        ("stack 3x3 3x3x3", "same number of axes"),
        ("stack", "Missing argument"),
        ("round", "No such command 'round'"),
    ],
)
def test_shape_refuses(command, arguments, words):
    result = command("shape", *arguments.split())
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err


def test_text_needs_no_library_of_pictures():
    code = (
        "import sys; sys.argv = ['filterworks', 'shape', 'conv', '--input', '5', '--kernel', '3']\n"
        "from filterworks.cli import main\n"
        "try: main()\n"
        "finally: print(sorted({name.split('.')[0] for name in sys.modules} & {'PIL', 'scipy', 'cv2', 'dask'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    code = (
        "import sys, filterworks.cli.draw, filterworks.cli.learn, filterworks.cli.shape\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'PIL', 'numpy', 'scipy'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
