from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from image_samples import Recode, load, pattern
from PIL import Image

from filterworks.errors import FileError


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize(("channels", "suffix"), [(1, ".pgm"), (3, ".ppm"), (1, ".pnm"), (3, ".pnm")])
@pytest.mark.parametrize("binary", [True, False])
def test_opencv_reads_what_opencv_wrote(
    tmp_path: Path, recode: Recode, dtype: str, channels: int, suffix: str, binary: bool
) -> None:
    pixels = pattern(dtype, channels)
    stored = pixels if channels == 1 else np.ascontiguousarray(pixels[..., ::-1])
    path = tmp_path / f"in{suffix}"
    cv2.imwrite(str(path), stored, [cv2.IMWRITE_PXM_BINARY, int(binary)])
    info, (page,) = load(path)
    assert (info.shape, info.dtype) == (pixels.shape, dtype)
    np.testing.assert_array_equal(page.pixels, pixels)
    copy = recode(path)
    assert copy.read_bytes()[:2] == (b"P5" if channels == 1 else b"P6")
    np.testing.assert_array_equal(cv2.imread(str(copy), cv2.IMREAD_UNCHANGED), stored)


def test_text_with_comments(tmp_path: Path) -> None:
    (tmp_path / "in.pgm").write_bytes(b"P2 # kind\n# columns\n3 2\n15\n0 1 2 # first row\n13\n14 15")
    info, (page,) = load(tmp_path / "in.pgm")
    np.testing.assert_array_equal(page.pixels, [[0, 1, 2], [13, 14, 15]])
    assert info.metadata.own == 15


def test_bitmaps(tmp_path: Path) -> None:
    bits = pattern() > 120
    Image.fromarray(bits).save(tmp_path / "in.pnm")
    np.testing.assert_array_equal(load(tmp_path / "in.pnm")[1][0].pixels, bits * np.uint8(255))
    (tmp_path / "text.pnm").write_bytes(b"P1\n3 2\n101\n0 0 1\n")
    np.testing.assert_array_equal(load(tmp_path / "text.pnm")[1][0].pixels, [[0, 255, 0], [255, 255, 0]])


def test_the_largest_value_is_kept_and_not_exceeded(tmp_path: Path, recode: Recode) -> None:
    path = tmp_path / "in.pgm"
    path.write_bytes(b"P5 2 1 1023\n" + bytes((0, 7, 3, 255)))
    copy = recode(path)
    assert copy.read_bytes() == b"P5\n2 1\n1023\n" + bytes((0, 7, 3, 255))
    from image_samples import save

    save(copy, np.array([[5, 2000]], np.uint16), load(path)[0])
    np.testing.assert_array_equal(load(copy)[1][0].pixels, [[5, 1023]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"P5 3 2 255\n12345", "is truncated"),
        (b"P2 3 2 255\n1 2 3 4 5", "holds 5 of 6 samples"),
        (b"P2 3 1 255\n1 x 3", "a sample is not a number"),
        (b"P2 3 1 255\n1 -2 3", "a sample is negative"),
        (b"P2 3 1 15\n1 16 3", "a sample is 16, above the largest value 15"),
        (b"P1 3 1\n1 2 0", "only 0 and 1"),
        (b"P5 3\n", "its header does not name columns, rows and the largest value"),
        (b"P5 3 2 70000\n", "1 to 65535; got 70000"),
        (b"P5 99999 99999 255\n", "9,999,800,001 pixels.*--max-pixels"),
        (b"P7\nWIDTH 3\n", "PAM"),
        (b"P5 3 0 255\n", "3 × 0 pixels"),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.pnm").write_bytes(content)
    with pytest.raises(FileError, match=message):
        load(tmp_path / "bad.pnm")
