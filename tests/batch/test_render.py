"""Bands, blocks of columns, threads and strips change nothing."""

import threading

import numpy as np
import pytest
import skimage.data
import tifffile

from filterworks import Chain
from filterworks.batch import render as module
from filterworks.batch.flow import Flow
from filterworks.batch.pixels import to_pixels
from filterworks.batch.render import Rendering, grid, render
from filterworks.engine import written
from filterworks.files import ImageInfo, Page, create_image, open_image

COLOUR = skimage.data.astronaut()[:201, :97]
BOUNDARIES = ["constant", "nearest", "symmetric", "mirror", "wrap", "omit"]


@pytest.fixture
def small(monkeypatch):
    """Bands and blocks of a few thousand samples, so that small images have many of both."""
    monkeypatch.setattr(module, "BAND", 1500)
    monkeypatch.setattr(module, "_WIDE", 1500)
    monkeypatch.setattr(module, "_WHOLE", 0)


class Kept:
    """A sheet in memory, a few rows of which are stored together."""

    def __init__(self, page, unit=1, room=None):
        self.unit, self.pixels = unit, np.empty(page.shape, page.dtype) if room is None else room
        self.starts, self.finished = [], False

    def pack(self, start, rows):
        return start, rows

    def append(self, packed):
        start, rows = packed
        assert start % self.unit == 0
        self.starts.append(start)
        self.pixels[start : start + len(rows)] = rows

    def finish(self):
        self.finished = True


def rendered(page, text, range_="clip", *, threads=1, unit=1, reuse=False):
    pixels = page.pixels.copy()
    sheet = Kept(page, unit, pixels if reuse else None)
    clipped = render(
        Page(pixels, page.alpha),
        sheet,
        Rendering(Chain.parse(text), range_),
        threads=threads,
        overwritten=reuse,
    )
    assert sheet.finished
    assert sheet.starts == sorted(sheet.starts)
    return sheet.pixels, clipped, len(sheet.starts)


@pytest.mark.parametrize("range_", ["clip", "stretch", "offset"])
def test_reusing_the_pixels_changes_nothing(small, range_):
    alpha = np.dstack([COLOUR, COLOUR[..., :1]])
    for text in ("gaussian:sigma=2", "sobel", "median:size=3 | unsharp_mask", "mean:size=[9,1]", "roberts"):
        for page in (Page(COLOUR), Page(alpha, "straight"), Page(COLOUR[..., 0])):
            expected, clipped, bands = rendered(page, text, range_)
            assert bands > 2
            got, cut, _ = rendered(page, text, range_, reuse=True)
            np.testing.assert_array_equal(got, expected)
            assert cut == clipped


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("text", [
    "gaussian:sigma=2,boundary={0}",
    "gaussian:sigma=[0.5,9],boundary={0}",
    "mean:size=[4,7],boundary={0}",
    "kernel:weights=[[1,2,4],[0,3,-5]],boundary={0}",
    "median:size=3,boundary={0} | unsharp_mask:sigma=1,boundary={0}",
    "gaussian:sigma=1,boundary={0} | sobel",
    "mean:size=7,boundary={0} | mean:size=[50,70],boundary={0}",
])  # fmt: skip
def test_bands_equal_the_whole(small, text, boundary, dtype):
    pixels = COLOUR.astype(dtype) * (257 if dtype == "uint16" else 1)
    text = text.format(boundary)
    if boundary == "omit":  # only for weighted means
        text = text.replace("[0,3,-5]", "[0,3,5]").replace("median:size=3,boundary=omit | ", "")
    chain = Chain.parse(text)
    expected, _ = to_pixels(chain(pixels, axes=(0, 1)), pixels.dtype, "clip")
    _, clipped = to_pixels(chain(pixels.astype(np.float32), axes=(0, 1)), pixels.dtype, "clip")
    for threads, unit in ((1, 1), (3, 1), (2, 16)):
        got, cut, _ = rendered(Page(pixels), text, threads=threads, unit=unit)
        np.testing.assert_array_equal(got, expected)
        assert cut == clipped


@pytest.mark.parametrize("text", [
    "kernel:weights=[[1,1,1],[1,1,1],[1,1,1]]",
    "kernel:weights=[[0,-2,5,-2,0]]",
    "unsharp_mask:sigma=3,amount=8",
    "sharpen:amount=3 | mean:size=3",
    "emboss:amount=4",
    "laplace",
    "sobel",
])  # fmt: skip
def test_what_is_cut_to_the_range_is_counted(text):
    grey = COLOUR[..., 0]
    values = Chain.parse(text)(grey.astype(np.float64))
    beyond = np.count_nonzero((values < -0.5) | (values > 255.5))
    assert beyond > grey.size // 100
    shown, clipped, _ = rendered(Page(grey), text, "clip")
    # Single precision may see a value at the very limit on its other side.
    assert clipped == pytest.approx(beyond, abs=3)
    assert np.abs(shown - values.clip(0, 255)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("text", ["gaussian:sigma=2", "median:size=3", "kernel:weights=[[0.2,0.8]]"])
def test_means_of_extremes_stay_within_them(text):
    extremes = np.where(COLOUR[..., 0] > 90, np.uint8(255), np.uint8(0))
    assert not Chain.parse(text).may_exceed
    assert rendered(Page(extremes), text, "clip")[1] == 0
    assert rendered(Page(extremes.astype(np.uint16) * 257), text, "clip")[1] == 0


def test_the_reach_may_exceed_band_block_and_image(small):
    for text in ("gaussian:sigma=60", "gaussian:sigma=30,boundary=wrap", "mean:size=[301,3],boundary=mirror"):
        whole = Chain.parse(text)(COLOUR, axes=(0, 1))
        got, _, _ = rendered(Page(COLOUR), text, threads=2)
        assert np.abs(got.astype(int) - whole).max() <= 1


def test_float_images_agree_to_the_last_digits(small):
    pixels = COLOUR[..., 0].astype(np.float32) / 255
    for text in ("gaussian:sigma=2", "disk:radius=9", "mean:size=5 | sharpen"):
        whole = Chain.parse(text)(pixels)
        np.testing.assert_allclose(rendered(Page(pixels), text)[0], whole, atol=2e-6)


def test_the_grid_does_not_look_at_memory_or_threads():
    page = Page(np.broadcast_to(np.uint8(0), (50_000, 60_000, 3)))
    for text in ("sobel", "gaussian:sigma=25", "gaussian:sigma=250", "gaussian:sigma=100,boundary=wrap"):
        cut = grid(page.shape, page.unit, Rendering(Chain.parse(text), "clip"), 256)
        if text in ("sobel", "gaussian:sigma=25"):
            assert cut.memory(page.shape, page.dtype, 1) < 1e9
        assert cut.memory(page.shape, page.dtype, 2) > cut.memory(page.shape, page.dtype, 1)
        assert [write.start for _, _, write in cut.rows[1:]] == [write.stop for _, _, write in cut.rows[:-1]]
        assert all(write.start % 256 == 0 for _, _, write in cut.rows)


def test_a_page_that_is_held_is_filtered_in_one_piece_by_what_needs_nothing_in_between(monkeypatch):
    page = Page(np.random.default_rng(2).integers(0, 256, (1500, 1200, 3), np.uint8))
    text = "gaussian:sigma=2"
    cut = grid(page.shape, 1, Rendering(Chain.parse(text), "clip"), held=page.dtype)
    assert cut.is_whole
    assert cut.memory(page.shape, page.dtype, 1) == page.pixels.nbytes
    one, _, _ = rendered(page, text)
    monkeypatch.setattr(module, "_WHOLE", 0)
    assert not grid(page.shape, 1, Rendering(Chain.parse(text), "clip"), held=page.dtype).is_whole
    assert rendered(page, text, threads=2)[0].tobytes() == one.tobytes()
    monkeypatch.undo()
    monkeypatch.setattr(module, "obstacle", lambda: "for this test")
    uncompiled = grid(page.shape, 1, Rendering(Chain.parse(text), "clip"), held=page.dtype)
    assert uncompiled.is_whole
    assert uncompiled.memory(page.shape, page.dtype, 1) > 16 * page.pixels.nbytes
    monkeypatch.undo()
    assert grid(page.shape, 1, Rendering(Chain.parse("sobel"), "abs"), held=page.dtype).is_whole
    for flat in ((31, 600_000), (170_000, 100)):  # there would be floats
        assert not grid(flat, 1, Rendering(Chain.parse("sobel"), "abs"), held=page.dtype).is_whole
    for other in (
        f"{text},boundary=omit",
        f"{text},nan_policy=omit",
        "sobel | mean",
        "sobel:boundary=wrap",
        "gaussian:sigma=5",
        "gaussian:sigma=2 | mean",
        "unsharp_mask",
        "disk:radius=2",
    ):
        assert not grid(page.shape, 1, Rendering(Chain.parse(other), "clip"), held=page.dtype).is_whole


AT_ONCE = [
    "sobel", "scharr:axis=0", "prewitt", "roberts", "laplace:neighbours=8", "sharpen", "emboss:amount=2",
    "kernel:weights=[[1,2],[0,-4],[2,0]]", "unsharp_mask:sigma=[1,1.5],amount=3,threshold=2",
]  # fmt: skip


@pytest.mark.parametrize("text", AT_ONCE)
@pytest.mark.parametrize("boundary", ["symmetric", "nearest", "mirror", "constant", "wrap"])
def test_pixels_had_at_once_are_those_of_the_values(text, boundary, monkeypatch):
    used, at_once = [], Chain.pixels
    monkeypatch.setattr(written, "_REPAYS", 1)

    def noted(*arguments, **options):
        used.append(at_once(*arguments, **options))
        return used[-1]

    text = f"{text}{',' if ':' in text else ':'}boundary={boundary}"
    rng = np.random.default_rng(8)
    for dtype, shape in ((np.uint8, (230, 150, 3)), (np.uint16, (140, 300))):
        page = Page(rng.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True))
        for how in ("auto", "clip", "abs", "offset", "stretch"):
            made = []
            for whole, band, pixels in ((1 << 26, 1, noted), (0, 1 << 15, noted), (0, 1 << 20, _no_pixels)):
                monkeypatch.setattr(module, "_WHOLE", whole)
                monkeypatch.setattr(module, "BAND", band)
                monkeypatch.setattr(Chain, "pixels", pixels)
                module._cut.cache_clear()
                out, clipped, _ = rendered(page, text, how, threads=2)
                made.append((out.tobytes(), clipped))
            assert made[0] == made[1] == made[2], (dtype, how)
    module._cut.cache_clear()
    # While one thread writes the loop the other goes on without.
    assert sum(one is not None for one in used) >= 8


def _no_pixels(*_, **__):
    return None


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_what_fails_in_one_band_ends_the_flow(threads):
    bands = [(slice(max(i - 1, 0), min(i + 2, 40)), slice(0, 1), slice(i, i + 1)) for i in range(40)]
    taken = []

    def work(band, window):
        if band[2].start == 17:
            raise ValueError("seventeen")
        return band[2].start

    def read(start, stop):
        return np.arange(start, stop)

    with pytest.raises(ValueError, match="seventeen"):
        Flow(bands, read, work, lambda band, made: taken.append(made)).run(threads)
    assert taken == list(range(len(taken)))
    assert len(taken) <= 17
    assert threading.active_count() < 50


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_row_is_read_once_and_written_in_order(threads):
    bands = [(slice(max(i - 1, 0), min(i + 2, 40)), slice(0, 1), slice(i, i + 1)) for i in range(40)]
    read, taken = [], []

    def rows(start, stop):
        read.append(start)
        return np.arange(start, stop)

    def work(band, window):
        np.testing.assert_array_equal(window, np.arange(band[0].start, band[0].stop))
        return band[2].start

    Flow(bands, rows, work, lambda band, made: taken.append(made)).run(threads)
    assert sorted(read) == taken == list(range(40))


TIFFS = [
    {"tile": (16, 32)},
    {"tile": (16, 32), "compression": "zlib", "predictor": True},
    {"tile": (32, 16), "compression": "zstd", "planarconfig": "separate"},
    {"rowsperstrip": 7},
    {"rowsperstrip": 7, "compression": "lzw"},
    {"rowsperstrip": 1000},
    {"rowsperstrip": 1000, "compression": "zlib"},
    {"rowsperstrip": 9, "planarconfig": "separate", "bigtiff": True, "byteorder": ">"},
]


def write(path, pixels, options):
    planes = np.moveaxis(pixels, -1, 0) if "planarconfig" in options else pixels
    tifffile.imwrite(path, planes, photometric="rgb", **options)


@pytest.mark.parametrize("options", TIFFS)
@pytest.mark.parametrize("boundary", ["symmetric", "wrap"])
def test_tiffs_of_every_layout_equal_the_whole(small, tmp_path, options, boundary):
    pixels = COLOUR.astype(np.uint16) * 211
    write(tmp_path / "in.tif", pixels, options)
    text = f"gaussian:sigma=[2,5],boundary={boundary}"
    with open_image(tmp_path / "in.tif") as image, create_image(tmp_path / "out.tif", image.info) as writer:
        for page in image.rasters():
            render(page, writer.sheet(page), Rendering(Chain.parse(text), "clip"), threads=2)
    got = tifffile.imread(tmp_path / "out.tif")
    got = np.moveaxis(got, 0, -1) if "planarconfig" in options else got
    np.testing.assert_array_equal(got, Chain.parse(text)(pixels, axes=(0, 1)))


def test_rows_can_be_had_in_any_portion(tmp_path):
    pixels = COLOUR.astype(np.uint16) * 211
    for number, options in enumerate(TIFFS):
        write(tmp_path / f"{number}.tif", pixels, options)
        with open_image(tmp_path / f"{number}.tif") as image:
            (page,) = image.rasters()
            for start, stop in ((0, 1), (5, 64), (16, 32), (100, 201), (200, 201), (0, 201)):
                np.testing.assert_array_equal(page.rows(start, stop), pixels[start:stop])


def test_large_strips_are_divided(tmp_path):
    like = ImageInfo("tiff", 1, (3000, 2000), np.dtype("uint16"))
    tifffile.imwrite(tmp_path / "in.tif", np.zeros((3000, 2000), np.uint16), rowsperstrip=3000)
    with open_image(tmp_path / "in.tif") as image, create_image(tmp_path / "out.tif", image.info) as writer:
        page = next(image.rasters())
        assert page.unit == 1
        assert writer.sheet(page).unit * 4000 <= 8 << 20
        sheet = writer.sheet(like)
        for start in range(0, 3000, sheet.unit):
            sheet.append(sheet.pack(start, page.rows(start, min(start + sheet.unit, 3000))))


@pytest.mark.parametrize("range_", ["stretch", "offset", "abs"])
def test_ranges_look_at_values_before_they_are_rounded(small, range_):
    text = "kernel:weights=[[2,3],[1,4]]"
    exact = Chain.parse(text)(COLOUR.astype(np.float64), axes=(0, 1))
    expected, _ = to_pixels(exact, COLOUR.dtype, range_, (exact.min(), exact.max()))
    got, _, _ = rendered(Page(COLOUR), text, range_)
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert len(np.unique(got)) > 200 or range_ != "stretch"
