"""TIFFs with many strips or tiles: compiled loops against imagecodecs, and against bytes that mean harm."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from image_samples import load, pattern
from PIL import Image

from filterworks.errors import FileError
from filterworks.files import open_image, tiff_batches, tiff_loops, write_image
from filterworks.files.lzw import BEFORE, BEHIND, FINE, SHORT, STRINGS, WRONG
from filterworks.files.lzw_check import clears_well
from filterworks.machine.compiler import obstacle
from tests.guarded import Guarded

compiled = pytest.mark.skipif(obstacle() is not None, reason="nothing can be compiled here")
LAYOUTS: dict[str, dict[str, object]] = {
    "strips": {"rowsperstrip": 2},
    "one strip": {"rowsperstrip": 61},
    "tiles": {"tile": (16, 32)},
    "planes": {"rowsperstrip": 3, "planarconfig": "separate"},
    "tiles of planes": {"tile": (32, 16), "planarconfig": "separate"},
}
CLEAR, END = 256, 257


@pytest.fixture(params=["compiled", "one by one"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read and write strips, whatever loading the compiler would be worth."""
    monkeypatch.setattr(tiff_batches, "start_seconds", lambda: 0.0)
    if request.param == "one by one":
        monkeypatch.setattr(tiff_batches, "obstacle", lambda: "for this test")
    elif obstacle() is not None:
        pytest.skip("nothing can be compiled here")
    return str(request.param)


def written(path: Path, pixels: np.ndarray, **options: object) -> Path:
    if options.get("planarconfig") == "separate":
        pixels = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    options = {"metadata": None, "photometric": "rgb", **options}
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("predictor", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_ways_read_and_write_the_same(
    tmp_path: Path, way: str, layout: str, dtype: str, predictor: bool, order: str
) -> None:
    pixels = pattern(dtype, 3, 61, 75)
    number = 1 if not predictor else 3 if dtype[0] == "f" else 2
    options = {"byteorder": order, "compression": "lzw", "predictor": number, **LAYOUTS[layout]}
    path = written(tmp_path / "in.tif", pixels, **options)
    info, (page,) = load(path)
    np.testing.assert_array_equal(page.pixels, pixels)
    write_image(tmp_path / "out.tif", [page], info)
    with tifffile.TiffFile(path) as one, tifffile.TiffFile(tmp_path / "out.tif") as two:
        before, after = one.pages[0], two.pages[0]
        assert (before.predictor, before.tile, before.rowsperstrip) == (
            after.predictor, after.tile, after.rowsperstrip
        )  # fmt: skip
        np.testing.assert_array_equal(after.asarray(), before.asarray())
        for start, size, first, count in zip(
            after.dataoffsets, after.databytecounts, before.dataoffsets, before.databytecounts, strict=True
        ):
            # tifffile packs with imagecodecs, and fills tiles up with other pixels.
            if "tiles" not in layout:
                mine = (tmp_path / "out.tif").read_bytes()[start : start + size]
                assert mine == path.read_bytes()[first : first + count]


@compiled
@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_do_not_depend_on_the_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    path = written(
        tmp_path / "in.tif", pattern("u2", 3, 61, 75), compression="lzw", predictor=True, **LAYOUTS[layout]
    )
    monkeypatch.setattr(tiff_batches, "start_seconds", lambda: 0.0)
    contents = []
    for reason in (None, "for this test"):
        monkeypatch.setattr(tiff_batches, "obstacle", lambda reason=reason: reason)
        info, pages = load(path)
        write_image(tmp_path / "out.tif", pages, info)
        contents.append((tmp_path / "out.tif").read_bytes())
    assert contents[0] == contents[1]


@pytest.mark.parametrize("compression", ["lzw", "deflate", "zstd", "packbits", "lzma", None])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u2", "f4"])
def test_some_rows_are_those_of_the_page(
    tmp_path: Path, way: str, compression: str | None, layout: str, dtype: str
) -> None:
    pixels = pattern(dtype, 3, 61, 75)
    path = written(
        tmp_path / "in.tif",
        pixels,
        byteorder=">",
        compression=compression,
        predictor=compression not in (None, "packbits"),
        **LAYOUTS[layout],
    )
    with open_image(path) as image:
        page = next(image.pages())
        for start, stop in ((0, 61), (0, 1), (5, 6), (7, 40), (60, 61), (15, 33)):
            np.testing.assert_array_equal(page.rows(start, stop), pixels[start:stop])


def many_strings(size: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    steps = np.cumsum(rng.integers(-3, 4, (size, 400)), axis=1)
    return (steps * 37).astype(np.uint16)


@compiled
@pytest.mark.parametrize("kind", ["steps", "noise", "flat"])
def test_other_readers_understand_what_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(tiff_batches, "start_seconds", lambda: 0.0)
    noise = np.random.default_rng(1).integers(0, 65536, (64, 400)).astype(np.uint16)
    pixels = {"steps": many_strings(64), "noise": noise, "flat": np.full((64, 400), 7, np.uint16)}[kind]
    # Strips long enough for the table to be cleared several times.
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, compression="lzw", predictor=True, rowsperstrip=32, metadata=None
    )
    info, pages = load(tmp_path / "in.tif")
    path = tmp_path / "out.tif"
    write_image(path, pages, info)
    np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), pixels)
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


@compiled
def test_strips_of_other_writers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = many_strings(100)
    cv2.imwrite(str(tmp_path / "in.tif"), pixels)
    np.testing.assert_array_equal(load(tmp_path / "in.tif")[1][0].pixels, pixels)
    Image.fromarray(pixels).save(tmp_path / "pillow.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(load(tmp_path / "pillow.tif")[1][0].pixels, pixels)


def coded(codes: list[tuple[int, int]], *, is_old: bool = False) -> bytes:
    """Return codes, each with its number of bits, as bytes."""
    texts = [format(code, f"0{width}b")[:: -1 if is_old else 1] for code, width in codes]
    bits = "".join(texts)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8][:: -1 if is_old else 1], 2) for at in range(0, len(bits), 8))


def as_it_is_written(data: bytes, needed: int) -> tuple[int, int | bytes]:
    """Unpack code by code, as the format has it: what it comes to, and the bytes or their number."""
    if len(data) < 2:
        return (WRONG, 0) if data else (SHORT, 0)
    is_old = data[0] == 0 and data[1] & 1 == 1
    order = -1 if is_old else 1
    bits = "".join(format(byte, "08b")[::order] for byte in data)
    if int(bits[:9][::order], 2) != CLEAR:
        return WRONG, 0
    place, width, out = 0, 9, b""
    strings: list[bytes] = []
    before = b""
    while len(out) < needed:
        code = int(bits[place : place + width][::order], 2) if place + width <= len(bits) else END
        place += width
        if code == END:
            return SHORT, len(out)
        if code == CLEAR:
            width, before = 9, b""
            strings = [bytes([value]) for value in range(256)] + [b""] * 2
            continue
        if (not before and code > 255) or code > len(strings) or len(strings) == STRINGS:
            return WRONG, 0
        if before:
            first = strings[code] if code < len(strings) else before
            strings.append(before + first[:1])
            width += len(strings) in ((512, 1024, 2048) if is_old else (511, 1023, 2047))
        before = strings[code]
        out += before
    return FINE, out[:needed]


def damaged(number: int) -> tuple[bytes, int]:
    """Return packed bytes, mostly damaged, and how many are wanted of them."""
    rng = np.random.default_rng(number)
    size = int(rng.choice([1, 5, 60, 700, 5000]))
    kinds = (
        rng.integers(0, 256, size), np.zeros(size), rng.integers(0, 2, size), np.cumsum(rng.integers(-2, 3, size)),
    )  # fmt: skip
    raw = kinds[rng.integers(4)].astype(np.uint8).tobytes()
    packed = bytearray(imagecodecs.lzw_encode(raw))
    change = rng.integers(6)
    place = int(rng.integers(len(packed)))
    if change == 1:
        packed[place] ^= 1 << int(rng.integers(8))
    elif change == 2:
        del packed[place:]
    elif change == 3:
        packed[place:] = rng.integers(0, 256, len(packed) - place).astype(np.uint8).tobytes()
    elif change == 4:
        packed[:2] = bytes([0, packed[1] | 1])
    return bytes(packed), size + int(change == 5) * int(rng.integers(1, 3000))


class Hostile:
    """One strip in bytes that end where memory ends, as all other arrays do."""

    def __init__(self) -> None:
        self._given, self._out, self._room = Guarded(1 << 15), Guarded(1 << 14), Guarded(1 << 15)
        self._table, self._small = Guarded(8 * STRINGS), [Guarded(64) for _ in range(3)]

    def unpacked(self, data: bytes, start: int, count: int, needed: int) -> tuple[int, int | bytes]:
        segment = np.array([start, count, needed, BEFORE, 1, needed, 0]).tobytes()
        shape = np.array([1, 1, 0, 1, needed, 0, needed]).tobytes()
        room = BEFORE + needed + BEHIND
        out, found = self._out.room(needed), self._small[2].room(16)
        done = tiff_loops.read_lzw.compiled(
            self._given.holding(data), len(data), self._small[0].holding(segment), 1,
            self._small[1].holding(shape), self._table.room(8 * STRINGS), self._room.room(room), room, out, found,
        )  # fmt: skip
        size, why = np.frombuffer(ctypes.string_at(found, 16), np.int64).tolist()
        assert done == (why == FINE)
        return why, ctypes.string_at(out, needed) if why == FINE else size


@pytest.fixture(scope="module")
def hostile() -> Hostile:
    if sys.platform == "win32":
        pytest.skip("pages cannot be protected this way")
    return Hostile()


@compiled
def test_damaged_codes_come_to_what_the_format_says(hostile: Hostile) -> None:
    seen = set()
    for number in range(600):
        packed, needed = damaged(number)
        wanted = as_it_is_written(packed, needed)
        assert hostile.unpacked(packed, 0, len(packed), needed) == wanted, number
        around = bytes(number % 5) + packed + bytes(number % 11)
        assert hostile.unpacked(around, number % 5, len(packed), needed) == wanted, number
        seen.add(wanted[0])
    assert seen == {FINE, SHORT, WRONG}


@compiled
@pytest.mark.parametrize(
    ("start", "count"),
    [(0, 9), (1, 8), (-1, 4), (8, 1), (9, 1), (0, -1), (2, 1 << 62), (1 << 62, 1 << 62), (-(1 << 62), 1 << 62)],
)  # fmt: skip
def test_places_that_lie(hostile: Hostile, start: int, count: int) -> None:
    packed = bytes(imagecodecs.lzw_encode(b"abcd"))
    assert hostile.unpacked(packed, 0, len(packed), 4) == (FINE, b"abcd")
    assert len(packed) < 9
    assert hostile.unpacked(packed, start, count, 4)[0] == WRONG


@compiled
@pytest.mark.parametrize("is_old", [False, True])
def test_a_full_table_may_go_on_for_a_while(hostile: Hostile, is_old: bool) -> None:
    """As in libtiff, which has room for some strings beyond those that codes can name."""
    codes, width, strings = [(CLEAR, 9)], 9, 258
    for number in range(STRINGS - 258 + 2):
        codes.append((number % 200, width))
        strings += number > 0
        width += strings in ((512, 1024, 2048) if is_old else (511, 1023, 2047))
    packed = coded(codes, is_old=is_old)
    count = len(codes) - 1
    assert hostile.unpacked(packed, 0, len(packed), count - 1)[0] == FINE
    assert hostile.unpacked(packed, 0, len(packed), count)[0] == WRONG
    assert as_it_is_written(packed, count)[0] == WRONG


def one_strip(path: Path, packed: bytes, size: int) -> Path:
    tifffile.imwrite(path, np.zeros((1, size), np.uint8), compression="lzw", metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        for tag, value in ((page.tags[273], len(content)), (page.tags[279], len(packed))):
            content[tag.valueoffset : tag.valueoffset + 4] = value.to_bytes(4, "little")
            if tag.dtype == 3:
                content[tag.offset + 2 : tag.offset + 4] = (4).to_bytes(2, "little")
    path.write_bytes(bytes(content) + packed)
    return path


def test_codes_in_the_old_order_are_read(tmp_path: Path, way: str) -> None:
    """Before 1989 the first bit of a code was its lowest."""
    packed = coded([(CLEAR, 9), *((value, 9) for value in b"banana"), (END, 9)], is_old=True)
    pixels = load(one_strip(tmp_path / "old.tif", packed, 6))[1][0].pixels
    assert pixels.tobytes() == b"banana"


@compiled
@pytest.mark.parametrize(
    ("codes", "message"),
    [
        ([97, 98, END], "is corrupt: a strip or tile holds 2 of 6 bytes"),
        ([97, 98], "is corrupt: a strip or tile holds 2 of 6 bytes"),
        ([97, 260, 97, 97, 97], "is corrupt: a strip or tile holds LZW codes that there cannot be"),
        # imagecodecs takes the string of such a code from wherever there was one before.
        ([97, CLEAR, 300, 97, 97, 97], "is corrupt: a strip or tile holds LZW codes that there cannot be"),
    ],
)
@pytest.mark.parametrize("is_old", [False, True])
def test_what_is_wrong_with_a_strip_is_said(
    tmp_path: Path, codes: list[int], message: str, is_old: bool
) -> None:
    packed = coded([(code, 9) for code in (CLEAR, *codes)], is_old=is_old)
    path = one_strip(tmp_path / "bad.tif", packed, 6)
    with pytest.raises(FileError, match=message):
        load(path)


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize("count", [0, 1, 31, 32, 253, 254, 255, 767, 1800, 3837])
def test_a_code_of_a_cleared_table_is_refused_anywhere(
    tmp_path: Path, way: str, is_old: bool, count: int
) -> None:
    """imagecodecs takes its string from wherever that was, and may end the process."""
    codes, width, strings = [(CLEAR, 9)], 9, 258
    for number in range(count):
        codes.append((number % 200, width))
        strings += number > 0
        width += strings in ((512, 1024, 2048) if is_old else (511, 1023, 2047))
    sound = coded([*codes, (CLEAR, width), (7, 9), (END, 9)], is_old=is_old)
    assert load(one_strip(tmp_path / "in.tif", sound, count + 1))[1][0].pixels[0, -1] == 7
    damaged_one = coded([*codes, (CLEAR, width), (300, 9), (7, 9)], is_old=is_old)
    with pytest.raises(FileError, match="LZW codes that there cannot be"):
        load(one_strip(tmp_path / "bad.tif", damaged_one, count + 2))


@compiled
def test_a_small_image_does_not_wait_for_the_compiler_to_be_written(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", pattern("u2"), compression="deflate", metadata=None, rowsperstrip=2)
    program = (
        "import sys; from pathlib import Path; from filterworks.files import open_image, write_image\n"
        "with open_image(Path(sys.argv[1])) as image: write_image(Path(sys.argv[2]), image.pages(), image.info)\n"
        "assert 'llvmlite' not in sys.modules"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "in.tif"), str(tmp_path / "out.tif")]
    subprocess.run(arguments, check=True)


def test_many_strips_that_claim_the_same_many_bytes_are_refused(tmp_path, way):
    """Else each of them would be read to its end: hours, for a file of a megabyte."""
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, np.zeros((500, 1), np.uint8), compression="lzw", rowsperstrip=1)
    start = path.stat().st_size
    with path.open("ab") as file:
        file.write(bytes([0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01]) * (1 << 17))
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["StripOffsets"].overwrite([start] * 500)
        tiff.pages[0].tags["StripByteCounts"].overwrite([1 << 20] * 500, dtype="I")
    with pytest.raises(FileError, match="is said to be packed into"), open_image(path) as reader:
        list(reader.pages())


def test_more_clearings_than_bytes_are_not_well_where_nothing_is_compiled():
    clears = bytes([0x80, 0x40, 0x20, 0x10, 0x08, 0x04, 0x02, 0x01, 0x00]) * 400
    assert not clears_well(clears, 1)
    assert clears_well(clears[:40], 1)
    assert clears_well(imagecodecs.lzw_encode(bytes(range(256)) * 400), 256 * 400)
