from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from image_samples import Recode, load, mode, pattern, picture, save
from PIL import Image, ImageCms

from filterworks.errors import FileError
from filterworks.files import ImageInfo


@pytest.mark.parametrize("channels", [3, 4])
def test_lossless_stays_exact(tmp_path: Path, recode: Recode, channels: int) -> None:
    pixels = pattern(channels=channels)
    if channels == 4:
        pixels[:5, :, 3] = 0
    path = tmp_path / "in.webp"
    Image.fromarray(pixels).save(path, lossless=True, exact=True)
    info, (page,) = load(path)
    assert info.alpha == page.alpha == ("straight" if channels == 4 else "none")
    np.testing.assert_array_equal(page.pixels, pixels)
    copy = recode(path)
    assert b"VP8L" in copy.read_bytes()[:80]
    np.testing.assert_array_equal(picture(copy), pixels)


@pytest.mark.parametrize("channels", [3, 4])
def test_lossy_stays_lossy(tmp_path: Path, recode: Recode, channels: int) -> None:
    from skimage import data

    photo = data.astronaut()[:99, :140]
    pixels = photo if channels == 3 else np.dstack([photo, photo[..., 0]])
    path = tmp_path / "in.webp"
    Image.fromarray(pixels).save(path, quality=90)
    with Image.open(path) as image:
        np.testing.assert_array_equal(load(path)[1][0].pixels, np.asarray(image))
    copy = recode(path)
    assert b"VP8 " in copy.read_bytes()[:160] or channels == 4
    assert b"VP8L" not in copy.read_bytes()
    assert mode(copy) == ("RGB" if channels == 3 else "RGBA")
    assert np.abs(picture(copy).astype(int) - pixels)[..., :3].mean() < 6


def test_metadata_survives(tmp_path: Path, recode: Recode) -> None:
    exif = Image.Exif()
    exif[274] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "in.webp"
    Image.fromarray(pattern(channels=3)).save(path, exif=exif, icc_profile=profile, xmp=b"<x:xmpmeta/>")
    with Image.open(recode(path)) as image:
        assert image.getexif()[274] == 6
        assert image.info["icc_profile"] == profile
        assert image.info["xmp"] == b"<x:xmpmeta/>"


def test_animations_are_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(pattern(channels=3) // n) for n in (1, 2, 3)]
    frames[0].save(tmp_path / "in.webp", save_all=True, append_images=frames[1:])
    with pytest.raises(FileError, match="animation of 3 frames"):
        load(tmp_path / "in.webp")


def test_limits(tmp_path: Path) -> None:
    wide = np.zeros((1, 16384, 3), np.uint8)
    with pytest.raises(FileError, match="WebP holds up to 16383 rows"):
        save(tmp_path / "out.webp", wide, ImageInfo("png", 1, wide.shape, wide.dtype))
    save(tmp_path / "out.webp", wide[:, :-1], ImageInfo("png", 1, wide.shape, wide.dtype))
    with pytest.raises(FileError, match="--max-pixels"):
        load(tmp_path / "out.webp", max_pixels=16382)
