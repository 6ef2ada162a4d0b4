from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_samples import Recode, load, pattern, picture
from PIL import Image

from filterworks.errors import FileError


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 53])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opencv_reads_what_opencv_wrote(tmp_path: Path, recode: Recode, channels: int, columns: int) -> None:
    pixels = pattern(channels=channels, columns=columns)
    stored = pixels if channels == 1 else np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:channels]])
    cv2.imwrite(str(tmp_path / "in.bmp"), stored)
    info, (page,) = load(tmp_path / "in.bmp")
    assert info.shape == pixels.shape
    assert info.alpha == page.alpha == ("straight" if channels == 4 else "none")
    np.testing.assert_array_equal(page.pixels, pixels)
    copy = recode(tmp_path / "in.bmp")
    np.testing.assert_array_equal(cv2.imread(str(copy), cv2.IMREAD_UNCHANGED), stored)
    np.testing.assert_array_equal(picture(copy), pixels)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes(tmp_path: Path, recode: Recode, bits: int) -> None:
    image = Image.fromarray(pattern(channels=3)).quantize(1 << bits)
    image.save(tmp_path / "in.bmp", bits=bits)
    want = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(load(tmp_path / "in.bmp")[1][0].pixels, want)
    np.testing.assert_array_equal(picture(recode(tmp_path / "in.bmp")), want)


@pytest.mark.parametrize("band", [1, 400])
def test_bands(tmp_path: Path, recode: Recode, monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    from filterworks.files import bmp

    monkeypatch.setattr(bmp, "_BAND", band)
    cv2.imwrite(str(tmp_path / "in.bmp"), pattern(channels=3)[..., ::-1])
    np.testing.assert_array_equal(load(tmp_path / "in.bmp")[1][0].pixels, pattern(channels=3))
    np.testing.assert_array_equal(picture(recode(tmp_path / "in.bmp")), pattern(channels=3))


def test_one_bit(tmp_path: Path) -> None:
    bits = pattern() > 130
    Image.fromarray(bits).save(tmp_path / "in.bmp")
    np.testing.assert_array_equal(load(tmp_path / "in.bmp")[1][0].pixels, bits * np.uint8(255))


def test_resolution_survives(tmp_path: Path, recode: Recode) -> None:
    Image.fromarray(pattern(channels=3)).save(tmp_path / "in.bmp", dpi=(300, 150))
    with Image.open(tmp_path / "in.bmp") as one, Image.open(recode(tmp_path / "in.bmp")) as two:
        assert two.info["dpi"] == one.info["dpi"]


def header(columns: int, rows: int, bits: int, method: int = 0, extra: bytes = b"") -> bytes:
    start = 54 + len(extra)
    head = struct.pack("<2sIIIIiiHH", b"BM", 0, 0, start, 40, columns, rows, 1, bits)
    return head + struct.pack("<IIiiII", method, 0, 0, 0, 0, 0) + extra


def test_from_top_to_bottom(tmp_path: Path) -> None:
    (tmp_path / "in.bmp").write_bytes(header(1, -2, 24) + bytes((1, 2, 3, 0, 4, 5, 6, 0)))
    np.testing.assert_array_equal(load(tmp_path / "in.bmp")[1][0].pixels, [[[3, 2, 1]], [[6, 5, 4]]])


@pytest.mark.parametrize(
    ("method", "masks", "word", "want"),
    [
        (0, b"", 0b0_11111_00000_10000, (255, 0, 132)),
        (3, struct.pack("<III", 0xF800, 0x07E0, 0x001F), 0b11111_100000_00001, (255, 130, 8)),
    ],
)
def test_sixteen_bits(tmp_path: Path, method: int, masks: bytes, word: int, want: tuple[int, ...]) -> None:
    (tmp_path / "in.bmp").write_bytes(header(1, 1, 16, method, masks) + struct.pack("<HH", word, 0))
    np.testing.assert_array_equal(load(tmp_path / "in.bmp")[1][0].pixels, [[want]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (header(100_000, 100_000, 24), "10,000,000,000 pixels.*--max-pixels"),
        (header(2, 2, 24) + bytes(15), "is truncated: it is 69 bytes long and its pixels end at byte 70"),
        (header(2, 2, 8, 1, bytes(1024)), r"compressed \(BMP method 1\)"),
        (header(2, 2, 7), "pixels of 7 bits"),
        (header(2, 1, 8, 0, b"")[:46] + struct.pack("<II", 2, 0) + bytes(4), "is truncated or corrupt"),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.bmp").write_bytes(content)
    with pytest.raises(FileError, match=message):
        load(tmp_path / "bad.bmp")
