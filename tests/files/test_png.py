from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_samples import Recode, load, pattern, picture, save
from PIL import Image, ImageCms, PngImagePlugin
from skimage import data

from filterworks.errors import FileError
from filterworks.files import ImageInfo


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    columns: int, rows: int, depth: int, colour: int, lines: bytes, *before: bytes, after: bytes = b""
) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(lines))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(before) + pixels + after + chunk(b"IEND")


def names(path: Path) -> list[bytes]:
    content, position, found = path.read_bytes(), 8, []
    while position < len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        found.append(name)
        position += 12 + length
    return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_opencv_reads_what_opencv_wrote(tmp_path: Path, recode: Recode, dtype: str, channels: int) -> None:
    pixels = pattern(dtype, channels)
    stored = pixels if channels == 1 else np.ascontiguousarray(pixels[..., [2, 1, 0, 3][:channels]])
    cv2.imwrite(str(tmp_path / "in.png"), stored)
    info, (page,) = load(tmp_path / "in.png")
    assert (info.shape, info.dtype, info.alpha) == (
        pixels.shape,
        dtype,
        "straight" if channels == 4 else "none",
    )
    np.testing.assert_array_equal(page.pixels, pixels)
    np.testing.assert_array_equal(cv2.imread(str(recode(tmp_path / "in.png")), cv2.IMREAD_UNCHANGED), stored)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("rows", [1, 2, 37])
def test_all_layouts_and_ways_to_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, channels: int, at_once: bool, rows: int
) -> None:
    from filterworks.files import png_pixels

    if not at_once:
        monkeypatch.setattr(png_pixels, "_AT_ONCE", 0)
        monkeypatch.setattr(png_pixels, "_BAND", 500)
    alpha = "straight" if channels in (2, 4) else "none"
    for pixels in (
        pattern(dtype, channels, rows),
        pattern(dtype, channels, rows) // 250,
        pattern(dtype, channels, rows) * 0,
    ):
        info = ImageInfo("png", 1, pixels.shape, pixels.dtype, alpha)
        path = save(tmp_path / "out.png", pixels, info)
        np.testing.assert_array_equal(load(path)[1][0].pixels, pixels)
        assert load(path)[0].alpha == alpha


@pytest.mark.parametrize("chosen", [0, 1, 2])
@pytest.mark.parametrize("at_once", [True, False])
def test_every_filter_is_what_the_standard_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: int, at_once: bool
) -> None:
    from filterworks.files import png_pixels

    monkeypatch.setattr(png_pixels, "_choose_filter", lambda pixels: chosen)
    if not at_once:
        monkeypatch.setattr(png_pixels, "_AT_ONCE", 0)
        monkeypatch.setattr(png_pixels, "_BAND", 700)
    pixels = pattern("uint16", 3)
    path = save(tmp_path / "out.png", pixels, ImageInfo("png", 1, pixels.shape, pixels.dtype))
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1], pixels)


def test_photos_are_about_as_long_as_those_of_opencv(tmp_path: Path) -> None:
    photo = data.astronaut()
    path = save(tmp_path / "out.png", photo, ImageInfo("png", 1, photo.shape, photo.dtype))
    cv2.imwrite(str(tmp_path / "cv2.png"), photo[..., ::-1])
    assert path.stat().st_size < 1.1 * (tmp_path / "cv2.png").stat().st_size


@pytest.mark.parametrize(("bits", "scale"), [(1, 255), (2, 85), (4, 17)])
def test_few_bits_become_eight(tmp_path: Path, bits: int, scale: int) -> None:
    values = np.arange(10) % (1 << bits)
    line = np.packbits(np.unpackbits(values.astype(np.uint8)[:, None], axis=1)[:, -bits:])
    path = tmp_path / "in.png"
    path.write_bytes(png(10, 1, bits, 0, b"\0" + line.tobytes()))
    np.testing.assert_array_equal(load(path)[1][0].pixels, [values * scale])


@pytest.mark.parametrize("transparent", [False, True])
def test_palettes_become_rgb(tmp_path: Path, recode: Recode, transparent: bool) -> None:
    image = Image.fromarray(pattern(channels=3)).quantize(9)
    image.save(tmp_path / "in.png", **({"transparency": bytes((0, 90))} if transparent else {}))
    with Image.open(tmp_path / "in.png") as stored:
        want = np.asarray(stored.convert("RGBA" if transparent else "RGB"))
    info, (page,) = load(tmp_path / "in.png")
    assert info.shape == want.shape
    np.testing.assert_array_equal(page.pixels, want)
    np.testing.assert_array_equal(picture(recode(tmp_path / "in.png")), want)


def test_a_transparent_grey_becomes_an_alpha_channel(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(png(3, 1, 8, 0, b"\0\x05\x06\x07", chunk(b"tRNS", b"\0\x06")))
    info, (page,) = load(path)
    assert info.alpha == page.alpha == "straight"
    np.testing.assert_array_equal(page.pixels, [[[5, 255], [6, 0], [7, 255]]])


def test_metadata_survives(tmp_path: Path, recode: Recode) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a picture")
    text.add_text("Comment", "long " * 100, zip=True)
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    text.add(b"gAMA", struct.pack(">I", 45455))
    text.add(b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
    text.add(b"tIME", bytes((7, 228, 1, 2, 3, 4, 5)))
    text.add(b"sBIT", b"\5\6\5")
    text.add(b"priV", b"safe to copy? no: the last letter is large")
    text.add(b"prIv", b"safe to copy")
    exif = Image.Exif()
    exif[274] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "in.png"
    Image.fromarray(pattern(channels=3)).save(
        path, pnginfo=text, exif=exif, icc_profile=profile, dpi=(300, 150)
    )
    with Image.open(path) as one, Image.open(recode(path)) as two:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
        assert two.info == one.info
        assert two.getexif()[274] == 6
    kept = names(tmp_path / "copy.png")
    assert [name for name in names(path) if name not in (b"IDAT", b"priV")] == [
        n for n in kept if n != b"IDAT"
    ]
    info = load(path)[0]
    assert info.metadata.icc == profile
    assert info.metadata.xmp == b"<x:xmpmeta/>"
    assert info.metadata.resolution == pytest.approx((300, 150), abs=0.02)


def test_chunks_of_another_layout_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Image.fromarray(pattern(channels=3)).save(
        path, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    )
    info, _ = load(path)
    save(tmp_path / "grey.png", pattern(), info)
    assert b"iCCP" not in names(tmp_path / "grey.png")


def test_a_packed_text_that_would_explode_is_copied_packed(tmp_path: Path, recode: Recode) -> None:
    bomb = zlib.compress(bytes(200 << 20), 9)
    path = tmp_path / "in.png"
    path.write_bytes(
        png(2, 1, 8, 0, b"\0\1\2", chunk(b"iCCP", b"p\0\0" + bomb), chunk(b"zTXt", b"t\0\0" + bomb))
    )
    info, _ = load(path)
    assert info.metadata.icc is None
    assert recode(path).stat().st_size < 2 * path.stat().st_size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(60000, 60000, 8, 2, b""), "60000 × 60000 = 3,600,000,000 pixels.*300,000,000.*--max-pixels"),
        (png(0, 5, 8, 2, b""), "holds 0 × 5 pixels"),
        (png(2, 2, 8, 0, b"\0\1\2"), "is corrupt: Not enough image data"),
        (png(2, 1, 3, 0, b"\0\1\2"), "colour type 0 with 3 bits"),
        (png(2, 1, 8, 0, b"\0\1\2", chunk(b"acTL", struct.pack(">II", 7, 0))), "animation of 7 frames"),
        (png(2, 1, 8, 0, b"\0\1\2").replace(b"IHDR", b"IHDS"), "header b'IHDS'"),
        (png(2, 1, 8, 0, b"\0\1\2")[:-12], r"is truncated: .* without an end chunk"),
        (b"\x89PNG\r\n\x1a\n" + png(2, 1, 8, 0, b"")[8:33] + chunk(b"IEND"), "no pixels"),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_every_checksum_is_checked(tmp_path: Path) -> None:
    content = bytearray(png(2, 1, 8, 0, b"\0\1\2", chunk(b"tEXt", b"a\0b")))
    content[content.index(b"tEXt") + 5] ^= 1
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(FileError, match=r"checksum of chunk b'tEXt' at byte 33 is wrong"):
        load(tmp_path / "bad.png")


def test_a_still_png_with_an_animation_header_of_one_frame(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_bytes(png(2, 1, 8, 0, b"\0\1\2", chunk(b"acTL", struct.pack(">II", 1, 0))))
    np.testing.assert_array_equal(load(tmp_path / "in.png")[1][0].pixels, [[1, 2]])
