"""What all formats have in common: errors, limits, damage, threads."""

from __future__ import annotations

import errno
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_samples import load, pattern, save
from PIL import Image

from filterworks.errors import FileError, FilterworksError
from filterworks.files import IMAGE_SUFFIXES, ImageInfo, Page, check_writable, open_image, write_image


def samples() -> dict[str, bytes]:
    """Small files of every format, written by others."""
    grey, rgb, rgba = (pattern(channels=n, rows=19, columns=23) for n in (1, 3, 4))
    found = {}

    def pillow(name: str, pixels: np.ndarray, form: str, **options: object) -> None:
        packed = io.BytesIO()
        Image.fromarray(pixels).save(packed, form, **options)
        found[name] = packed.getvalue()

    exif = Image.Exif()
    exif[274] = 3
    exif.get_ifd(0x8769)[37510] = b"a comment of some length"
    pillow("grey.png", grey, "PNG", dpi=(72, 72), exif=exif)
    pillow("rgba.png", rgba, "PNG")
    pillow("rgb.jpg", rgb, "JPEG", exif=exif, comment=b"some text")
    pillow("progressive.jpg", rgb, "JPEG", progressive=True)
    pillow("lossy.webp", rgba, "WEBP", exif=exif)
    pillow("lossless.webp", rgb, "WEBP", lossless=True)
    pillow("rgb.bmp", rgb, "BMP")
    pillow("grey.bmp", grey, "BMP")
    pillow("grey.pgm", grey, "PPM")
    pillow("rgb.ppm", rgb, "PPM")
    pillow("exif.tif", rgb, "TIFF", exif=exif)
    for name, options in {
        "raw.tif": {},
        "deflate.tif": {"compression": "deflate", "predictor": True},
        "lzw.tif": {"compression": "lzw"},
        "packbits.tif": {"compression": "packbits"},
        "zstd.tif": {"compression": "zstd", "tile": (16, 16)},
        "jpeg.tif": {"compression": "jpeg", "photometric": "ycbcr"},
        "big.tif": {"bigtiff": True, "planarconfig": "contig"},
    }.items():
        packed = io.BytesIO()
        tifffile.imwrite(
            packed, rgb, **{"photometric": "rgb", "metadata": None, "description": "text", **options}
        )
        found[name] = packed.getvalue()
    found["plain.pgm"] = b"P2 23 19 255\n" + b" ".join(b"%d" % value for value in grey.ravel()) + b"\n"
    return found


SAMPLES = samples()


@pytest.mark.parametrize("name", SAMPLES)
def test_the_samples_are_good(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SAMPLES[name])
    info, (page,) = load(tmp_path / name)
    assert page.pixels.shape == info.shape
    assert info.shape[:2] == (19, 23)


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_anywhere(tmp_path: Path, name: str) -> None:
    content = SAMPLES[name]
    whole = load_bytes(tmp_path / name, content)
    assert whole is not None
    for end in sorted(
        {*range(1, 60), *range(60, len(content) - 1, 13), *range(len(content) - 12, len(content))}
    ):
        try:
            page = load_bytes(tmp_path / name, content[:end])
        except FileError as error:
            check_message(error, tmp_path / name)
            continue
        if name == "plain.pgm" and end > len(content) - 4:
            continue  # the digits of the last number are cut: nothing in the format tells
        # Padding, a last newline or a directory's spare bytes may go; a pixel may not.
        np.testing.assert_array_equal(page, whole, err_msg=f"{name} cut to {end} of {len(content)} bytes")


def check_message(error: FileError, path: Path) -> None:
    assert str(error).startswith(f"{path}: ")
    assert "\n" not in str(error)


def load_bytes(path: Path, content: bytes) -> np.ndarray:
    path.write_bytes(content)
    return load(path)[1][0].pixels


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_anywhere(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(len(SAMPLES[name]))
    path = tmp_path / name
    for _ in range(200):
        content = bytearray(SAMPLES[name])
        for position in random.integers(
            0, min(len(content), int(random.choice([64, 400, 1 << 20]))), random.integers(1, 5)
        ):
            content[position] = random.choice([0, 255, 128, random.integers(256)])
        path.write_bytes(content)
        try:
            info, pages = load(path, max_pixels=1_000_000)
        except FileError as error:
            check_message(error, path)
            continue
        write_image(tmp_path / f"out{path.suffix}", pages, info)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [s for s in IMAGE_SUFFIXES if s != ".zarr"])
def test_noise_is_no_image(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(np.random.default_rng(3).bytes(500))
    with pytest.raises(FileError, match=r"is not a .* file: its first bytes are"):
        load(path)


def test_what_can_be_wrong_with_a_path(tmp_path: Path) -> None:
    def reason(path: Path) -> str:
        with pytest.raises(FileError) as caught:
            load(path)
        start = f"{path}: "
        assert str(caught.value).startswith(start)
        return str(caught.value)[len(start) :]

    assert reason(tmp_path / "none.png") == "does not exist"
    (tmp_path / "folder.png").mkdir()
    assert reason(tmp_path / "folder.png") == "is a folder, not a file"
    (tmp_path / "empty.png").touch()
    assert reason(tmp_path / "empty.png") == "is empty (0 bytes)"
    os.mkfifo(tmp_path / "pipe.png")
    assert reason(tmp_path / "pipe.png") == "is not a regular file"
    (tmp_path / "photo.jpg").write_bytes(SAMPLES["grey.png"])
    want = "is named .jpg (JPEG) but holds PNG data; rename it to photo.png"
    assert reason(tmp_path / "photo.jpg") == want
    (tmp_path / "photo.gif").write_bytes(b"GIF89a")
    assert reason(tmp_path / "photo.gif").startswith("unknown image suffix '.gif'")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "in.png"
    path.write_bytes(SAMPLES["grey.png"])

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("filterworks.files.source.open", refuse, raising=False)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(FileError, match=r"in\.png: permission denied"):
        load(path)
    with pytest.raises(FileError, match=r"out\.png: permission denied"):
        save(tmp_path / "out.png", pattern(), ImageInfo("png", 1, (37, 53), np.dtype("u1")))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp", ".ppm"])
def test_no_space_left(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"out{suffix}").symlink_to("/dev/full")
    pixels = pattern(channels=3)
    with pytest.raises(FileError, match=r"out\.\w+: no space left on device"):
        save(tmp_path / f"out{suffix}", pixels, ImageInfo("png", 1, pixels.shape, pixels.dtype))


@pytest.mark.parametrize("name", SAMPLES)
def test_the_limit_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SAMPLES[name])
    with pytest.raises(
        FileError, match=r"23 × 19 = 437 pixels, above the limit of 436; raise it with --max-pixels"
    ):
        load(tmp_path / name, max_pixels=436)
    load(tmp_path / name, max_pixels=437)


@pytest.mark.parametrize(
    ("suffix", "dtype", "channels", "alpha", "message"),
    [
        (".jpg", "uint16", 4, "straight", "JPEG holds one page of uint8, grey, RGB or CMYK; "
         "this image has uint16, 4 channels with alpha; use .png or .tif or .tiff"),
        (".jpg", "uint8", 4, "none", "this image has uint8, 4 channels; use .tif or .tiff"),
        (".png", "float32", 1, "none", "this image has float32, 1 channel; use .tif or .tiff"),
        (".png", "uint8", 4, "premultiplied", "4 channels with premultiplied alpha"),
        (".webp", "uint8", 1, "none", "WebP holds one page of uint8, RGB with or without alpha"),
        (".bmp", "uint16", 3, "none", "use .png or .tif or .tiff or .pgm or .ppm or .pnm"),
        (".pgm", "uint8", 2, "straight", "PNM holds one page of uint8 or uint16, grey or RGB"),
        (".tif", "complex64", 1, "none", "no image format here can take it"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(
    tmp_path: Path, suffix: str, dtype: str, channels: int, alpha: str, message: str
) -> None:
    pixels = np.ones((3, 5, channels) if channels > 1 else (3, 5), dtype)
    info = ImageInfo("tiff", 1, pixels.shape, pixels.dtype, alpha)
    assert message in str(check_writable(suffix, info.layout))
    with pytest.raises(FileError) as caught:
        save(tmp_path / f"out{suffix}", pixels, info)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_several_pages_need_a_format_that_has_pages(tmp_path: Path) -> None:
    info = ImageInfo("tiff", 2, (37, 53), np.dtype("u1"))
    assert "this image has uint8, 1 channel, 2 pages; use .tif or .tiff" in str(
        check_writable(".png", info.layout, info.page_count)
    )
    with pytest.raises(FileError, match=r"2 pages; use \.tif"):
        save(tmp_path / "out.png", [pattern(), pattern()], info)
    with pytest.raises(FileError, match="no page to write"):
        save(tmp_path / "out.png", [], info)
    assert check_writable(".tif", info.layout, info.page_count) is None
    assert "unknown image suffix '.gif'" in str(check_writable(".gif", info.layout))


def test_failures_of_the_pages_are_not_blamed_on_the_output(tmp_path: Path) -> None:
    def broken() -> Iterator[Page]:
        yield Page(pattern())
        raise FileError("input.tif: is truncated")

    with pytest.raises(FileError, match=r"^input\.tif: is truncated$"):
        write_image(tmp_path / "out.tif", broken(), ImageInfo("tiff", 2, (37, 53), np.dtype("u1")))


@pytest.mark.parametrize("name", SAMPLES)
def test_info_can_be_sent_to_another_process(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(SAMPLES[name])
    info, pages = load(path)
    again = pickle.loads(pickle.dumps(info))
    assert again == info
    write_image(tmp_path / f"one{path.suffix}", pages, info)
    write_image(tmp_path / f"two{path.suffix}", pages, again)
    assert (tmp_path / f"one{path.suffix}").read_bytes() == (tmp_path / f"two{path.suffix}").read_bytes()


def test_many_threads_at_once(tmp_path: Path) -> None:
    for name, content in SAMPLES.items():
        (tmp_path / name).write_bytes(content)
    alone = {name: load(tmp_path / name)[1][0].pixels for name in SAMPLES}

    def work(number: int) -> None:
        name = list(SAMPLES)[number % len(SAMPLES)]
        info, pages = load(tmp_path / name)
        np.testing.assert_array_equal(pages[0].pixels, alone[name])
        write_image(tmp_path / f"{number}{Path(name).suffix}", pages, info)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(160)))


def test_pages_are_native_and_never_bool(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", pattern("u2"), byteorder=">", metadata=None)
    with open_image(tmp_path / "in.tif") as image:
        assert image.info.dtype.isnative
        assert next(image.pages()).pixels.dtype.isnative


def test_importing_costs_no_codec() -> None:
    code = (
        "import sys, filterworks.files; "
        "print([n for n in ('PIL', 'tifffile', 'imagecodecs', 'cv2', 'scipy') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_errors_are_those_of_the_package() -> None:
    assert issubclass(FileError, FilterworksError)
