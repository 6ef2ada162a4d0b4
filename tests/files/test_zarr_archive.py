"""Zarr stores in one zip file, as zarr-python, zipfile and strangers write them."""

import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import skimage.data
import zarr
from zarr.storage import ZipStore

from filterworks.errors import FileError
from filterworks.files import open_image, zarr_archive
from filterworks.files.source import UnnamedFileError
from filterworks.files.zarr_archive import Archive
from tests.conftest import tree

GREY = skimage.data.camera()[100:233, 60:231].astype(np.uint16) * 211
CHAIN = ("-f", "gaussian:sigma=[2,5]")
LAYOUTS = {
    "v3": {"chunks": (64, 48)},
    "v2": {"chunks": (64, 48), "zarr_format": 2},
    "sharded": {"chunks": (16, 24), "shards": (64, 48)},
    "plain": {"chunks": (64, 48), "compressors": None},
}


def folder(path, values=GREY, **options):
    array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, **options)
    array[...] = values
    return path


def packed(source, target, method=zipfile.ZIP_STORED, inside="", **options):
    with zipfile.ZipFile(target, "w", method, **options) as archive:
        for name, content in tree(source).items():
            archive.writestr(inside + name, content)
    return target


def pixels(path):
    with open_image(path) as image:
        return np.stack([page.pixels for page in image.pages()])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("inside", ["", "a.zarr/"])
def test_results_are_those_of_the_folder(tmp_path, command, layout, method, inside):
    source = folder(tmp_path / "a.zarr", **LAYOUTS[layout])
    (tmp_path / "in").mkdir()
    packed(source, tmp_path / "in" / "a.zarr.zip", method, inside)
    assert (pixels(tmp_path / "in" / "a.zarr.zip") == GREY).all()
    assert command("images", source, "-o", tmp_path / "whole", *CHAIN).code == 0
    arguments = ("images", tmp_path / "in", "-o", tmp_path / "out", *CHAIN, "--json")
    first = command(*arguments)
    assert first.code == 0, first.err
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".filterworks.sqlite", "a.zarr"]


def test_what_zarr_writes(tmp_path, command):
    """Metadata that are written again stand in it twice; the later ones count."""
    place = tmp_path / "a.ome.zarr.zip"
    with ZipStore(place, mode="w") as store:
        group = zarr.open_group(store, mode="w")
        for name in ("b", "a", "a.c"):
            group.create_array(name, data=np.roll(GREY, len(name), 0), chunks=(64, 48))
        group.create_array("x", data=np.arange(5.0))
        with pytest.warns(UserWarning, match="Duplicate name"):
            group.attrs["said"] = "last"
    with open_image(place) as image:
        assert image.info.page_count == 3
    assert (pixels(place) == np.stack([np.roll(GREY, n, 0) for n in (1, 3, 1)])).all()
    assert command("images", place, "-o", tmp_path / "b.zarr", "-f", "mean:size=1").code == 0
    made = zarr.open_group(tmp_path / "b.zarr", mode="r")
    assert dict(made.attrs) == {"said": "last"}
    assert (made["x"][:] == np.arange(5.0)).all()
    assert (made["a"][:] == np.roll(GREY, 1, 0)).all()
    assert command("images", place, "-o", tmp_path / "b.tif", "-f", "mean:size=1").code == 0


def test_the_run_goes_on_audits_and_knows_its_input(tmp_path, command):
    place = packed(folder(tmp_path / "a.zarr"), tmp_path / "a.zarr.zip")
    out = tmp_path / "out"
    arguments = ("images", place, "-o", out / "r.zarr", *CHAIN, "--json")
    assert len(command(*arguments).json["done"]) == 1
    before = tree(out)
    assert len(command(*arguments).json["skipped"]) == 1
    audited = command("audit", out, "--sample", "100%", "--json").json
    assert (audited["intact"], audited["recomputed"]) == (1, 1)
    packed(folder(tmp_path / "b.zarr", GREY[::-1]), place)
    assert len(command(*arguments).json["done"]) == 1
    assert tree(out) != before


def test_names_of_results(tmp_path, command):
    source = folder(tmp_path / "in" / "a.zarr")
    place = packed(source, tmp_path / "in" / "a.zarr.zip")
    both = command("images", tmp_path / "in", "-o", tmp_path / "out", *CHAIN)
    assert both.code == 2
    assert "would both become" in both.err
    refused = command("images", place, "-o", tmp_path / "b.zarr.zip", *CHAIN)
    assert refused.code == 2
    assert "b.zarr.zip: can be read, not written; a result is called" in refused.err
    assert not (tmp_path / "b.zarr.zip").exists()


def test_large_numbers_in_their_place(tmp_path):
    """Sizes and places of eight bytes, also where four would do."""
    place = tmp_path / "a.zarr.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for name, content in tree(folder(tmp_path / "a.zarr")).items():
            with archive.open(name, "w", force_zip64=True) as file:
                file.write(content)
    data = place.read_bytes()
    end = data.rfind(b"PK\x05\x06")
    count, _, start = struct.unpack_from("<HII", data, end + 10)
    entries = b""
    at = start
    for _ in range(count):
        entry = list(struct.unpack_from("<4s6H3I5H2I", data, at))
        name = data[at + 46 : at + 46 + entry[10]]
        at += 46 + sum(entry[10:13])
        extra = struct.pack("<2H3Q", 1, 24, entry[9], entry[8], entry[16])
        entry[8] = entry[9] = entry[16] = 0xFFFFFFFF
        entry[11], entry[12] = len(extra) + 6, 0
        entries += struct.pack("<4s6H3I5H2I", *entry) + name + struct.pack("<2H2x", 99, 2) + extra
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(entries), start)
    where = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + len(entries), 1)
    last = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 3)
    place.write_bytes(data[:start] + entries + wide + where + last + b"PK!")
    assert (pixels(place) == GREY).all()


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a/../../b", "c\\d", "a//b", "C:/x", "a\0b", "./a", "../../x/"]
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    place = packed(folder(tmp_path / "a.zarr"), tmp_path / "a.zarr.zip")
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("QQQQQQQQ"[: len(name)], b"")
    # zipfile would make harmless names of some of them.
    place.write_bytes(place.read_bytes().replace("QQQQQQQQ"[: len(name)].encode(), name.encode()[:8]))
    with pytest.raises(FileError, match="is corrupt: it holds a file named"):
        open_image(place)


def test_folders_that_lie_too_deep_are_refused(tmp_path):
    place = packed(folder(tmp_path / "a.zarr"), tmp_path / "a.zarr.zip")
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("a/" * 1500 + "b", b"")
    with pytest.raises(FileError, match="is corrupt: it holds a file named 'a/a/a"):
        open_image(place)


def damaged(data, name, field, value):
    """The list of files with another value in the entry of one of them."""
    at = data.rfind(b"PK\x01\x02", 0, data.rfind(name))
    place, form = {
        "flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<I"), "packed": (20, "<I"), "size": (24, "<I"),
        "offset": (42, "<I"),
    }[field]  # fmt: skip
    changed = bytearray(data)
    struct.pack_into(form, changed, at + place, value)
    return bytes(changed)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("field", "value", "said"), [
    ("flags", 1, "which is encrypted"), ("method", 12, "packed with method 12"),
    ("crc", 7, "is not what its length and checksum say"), ("size", 5, "corrupt"),
    ("size", 4_000_000_000, "corrupt"), ("packed", 4_000_000_000, "corrupt"), ("offset", 4_000_000_000, "truncated"),
    ("offset", 5, "does not lie where its list says"),
])  # fmt: skip
def test_a_list_that_lies(tmp_path, method, field, value, said):
    place = packed(folder(tmp_path / "a.zarr", chunks=(64, 48)), tmp_path / "a.zarr.zip", method)
    place.write_bytes(damaged(place.read_bytes(), b"c/1/1", field, value))
    with pytest.raises(FileError, match=said):
        pixels(place)


@pytest.mark.parametrize("number", [3, 1000])
def test_a_number_of_files_that_is_not_that_of_its_list(tmp_path, number):
    place = packed(folder(tmp_path / "a.zarr", chunks=(64, 48)), tmp_path / "a.zarr.zip")
    data = bytearray(place.read_bytes())
    for at in (8, 10):
        struct.pack_into("<H", data, data.rfind(b"PK\x05\x06") + at, number)
    place.write_bytes(data)
    with pytest.raises(FileError, match=r"the list of its files is not whole|files, and lists others"):
        open_image(place)


@pytest.mark.parametrize("beyond", [0, 1, 40, 257, 258, 259])
def test_files_whose_last_bytes_unpack_from_nothing(tmp_path, beyond):
    content = bytes((1 << 20) + beyond)
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", content)
    assert b"".join(Archive(tmp_path / "a.zarr.zip").pieces("a")) == content


def test_what_follows_a_packed_file_in_its_place_is_not_read(tmp_path):
    place = packed(folder(tmp_path / "a.zarr"), tmp_path / "a.zarr.zip", zipfile.ZIP_DEFLATED)
    data = place.read_bytes()
    with zipfile.ZipFile(place) as archive:
        (info,) = [one for one in archive.infolist() if one.filename.startswith("c/")]
    at = info.header_offset + 30 + len(info.filename) + info.compress_size
    longer = data[:at] + bytes(5 << 20) + data[at:]
    longer = damaged(longer, info.filename.encode(), "packed", info.compress_size + (5 << 20))
    longer = damaged(longer, info.filename.encode(), "size", 6 << 20)
    longer = bytearray(longer)
    struct.pack_into("<I", longer, longer.rfind(b"PK\x05\x06") + 16, data.find(b"PK\x01\x02") + (5 << 20))
    place.write_bytes(longer)
    taken = []
    files = Archive(place)
    at, files._source = files._source.at, type("Noted", (), {"size": place.stat().st_size})()
    files._source.at = lambda start, size: taken.append(size) or at(start, size)
    with pytest.raises(UnnamedFileError, match="not what its length and checksum say"):
        b"".join(files.pieces(info.filename))
    assert sum(taken) < 3 << 20


def test_files_that_are_cut_or_changed_anywhere_are_one_failure(tmp_path):
    place = packed(folder(tmp_path / "a.zarr"), tmp_path / "a.zarr.zip", zipfile.ZIP_DEFLATED)
    data, rng = place.read_bytes(), np.random.default_rng(8)
    for number in range(400):
        changed = bytearray(data)
        if number % 4:
            changed[int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
            if number % 4 == 1:  # in its list
                changed[-int(rng.integers(1, 400))] ^= int(rng.integers(1, 256))
        else:
            del changed[int(rng.integers(len(data))) :]
        place.write_bytes(changed)
        with suppress(FileError):
            assert pixels(place).shape[0] == 1


def test_a_file_unpacks_to_no_more_than_it_may(tmp_path, command, monkeypatch):
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("a", data=GREY)
    (tmp_path / "a.zarr" / "zeros").write_bytes(bytes(8 << 20))
    place = packed(tmp_path / "a.zarr", tmp_path / "a.zarr.zip", zipfile.ZIP_DEFLATED, compresslevel=9)
    arguments = ("images", place, "-o", tmp_path / "out.zarr", *CHAIN)
    monkeypatch.setattr(zarr_archive, "_UNPACKED", 1 << 20)
    result = command(*arguments)
    assert result.code == 1
    assert "unpack it yourself if it is to be trusted" in result.err
    monkeypatch.undo()
    assert command(*arguments).code == 0
    assert (tmp_path / "out.zarr" / "zeros").stat().st_size == 8 << 20
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zarr.json", bytes(65 << 20))
    with pytest.raises(FileError, match=r"has 68,157,440 bytes where at most 67,108,864 can be"):
        open_image(place)


def test_a_part_of_a_packed_file(tmp_path):
    content = np.random.default_rng(2).integers(0, 5, 3 << 20, np.uint8).tobytes()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w", method) as archive:
            archive.writestr("a/b", content)
        files = Archive(tmp_path / "a.zarr.zip")
        assert files.read("a/b", 100, (2 << 20) - 7, 50) == content[(2 << 20) - 7 : (2 << 20) + 43]
        assert b"".join(files.pieces("a/b")) == content
        assert files.read("a/b", 100, 3, 50) == content[3:53]
        assert (files.size("a/b"), files.size("a"), files.read("b", 9)) == (len(content), None, None)
        assert list(files.below("")) == [("a", True)]
        assert list(files.below("a")) == [("a/b", False)]
        with pytest.raises(UnnamedFileError, match="has only"):
            files.read("a/b", 100, len(content) - 10, 50)


def test_archives_that_are_none(tmp_path):
    for number, content in enumerate((b"", b"PK", bytes(5000), b"PK\x05\x06" + bytes(18))):
        place = tmp_path / f"{number}.zarr.zip"
        place.write_bytes(content)
        with pytest.raises(FileError, match=r"empty|no zip file|no Zarr store"):
            open_image(place)
    (tmp_path / "a.zarr").write_bytes(b"PK")
    with pytest.raises(FileError, match=r"a zip file called \.zarr\.zip"):
        open_image(tmp_path / "a.zarr")
