from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_samples import Recode, load, mode, pattern, save
from PIL import Image, ImageCms, JpegImagePlugin
from skimage import data

from filterworks.errors import FileError
from filterworks.files import ImageInfo

RETINA = Path(data.__file__).parent / "retina.jpg"
PHOTO = data.astronaut()[:203, :301]


def jpeg(image: Image.Image, **options: object) -> bytes:
    packed = io.BytesIO()
    image.save(packed, "JPEG", **{"quality": 90, **options})
    return packed.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def test_pixels_are_those_of_pillow(recode: Recode) -> None:
    info, (page,) = load(RETINA)
    with Image.open(RETINA) as image:
        np.testing.assert_array_equal(page.pixels, np.asarray(image))
    assert info.shape == page.pixels.shape
    with Image.open(recode(RETINA)) as image:
        assert np.abs(np.asarray(image).astype(int) - page.pixels).mean() < 1


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_subsampling_is_kept(tmp_path: Path, recode: Recode, subsampling: int, progressive: bool) -> None:
    path = tmp_path / "in.jpg"
    path.write_bytes(jpeg(Image.fromarray(PHOTO), subsampling=subsampling, progressive=progressive))
    with Image.open(path) as image:
        np.testing.assert_array_equal(load(path)[1][0].pixels, np.asarray(image))
    with Image.open(recode(path)) as image:
        assert JpegImagePlugin.get_sampling(image) == subsampling
        assert np.abs(np.asarray(image).astype(int) - PHOTO).mean() < 5


@pytest.mark.parametrize("factor", ["411", "420", "422", "440", "444"])
def test_subsampling_of_opencv_is_kept(tmp_path: Path, recode: Recode, factor: str) -> None:
    path = tmp_path / "in.jpg"
    flag = getattr(cv2, f"IMWRITE_JPEG_SAMPLING_FACTOR_{factor}")
    cv2.imwrite(str(path), PHOTO[..., ::-1], [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, flag])
    with Image.open(path) as one, Image.open(recode(path)) as two:
        assert [layer[1:3] for layer in one.layer] == [layer[1:3] for layer in two.layer]


def test_grey_stays_grey(tmp_path: Path, recode: Recode) -> None:
    path = tmp_path / "in.jpg"
    path.write_bytes(jpeg(Image.fromarray(data.camera())))
    assert load(path)[0].shape == (512, 512)
    assert mode(recode(path)) == "L"


def test_cmyk_stays_cmyk_with_its_polarity(tmp_path: Path, recode: Recode) -> None:
    ink = np.dstack([PHOTO, PHOTO[..., 0] // 2])
    path = tmp_path / "in.jpg"
    path.write_bytes(jpeg(Image.fromarray(ink, "CMYK"), quality=100, subsampling=0))
    info, (page,) = load(path)
    assert np.abs(page.pixels.astype(int) - ink).mean() < 1
    assert info.metadata.cmyk
    with Image.open(recode(path, quality=100)) as image:
        assert image.mode == "CMYK"
        assert np.abs(np.asarray(image).astype(int) - ink).mean() < 2


def test_rgb_without_transform_stays_so(tmp_path: Path, recode: Recode) -> None:
    path = tmp_path / "in.jpg"
    path.write_bytes(jpeg(Image.fromarray(PHOTO), keep_rgb=True))
    assert load(path)[0].metadata.own.colours == "RGB"
    with Image.open(path) as one, Image.open(recode(path)) as two:
        assert two.info.get("adobe_transform", 0) == 0
        assert "jfif" not in two.info
        assert np.abs(np.asarray(one).astype(int) - np.asarray(two)).mean() < 3


def test_metadata_survives(tmp_path: Path, recode: Recode) -> None:
    exif = Image.Exif()
    exif[274] = 6
    exif[271] = "Maker"
    exif.get_ifd(0x8769)[36867] = "2020:02:03 04:05:06"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "in.jpg"
    content = jpeg(
        Image.fromarray(PHOTO),
        exif=exif,
        icc_profile=profile,
        dpi=(300, 150),
        comment=b"a comment",
        xmp=b"<x:xmpmeta/>",
    )
    iptc = segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x08\x1c\x02\x78\0\x03abc")
    path.write_bytes(content[:2] + content[2:20] + iptc + segment(0xFE, b"another") + content[20:])
    with Image.open(path) as one, Image.open(recode(path)) as two:
        assert two.size == one.size
        for key in ("exif", "icc_profile", "dpi", "comment", "xmp", "photoshop", "jfif_density"):
            assert two.info[key] == one.info[key], key
        assert [item for item in one.applist if item[0] == "COM"] == [
            item for item in two.applist if item[0] == "COM"
        ]
    info = load(path)[0]
    assert info.metadata.resolution == (300, 150)
    assert info.metadata.icc == profile


def test_common_metadata_goes_to_other_formats(tmp_path: Path, recode: Recode) -> None:
    exif = Image.Exif()
    exif[274] = 6
    exif.get_ifd(0x8769)[36867] = "2020:02:03 04:05:06"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "in.jpg"
    path.write_bytes(
        jpeg(Image.fromarray(PHOTO), exif=exif, icc_profile=profile, dpi=(300, 150), xmp=b"<x:xmpmeta/>")
    )
    for suffix in (".png", ".tif", ".webp"):
        with Image.open(recode(path, f"out{suffix}")) as image:
            found = image.getexif()
            assert found[274] == 6
            assert found.get_ifd(0x8769)[36867] == "2020:02:03 04:05:06"
            assert image.info["icc_profile"] == profile
            xmp = image.info["xmp"]
            assert (xmp if isinstance(xmp, bytes) else xmp.encode()) == b"<x:xmpmeta/>"
            if suffix != ".webp":
                assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
        if suffix != ".webp":
            with Image.open(path) as stored:
                np.testing.assert_array_equal(
                    load(tmp_path / f"out{suffix}")[1][0].pixels, np.asarray(stored)
                )


def test_a_long_profile_is_split_and_joined(tmp_path: Path, recode: Recode) -> None:
    profile = bytes(16) + b"RGB " + np.random.default_rng(1).bytes(150_000)
    info = ImageInfo("png", 1, PHOTO.shape, PHOTO.dtype)
    from dataclasses import replace

    info = replace(info, metadata=replace(info.metadata, icc=profile))
    path = save(tmp_path / "out.jpg", PHOTO, info)
    with Image.open(path) as image:
        assert image.info["icc_profile"] == profile
    assert load(recode(path))[0].metadata.icc == profile


def test_quality_is_95_unless_told_otherwise(tmp_path: Path) -> None:
    info = ImageInfo("jpeg", 1, PHOTO.shape, PHOTO.dtype)
    cv2.imwrite(str(tmp_path / "cv2.jpg"), PHOTO[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    with (
        Image.open(save(tmp_path / "95.jpg", PHOTO, info)) as ours,
        Image.open(tmp_path / "cv2.jpg") as other,
    ):
        assert ours.quantization == other.quantization
    low = save(tmp_path / "30.jpg", PHOTO, info, quality=30)
    assert low.stat().st_size < 0.4 * (tmp_path / "95.jpg").stat().st_size


def test_data_behind_the_image_and_multi_picture_tables_are_left_out(tmp_path: Path, recode: Recode) -> None:
    content = jpeg(Image.fromarray(PHOTO))
    path = tmp_path / "in.jpg"
    path.write_bytes(content[:2] + segment(0xE2, b"MPF\0rest") + content[2:] + content)
    assert b"MPF\0" not in recode(path).read_bytes()
    # Segments of the second image that look like anything.
    odd = content[:2] + segment(0xE1, b"\xff\xfe\xff\xf0" * 9000) + content[2:]
    path.write_bytes(content)
    alone = load(path)[1][0].pixels
    path.write_bytes(content + odd)
    assert np.array_equal(load(path)[1][0].pixels, alone)


FRAME = jpeg(Image.fromarray(PHOTO))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FRAME.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "has 12 bits per sample"),
        (FRAME.replace(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11"), "SOF3: lossless or arithmetic"),
        (FRAME.replace(b"\xff\xc0\0\x11", b"\xff\xc9\0\x11"), "SOF9: lossless or arithmetic"),
        (FRAME.replace(b"\x08\0\xcb\x01\x2d", b"\x08\xff\xff\xff\xff"), "65535 × 65535.*--max-pixels"),
        (FRAME[:-2], "is truncated: .* without an end marker"),
        (FRAME[: len(FRAME) // 2].ljust(len(FRAME), b"\0"), "without an end marker"),
        (FRAME[:2] + b"\xff\xd9", "ends before its pixels begin"),
        (FRAME[:-2] + b"\xff\xfe\xff\xf0abc\xff\xd9", "is truncated: .* without an end marker"),
        (FRAME[:-900] + b"\xff\xfe" + FRAME[-898:], "is truncated: .* without an end marker"),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.jpg"
    path.write_bytes(content)
    with pytest.raises(FileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_thousands_of_scans_are_refused(tmp_path: Path) -> None:
    content = jpeg(Image.fromarray(PHOTO), progressive=True)
    start = content.rindex(b"\xff\xda")
    (tmp_path / "bad.jpg").write_bytes(content[:start] + content[start:-2] * 200 + b"\xff\xd9")
    with pytest.raises(FileError, match="more than 100 scans"):
        load(tmp_path / "bad.jpg")


def test_too_large_for_jpeg(tmp_path: Path) -> None:
    tall = np.zeros((65501, 1), np.uint8)
    with pytest.raises(FileError, match="JPEG holds up to 65500 rows"):
        save(tmp_path / "out.jpg", tall, ImageInfo("png", 1, tall.shape, tall.dtype))


def test_the_colour_of_a_pixel(tmp_path: Path) -> None:
    flat = np.zeros((32, 48, 3), np.uint8) + np.array([200, 30, 90], np.uint8)
    path = save(tmp_path / "out.jpg", flat, ImageInfo("png", 1, flat.shape, flat.dtype))
    assert np.abs(cv2.imread(str(path))[5, 5].astype(int) - [90, 30, 200]).max() < 4
    assert pattern().shape == (37, 53)
