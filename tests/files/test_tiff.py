from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from image_samples import Recode, load, mode, pattern, picture, save
from PIL import Image, TiffImagePlugin
from skimage import data

from filterworks.errors import FileError
from filterworks.files import ImageInfo, Page, write_image

MULTIPAGE = Path(data.__file__).parent / "multipage.tif"


def write_tiff(path: Path, pixels: np.ndarray, **options: object) -> Path:
    channels = pixels.shape[-1] if pixels.ndim == 3 else 1
    if options.get("planarconfig") == "separate":
        pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    elif channels > 1:
        options["planarconfig"] = "contig"
    options.setdefault("photometric", "rgb" if channels in (3, 4) else "minisblack")
    options.setdefault("metadata", None)
    if channels in (2, 4) and options["photometric"] != "separated":
        options.setdefault("extrasamples", ["unassalpha"])
    tifffile.imwrite(path, pixels, **options)
    return path


def check_same(first: Path, second: Path) -> None:
    with tifffile.TiffFile(first) as one, tifffile.TiffFile(second) as two:
        assert one.byteorder == two.byteorder
        assert one.is_bigtiff == two.is_bigtiff
        assert len(one.pages) == len(two.pages)
        for before, after in zip(one.pages, two.pages, strict=True):
            names = "compression predictor planarconfig photometric is_tiled tile rowsperstrip extrasamples"
            for name in names.split():
                assert getattr(before, name) == getattr(after, name), name
            np.testing.assert_array_equal(before.asarray(), after.asarray())


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_survive(tmp_path: Path, recode: Recode, dtype: str, channels: int, order: str) -> None:
    pixels = pattern(dtype, channels)
    path = write_tiff(tmp_path / "in.tif", pixels, byteorder=order, rowsperstrip=10)
    info, (page,) = load(path)
    assert (info.shape, info.dtype) == (pixels.shape, pixels.dtype)
    assert page.alpha == info.alpha == ("straight" if channels in (2, 4) else "none")
    np.testing.assert_array_equal(page.pixels, pixels)
    check_same(path, recode(path))


@pytest.mark.parametrize("compression", [None, "deflate", "lzw", "zstd", "packbits", "lzma"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("layout", ["strip", "tile", "planar", "planar tile"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_layout_and_compression_are_kept(
    tmp_path: Path, recode: Recode, compression: str | None, dtype: str, layout: str, order: str
) -> None:
    options: dict[str, object] = {"tile": (16, 32)} if "tile" in layout else {"rowsperstrip": 9}
    if "planar" in layout:
        options["planarconfig"] = "separate"
    predictor = compression not in (None, "packbits")
    pixels = pattern(dtype, 3)
    path = write_tiff(
        tmp_path / "in.tif", pixels, byteorder=order, compression=compression, predictor=predictor, **options
    )
    np.testing.assert_array_equal(load(path)[1][0].pixels, pixels)
    check_same(path, recode(path))


def test_pages_come_one_by_one_and_stay_in_order(tmp_path: Path) -> None:
    info, pages = load(MULTIPAGE)
    assert info.page_count == len(pages) == 2
    written: list[int] = []

    def results():
        for number, page in enumerate(pages):
            yield page
            written.append((tmp_path / "out.tif").stat().st_size)
            assert len(written) == number + 1

    write_image(tmp_path / "out.tif", results(), info)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), tifffile.imread(MULTIPAGE))


def test_pages_of_different_sizes_and_types(tmp_path: Path, recode: Recode) -> None:
    path = tmp_path / "mixed.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(pattern("u1", 3), photometric="rgb", metadata=None, description="first")
        writer.write(pattern("f4", 1, 11, 70), metadata=None, description="second", compression="deflate")
    copy = recode(path)
    check_same(path, copy)
    with tifffile.TiffFile(copy) as tiff:
        assert [page.description for page in tiff.pages] == ["first", "second"]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_survive(tmp_path: Path, recode: Recode, big: bool, order: str) -> None:
    icc = bytes(12) + b"mntrGRAYXYZ " + bytes(120)
    extra = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 4.5e5, 5.1e6, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
        (34736, "d", 2, (6378137.0, 298.25), True),
        (34737, "s", 0, "WGS 84|", True),
        (42112, "s", 0, "<GDALMetadata/>", True),
        (42113, "s", 0, "-9999", True),
        (274, "H", 1, 6, True),
        (271, "s", 0, "Maker", True),
        (272, "s", 0, "Model", True),
        (315, "s", 0, "Artist", True),
        (700, "B", 9, b"<x:xmp/>!", True),
        (65000, "I", 2, (7, 8), True),
    ]
    path = write_tiff(
        tmp_path / "in.tif",
        pattern("u2"),
        byteorder=order,
        bigtiff=big,
        description="any text",
        software="the scanner",
        datetime="2020:02:03 04:05:06",
        resolution=(300.0, 150.0),
        resolutionunit="INCH",
        iccprofile=icc,
        extratags=extra,
    )
    with tifffile.TiffFile(path) as one, tifffile.TiffFile(recode(path)) as two:
        before, after = one.pages[0].tags, two.pages[0].tags
        structural = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 339}
        for tag in before:
            if tag.code not in structural:
                assert after[tag.code].value == tag.value, tag
                assert after[tag.code].dtype == tag.dtype
    assert load(path)[0].metadata.resolution == (300, 150)


def test_imagej_stack(tmp_path: Path, recode: Recode) -> None:
    stack = np.stack([pattern("u2"), pattern("u2")[::-1], pattern("u2") // 3])
    path = tmp_path / "in.tif"
    tifffile.imwrite(
        path,
        stack,
        imagej=True,
        resolution=(2.5, 2.5),
        metadata={"spacing": 3.5, "unit": "um", "Labels": list("abc")},
    )
    with tifffile.TiffFile(path) as one, tifffile.TiffFile(recode(path)) as two:
        assert two.is_imagej
        assert one.imagej_metadata == two.imagej_metadata
        np.testing.assert_array_equal(two.asarray(), stack)


def test_ome_text_survives(tmp_path: Path, recode: Recode) -> None:
    stack = np.stack([pattern("u1"), pattern("u1")[::-1]])
    path = tmp_path / "in.ome.tif"
    tifffile.imwrite(path, stack, ome=True, metadata={"axes": "ZYX", "PhysicalSizeZ": 3.25})
    with tifffile.TiffFile(path) as one, tifffile.TiffFile(recode(path, "out.ome.tif")) as two:
        assert two.ome_metadata == one.ome_metadata
        np.testing.assert_array_equal(two.asarray(), stack)


def test_exif_and_gps_directories_survive(tmp_path: Path, recode: Recode) -> None:
    exif = Image.Exif()
    exif[274] = 8
    exif.get_ifd(0x8769)[33434] = TiffImagePlugin.IFDRational(1, 125)
    exif.get_ifd(0x8769)[37510] = b"ASCII\0\0\0a comment that is longer than four bytes"
    exif.get_ifd(0x8825)[2] = (48.0, 12.0, 30.5)
    path = tmp_path / "in.tif"
    Image.fromarray(pattern(channels=3)).save(path, exif=exif.tobytes())
    for copy in (recode(path), recode(path, "out.png"), recode(path, "out.jpg"), recode(path, "out.webp")):
        with Image.open(copy) as image:
            found = image.getexif()
            assert found[274] == 8
            assert found.get_ifd(0x8769)[33434] == 0.008
            assert found.get_ifd(0x8769)[37510].endswith(b"four bytes")
            assert found.get_ifd(0x8825)[2] == (48.0, 12.0, 30.5)


def test_alpha_kinds(tmp_path: Path, recode: Recode) -> None:
    for code, alpha in (("assocalpha", "premultiplied"), ("unassalpha", "straight"), ("unspecified", "none")):
        path = write_tiff(tmp_path / f"{alpha}.tif", pattern(channels=4), extrasamples=[code])
        assert load(path)[1][0].alpha == alpha
        check_same(path, recode(path))


def test_white_may_be_zero(tmp_path: Path, recode: Recode) -> None:
    path = write_tiff(tmp_path / "in.tif", pattern("u2"), photometric="miniswhite")
    np.testing.assert_array_equal(load(path)[1][0].pixels, 65535 - pattern("u2"))
    check_same(path, recode(path))
    assert picture(recode(path, "out.png"))[5, 5] == 65535 - pattern("u2")[5, 5]


def test_cmyk(tmp_path: Path, recode: Recode) -> None:
    path = write_tiff(tmp_path / "in.tif", pattern(channels=4), photometric="separated")
    check_same(path, recode(path))
    with Image.open(recode(path, "out.jpg")) as image:
        assert image.mode == "CMYK"
        assert np.abs(np.asarray(image).astype(int) - pattern(channels=4)).mean() < 8


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes_become_rgb(tmp_path: Path, recode: Recode, bits: int) -> None:
    image = Image.fromarray(pattern(channels=3)).quantize(1 << bits)
    if bits == 8:
        image.save(tmp_path / "in.tif")
        want = np.asarray(image.convert("RGB"))
        np.testing.assert_array_equal(load(tmp_path / "in.tif")[1][0].pixels, want)
        np.testing.assert_array_equal(tifffile.imread(recode(tmp_path / "in.tif")), want)


@pytest.mark.parametrize("compression", ["raw", "group3", "group4", "tiff_deflate", "packbits"])
def test_bilevel_becomes_black_and_white_bytes(tmp_path: Path, recode: Recode, compression: str) -> None:
    bits = pattern() > 120
    Image.fromarray(bits).save(tmp_path / "in.tif", compression=compression)
    np.testing.assert_array_equal(load(tmp_path / "in.tif")[1][0].pixels, bits * np.uint8(255))
    assert mode(recode(tmp_path / "in.tif")) == "L"


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_inside_tiff(tmp_path: Path, recode: Recode, subsampling: tuple[int, int]) -> None:
    photo = data.astronaut()[:128, :160]
    path = tmp_path / "in.tif"
    tifffile.imwrite(
        path,
        photo,
        photometric="ycbcr",
        compression="jpeg",
        subsampling=subsampling,
        tile=(64, 64),
        metadata=None,
    )
    stored = tifffile.imread(path)
    np.testing.assert_array_equal(load(path)[1][0].pixels, stored)
    copy = recode(path, quality=100)
    with tifffile.TiffFile(copy) as tiff:
        assert tiff.pages[0].compression == 7
        assert tiff.pages[0].subsampling == subsampling
        assert np.abs(tiff.asarray().astype(int) - stored).mean() < 3
    np.testing.assert_array_equal(picture(copy), load(copy)[1][0].pixels)


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
def test_jpeg_inside_tiff_in_strips(tmp_path: Path, recode: Recode, photometric: str) -> None:
    photo = data.astronaut()[:128, :160] if photometric == "rgb" else data.camera()[:128, :160]
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, photo, photometric=photometric, compression="jpeg", rowsperstrip=48, metadata=None)
    np.testing.assert_array_equal(load(path)[1][0].pixels, tifffile.imread(path))
    assert np.abs(tifffile.imread(recode(path)).astype(int) - photo).mean() < 5


def test_a_float_result_from_an_integer_stack(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "in.tif", pattern("u1", 3), compression="deflate", predictor=True)
    info, _ = load(path)
    save(tmp_path / "out.tif", pattern("f4"), info)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif"), pattern("f4"))


def test_big_results_become_bigtiff(tmp_path: Path) -> None:
    one = np.zeros((1, 1), np.uint8)
    info = ImageInfo("tiff", 2**31 + 1, one.shape, one.dtype)
    save(tmp_path / "out.tif", one, info)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        assert tiff.is_bigtiff


def classic(entries: list[tuple[int, int, int, int]], following: int = 0) -> bytes:
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + struct.pack("<I", following)


GREY = [(256, 4, 1, 4), (257, 4, 1, 3), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1)]


def changed(entries: list[tuple[int, int, int, int]], **values: int) -> list[tuple[int, int, int, int]]:
    found = {entry[0]: entry for entry in entries}
    found.update({int(tag[1:]): (int(tag[1:]), 4, 1, value) for tag, value in values.items()})
    return sorted(found.values())


def test_a_tiff_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "hand.tif"
    path.write_bytes(classic(changed(GREY, t273=200, t278=3, t279=12)).ljust(200, b"\0") + bytes(range(12)))
    np.testing.assert_array_equal(load(path)[1][0].pixels, np.arange(12).reshape(3, 4))


@pytest.mark.parametrize(
    ("values", "following", "message"),
    [
        ({}, 8, "pages run in a circle"),
        ({"t256": 2_000_000, "t257": 2_000_000}, 0, "holds 1 of 666667 strips"),
        (
            {"t256": 2_000_000, "t257": 2_000_000, "t278": 2_000_000},
            0,
            "is 212 bytes long and says .*--max-pixels",
        ),
        (
            {"t256": 30_000, "t257": 30_000, "t278": 30_000, "t259": 8},
            0,
            "above the limit of 300,000,000.*--max-pixels",
        ),
        ({"t258": 12}, 0, r"samples of 12 bits \(integer\), which is not supported"),
        ({"t339": 6, "t258": 64}, 0, r"64 bits \(complex\), which is not supported"),
        ({"t262": 8}, 0, r"\(photometric interpretation 8\) that is not supported"),  # signed beside unsigned
        ({"t259": 34712}, 0, "compression 34712, which is not supported; supported: none, CCITT"),
        ({"t262": 32803}, 0, "photometric interpretation 32803"),
        ({"t279": 0}, 0, "strips or tiles without data"),
        ({"t273": 5000}, 0, "is truncated"),
        ({"t279": 11}, 0, "a strip holds 11 of 12 bytes"),
        ({"t322": 1 << 20, "t323": 1 << 20, "t324": 200, "t325": 12}, 0, "--max-pixels"),
        ({"t277": 60000}, 0, "60000 samples per pixel"),
    ],
)
def test_damaged_directories(tmp_path: Path, values: dict[str, int], following: int, message: str) -> None:
    path = tmp_path / "bad.tif"
    entries = changed(GREY, **{"t273": 200, "t278": 3, "t279": 12, **values})
    path.write_bytes(classic(entries, following).ljust(200, b"\0") + bytes(range(12)))
    with pytest.raises(FileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("tag", [256, 258, 273, 277, 279, 284, 317, 338, 339, 530])
@pytest.mark.parametrize("kind", [2, 5, 11, 12])
def test_numbers_that_are_none(tmp_path: Path, tag: int, kind: int) -> None:
    entries = changed(GREY, t273=200, t278=3, t279=12, t284=1, t317=1)
    entries = sorted([*(entry for entry in entries if entry[0] != tag), (tag, kind, 1, 65)])
    path = tmp_path / "bad.tif"
    path.write_bytes(classic(entries).ljust(200, b"\0") + bytes(range(12)))
    with pytest.raises(FileError, match=f"tag {tag} does not hold whole numbers"):
        load(path)


def test_an_endless_chain_of_pages_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filterworks.files import tiff

    monkeypatch.setattr(tiff, "_MAX_PAGES", 50)
    entries = changed(GREY, t273=4, t278=3, t279=12)
    size = 2 + 12 * len(entries) + 4
    body = classic(entries)[8:-4]
    chain = b"".join(body + struct.pack("<I", 8 + size * (i + 1)) for i in range(60))
    path = tmp_path / "long.tif"
    path.write_bytes(b"II*\0\x08\0\0\0" + chain + bytes(size))
    with pytest.raises(FileError, match="more than 50 pages"):
        load(path)


def test_a_directory_may_not_claim_more_than_the_file_holds(tmp_path: Path) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(classic([*GREY, (270, 2, 0xFFFFFFF0, 8)]))
    with pytest.raises(FileError, match="tag 270"):
        load(path)


def test_imagej_pages_without_directories_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.tif"
    stack = np.stack([pattern("u1")] * 3)
    text = "ImageJ=1.53\nimages=3\nslices=3\n"
    tifffile.imwrite(path, stack[0], description=text, metadata=None)
    with path.open("ab") as file:
        file.write(stack[1:].tobytes())
    with pytest.raises(FileError, match="3 pages share one directory"):
        load(path)


def test_the_last_page_may_be_the_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "in.tif"
    with tifffile.TiffWriter(path) as writer:
        for _ in range(2):
            writer.write(pattern(), compression="deflate", metadata=None)
        offset = writer.filehandle.tell()
        writer.write(pattern(), compression="deflate", metadata=None)
    damaged = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        start = tiff.pages[2].dataoffsets[0]
    assert start >= offset - 4096
    damaged[start : start + 40] = bytes(40)
    path.write_bytes(damaged)
    from filterworks.files import open_image

    with open_image(path) as image:
        pages = image.pages()
        assert isinstance(next(pages), Page)
        assert isinstance(next(pages), Page)
        with pytest.raises(FileError, match="is corrupt"):
            next(pages)
