"""Overviews: what they hold, and where readers look for them."""

import itertools

import numpy as np
import pytest
import tifffile

from filterworks.batch import overviews as module
from filterworks.batch.overviews import halved
from filterworks.files import open_image

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "_SMALLEST", 40)
    monkeypatch.setattr(module, "BAND", 2000)


def run(command, tmp_path, *options):
    result = command(
        "images", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-f", "gaussian:sigma=1", *options
    )
    assert result.code == 0, result.err
    return tifffile.TiffFile(tmp_path / "out.tif")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(8, 6), (7, 5), (1, 4), (9, 4, 3), (6, 5, 7)])
def test_means_of_two_by_two(dtype, shape):
    pixels = (RNG.random(shape) * 100).astype(dtype)
    padded = np.pad(pixels, [(0, shape[0] % 2), (0, shape[1] % 2)] + [(0, 0)] * (len(shape) - 2), "edge")
    wide = padded.astype(np.float64)
    expected = (wide[::2, ::2] + wide[1::2, ::2] + wide[::2, 1::2] + wide[1::2, 1::2]) / 4
    got = halved(pixels)
    assert (got.dtype, got.shape) == (pixels.dtype, expected.shape)
    np.testing.assert_allclose(
        got, expected, atol=0.5 if got.dtype.kind in "iu" else 0.05 if dtype == "float16" else 1e-5
    )


@pytest.mark.parametrize("options", [
    {"tile": (16, 32)}, {"tile": (16, 16), "compression": "zlib"}, {"rowsperstrip": 9}, {"rowsperstrip": 5, "compression": "lzw"},
])  # fmt: skip
def test_overviews_of_one_page_follow_it(command, tmp_path, options):
    pixels = RNG.integers(0, 60000, (301, 177)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, **options)
    with run(command, tmp_path, "--overviews") as tiff:
        pages = [page.asarray() for page in tiff.pages]
        assert [page.subfiletype for page in tiff.pages] == [0, 1, 1, 1]
        assert [page.shape for page in pages] == [(301, 177), (151, 89), (76, 45), (38, 23)]
        for larger, smaller in itertools.pairwise(pages):
            np.testing.assert_array_equal(smaller, halved(larger))
        assert tiff.pages[1].compression == tiff.pages[0].compression
        assert tiff.pages[1].is_tiled == ("tile" in options)


@pytest.mark.parametrize("pages", [1, 2])
def test_what_the_input_says_of_its_shape_does_not_contradict_overviews(command, tmp_path, pages, caplog):
    pixels = RNG.integers(0, 255, (pages, 90, 70)[pages == 1 :]).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", pixels, tile=(32, 32))
    with run(command, tmp_path) as tiff:
        assert tiff.series[0].kind == "shaped"
    with run(command, tmp_path, "--overviews") as tiff:
        assert tiff.series[0].levels[0].shape == pixels.shape
        assert len(tiff.series[0].levels) == 3
    assert not [record for record in caplog.records if record.name == "tifffile"]


def test_overviews_of_many_pages_are_hidden_behind_theirs(command, tmp_path):
    pixels = RNG.integers(0, 255, (3, 90, 70, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", tile=(32, 32), metadata=None)
    with run(command, tmp_path, "--overviews") as tiff:
        assert len(tiff.pages) == 3
        for page in tiff.pages:
            levels = [page.asarray(), *(level.asarray() for level in page.pages)]
            assert [level.shape for level in levels] == [(90, 70, 3), (45, 35, 3), (23, 18, 3)]
            for larger, smaller in itertools.pairwise(levels):
                np.testing.assert_array_equal(smaller, halved(larger))


def test_overviews_of_the_input_are_made_anew(command, tmp_path):
    pixels = RNG.integers(0, 255, (90, 70)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        writer.write(pixels, tile=(32, 32), metadata=None)
        writer.write(pixels[::2, ::2], tile=(32, 32), subfiletype=1, metadata=None)
    with open_image(tmp_path / "in.tif") as image:
        assert image.info.page_count == 1
    with run(command, tmp_path) as tiff:
        assert [page.shape for page in tiff.pages] == [(90, 70), (45, 35), (23, 18)]
        np.testing.assert_array_equal(tiff.pages[1].asarray(), halved(tiff.pages[0].asarray()))


def test_a_small_image_keeps_as_many_overviews_as_it_had(command, tmp_path):
    pixels = RNG.integers(0, 255, (2, 39, 20)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for page in pixels:
            writer.write(page, subifds=9, metadata=None)
            for _ in range(9):
                writer.write(page[::2, ::2], subfiletype=1, metadata=None)
    with run(command, tmp_path) as tiff:
        for page in tiff.pages:
            shapes = [level.shape for level in page.pages]
            assert shapes == [(20, 10), (10, 5), (5, 3), (3, 2), (2, 1), (1, 1)]  # no more can be made
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for _ in range(2):
            writer.write(pixels[0], metadata=None)
            writer.write(pixels[0, ::2, ::2], subfiletype=1, metadata=None)
    with run(command, tmp_path, "--force") as tiff:
        assert [[level.shape for level in page.pages] for page in tiff.pages] == [[(20, 10)]] * 2


def test_other_formats_have_none(command, tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((50, 50), np.uint8))
    result = command("images", tmp_path / "in.tif", "-o", tmp_path / "out.png", "-f", "sobel", "--overviews")
    assert result.code == 1
    assert "--overviews are for TIFFs" in result.err


def test_transparent_pixels_lend_no_colour(command, tmp_path):
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, ::2] = (200, 100, 50, 255)  # every other column is opaque, the others hide green
    pixels[:, 1::2] = (0, 255, 0, 0)
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16)
    )
    result = command(
        "images", tmp_path / "in.tif", "-o", tmp_path / "out.tif", "-f", "mean:size=1", "--overviews"
    )
    assert result.code == 0, result.err
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        small = tiff.pages[1].asarray()
    np.testing.assert_array_equal(small[..., :3], np.broadcast_to((200, 100, 50), (32, 32, 3)))
    assert set(np.unique(small[..., 3])) <= {127, 128}


def test_strips_of_jpeg_are_whole_blocks(command, tmp_path):
    pixels = np.tile(
        RNG.integers(0, 255, (16, 16, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1), (20, 12, 1)
    )
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="ycbcr", compression="jpeg", rowsperstrip=2560)
    module_limit = "filterworks.files.tiff_writer._MAX_STRIP"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module_limit, 1 << 20)
        with run(command, tmp_path) as tiff:
            assert tiff.pages[0].rowsperstrip % 32 == 0
            assert len(tiff.pages[0].dataoffsets) > 1
