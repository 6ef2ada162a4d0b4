"""Zarr stores, with zarr-python as the other reader and writer."""

import itertools
import json
import os
import pickle
import re
import shutil
import tracemalloc
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import skimage.data
import tifffile
import zarr
from zarr.codecs import (
    BloscCodec,
    BytesCodec,
    Crc32cCodec,
    GzipCodec,
    ShardingCodec,
    TransposeCodec,
    ZstdCodec,
)

from filterworks import Chain
from filterworks.batch import render as rendering_module
from filterworks.batch.render import Rendering, render
from filterworks.errors import FileError
from filterworks.files import create_image, open_image
from filterworks.files.zarr_layout import parse_v3
from filterworks.files.zarr_levels import bins
from filterworks.files.zarr_writer import ChunkWriter

GREY = skimage.data.camera()[100:233, 60:231].astype(np.uint16) * 211
STACK = np.stack([np.roll(GREY, 31 * i, 1) for i in range(7)])
BOUNDARIES = ["constant", "nearest", "symmetric", "mirror", "wrap", "omit"]
BLUR = "gaussian:sigma=[2,5]"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Bands and blocks of a few thousand samples, so that small images have many of both."""
    monkeypatch.setattr(rendering_module, "BAND", 1500)
    monkeypatch.setattr(rendering_module, "_WIDE", 1500)


def store(path, values, **options):
    options = {"chunks": (64, 48)[: values.ndim], **options}
    array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, **options)
    array[...] = values
    return array


def filtered(source, target, text=BLUR, threads=2):
    with open_image(Path(source)) as image, create_image(Path(target), image.info) as writer:
        for page in image.rasters():
            render(page, writer.sheet(page), Rendering(Chain.parse(text), "clip"), threads=threads)
    return zarr.open(target, mode="r")


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def files(folder):
    return {name: (Path(folder) / name).read_bytes() for name in listed(folder)}


LAYOUTS = {
    "v3": {},
    "v2": {"zarr_format": 2},
    "v2, slashes": {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
    "v2, columns first": {"zarr_format": 2, "order": "F"},
    "v2, plain": {"zarr_format": 2, "compressors": None},
    "v2, lz4": {"zarr_format": 2, "compressors": numcodecs.LZ4()},
    "v2, zlib": {"zarr_format": 2, "compressors": numcodecs.Zlib(level=4)},
    "v2, bz2": {"zarr_format": 2, "compressors": numcodecs.BZ2()},
    "v2, blosc": {"zarr_format": 2, "compressors": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.AUTOSHUFFLE)},
    "v3, dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
    "v3, named like v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    "plain": {"compressors": None},
    "gzip": {"compressors": GzipCodec(level=5)},
    "zstd with checksum": {"compressors": ZstdCodec(level=3, checksum=True)},
    "blosc": {"compressors": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=2)},
    "checked": {"compressors": [ZstdCodec(level=1), Crc32cCodec()]},
    "twice": {"compressors": [GzipCodec(level=1), ZstdCodec(level=1)]},
    "big-endian": {"serializer": BytesCodec(endian="big")},
    "transposed": {"filters": TransposeCodec(order=(1, 0))},
    "odd chunks": {"chunks": (13, 29)},
    "one large chunk": {"chunks": (200, 300)},
    "rows": {"chunks": (5, 171)},
    "sharded": {"chunks": (16, 24), "shards": (64, 48)},
    "sharded, table first": {
        "serializer": ShardingCodec(chunk_shape=(16, 24), index_location="start"), "compressors": None,
    },
    "sharded, table unchecked": {
        "serializer": ShardingCodec(chunk_shape=(16, 24), index_codecs=[BytesCodec()]), "compressors": None,
    },
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("boundary", ["symmetric", "wrap"])
def test_every_layout_is_read_and_written_as_it_was(tmp_path, layout, boundary):
    original = store(tmp_path / "in.zarr", GREY, **LAYOUTS[layout])
    text = f"{BLUR},boundary={boundary}"
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr", text)
    np.testing.assert_array_equal(result[...], Chain.parse(text)(GREY))
    assert result.metadata == original.metadata
    assert listed(tmp_path / "out.zarr") == listed(tmp_path / "in.zarr")


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(
    "text", ["gaussian:sigma=40", "kernel:weights=[[1,2,0],[0,3,5]]", "median:size=3 | gaussian:sigma=3"]
)
def test_chunks_equal_the_whole_at_every_boundary(tmp_path, boundary, text):
    if boundary == "omit":  # only for weighted means
        text = text.replace("median:size=3 | ", "")
    text = text.replace("gaussian:", f"gaussian:boundary={boundary},").replace(
        "kernel:", f"kernel:boundary={boundary},"
    )
    store(tmp_path / "in.zarr", GREY, chunks=(33, 40))
    got = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr", text)[...]
    np.testing.assert_array_equal(got, Chain.parse(text)(GREY))


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"])
@pytest.mark.parametrize("form", [2, 3])
def test_every_sample_type(tmp_path, dtype, form):
    values = (GREY // 211 // (2 if dtype == "i1" else 1)).astype(dtype)
    original = store(tmp_path / "in.zarr", values, zarr_format=form)
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    assert result.metadata == original.metadata
    exact = Chain.parse(BLUR)(values)
    if dtype[0] == "f":
        # Floats are the same to the last digits: engines differ with the size of a band.
        np.testing.assert_allclose(result[...], exact.astype(dtype), rtol=2e-3 if dtype == "f2" else 1e-5)
    else:
        np.testing.assert_array_equal(result[...], exact)


def test_big_endian_of_version_2(tmp_path):
    store(tmp_path / "in.zarr", GREY.astype(">u2"), zarr_format=2)
    assert json.loads((tmp_path / "in.zarr/.zarray").read_text())["dtype"] == ">u2"
    got = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    np.testing.assert_array_equal(got[...], Chain.parse(BLUR)(GREY))
    assert json.loads((tmp_path / "out.zarr/.zarray").read_text())["dtype"] == ">u2"


DEEP = {
    "planes share chunks": {"chunks": (3, 64, 48)},
    "v2": {"chunks": (3, 64, 48), "zarr_format": 2},
    "sharded": {"chunks": (3, 32, 24), "shards": (6, 64, 48)},
    "only shards are shared": {"chunks": (1, 32, 24), "shards": (4, 64, 96)},
    "all in one": {"chunks": (9, 140, 180)},
}


@pytest.mark.parametrize("layout", DEEP)
@pytest.mark.parametrize("boundary", ["symmetric", "wrap"])
def test_planes_that_share_chunks(tmp_path, layout, boundary):
    """What dask's to_zarr gets wrong where its blocks are not whole chunks."""
    original = store(tmp_path / "in.zarr", STACK, **DEEP[layout])
    text = f"{BLUR},boundary={boundary}"
    expected = Chain.parse(text)(STACK, axes=(1, 2))
    written = []
    for turn in range(3):
        result = filtered(tmp_path / "in.zarr", tmp_path / f"{turn}.zarr", text, threads=(1, 4, 4)[turn])
        np.testing.assert_array_equal(result[...], expected)
        assert result.metadata == original.metadata
        written.append(files(tmp_path / f"{turn}.zarr"))
    # The very bytes, in whichever order the threads finish.
    assert written[0] == written[1] == written[2]


def test_several_axes_of_planes_in_one_chunk(tmp_path):
    values = np.stack([STACK[:5], STACK[2:7], STACK[1:6]])
    store(tmp_path / "in.zarr", values, chunks=(2, 3, 64, 48))
    with open_image(tmp_path / "in.zarr") as image:
        for page, plane in zip(image.pages(), values.reshape(-1, *GREY.shape), strict=True):
            np.testing.assert_array_equal(page.pixels, plane)
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    np.testing.assert_array_equal(result[...], Chain.parse(BLUR)(values, axes=(2, 3)))


def test_no_chunk_can_be_written_twice(tmp_path):
    store(tmp_path / "in.zarr", GREY)
    layout = parse_v3(json.loads((tmp_path / "in.zarr/zarr.json").read_text()))
    (tmp_path / "out.zarr").mkdir()
    writer = ChunkWriter(tmp_path / "out.zarr", layout)
    packed = writer.pack(GREY[:64, :48])
    writer.put((0, 0), packed)
    with pytest.raises(FileExistsError):
        writer.put((0, 0), packed)


def test_memory_does_not_grow_with_the_planes_in_a_chunk(tmp_path, monkeypatch):
    monkeypatch.setattr(rendering_module, "BAND", 1 << 15)
    monkeypatch.setattr(rendering_module, "_WIDE", 1 << 20)
    values = np.broadcast_to(np.arange(512, dtype=np.uint16), (48, 256, 512))
    store(tmp_path / "in.zarr", values, chunks=(48, 64, 64))
    filtered(
        tmp_path / "in.zarr", tmp_path / "first.zarr", "mean:size=3"
    )  # imports and buffers of the first call
    tracemalloc.start()
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr", "mean:size=3")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < values.nbytes / 4
    np.testing.assert_array_equal(result[40], Chain.parse("mean:size=3")(values[40]))


@pytest.mark.parametrize("options", [{"chunks": (32, 40)}, {"chunks": (16, 20), "shards": (32, 40)}])
@pytest.mark.parametrize("fill", [0, 700])
def test_what_is_not_stored_has_the_fill_value(tmp_path, options, fill):
    values = np.full((133, 171), fill, np.uint16)
    values[70:75, 85:90] = 60_000
    store(tmp_path / "in.zarr", values, fill_value=fill, **options)
    stored = len(listed(tmp_path / "in.zarr"))
    assert stored < 6
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr", "mean:size=3")
    np.testing.assert_array_equal(result[...], Chain.parse("mean:size=3")(values))
    assert len(listed(tmp_path / "out.zarr")) == stored


def test_missing_floats_stay_missing(tmp_path):
    values = np.full((133, 171), np.nan, np.float32)
    values[64:120, :48] = 1
    store(tmp_path / "in.zarr", values, fill_value=np.nan)
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr", "mean:size=1")
    np.testing.assert_array_equal(result[...], values)
    assert listed(tmp_path / "out.zarr") == ["c/1/0", "zarr.json"]


def test_colours_lie_along_a_last_axis_of_few(tmp_path):
    colour = skimage.data.astronaut()[:133, :171]
    for chunks in ((64, 48, 3), (64, 48, 1), (64, 48, 2)):
        shutil.rmtree(tmp_path / "out.zarr", ignore_errors=True)
        store(tmp_path / "in.zarr", colour, chunks=chunks, overwrite=True)
        with open_image(tmp_path / "in.zarr") as image:
            assert (image.info.shape, image.info.page_count) == ((133, 171, 3), 1)
        result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
        np.testing.assert_array_equal(result[...], Chain.parse(BLUR)(colour, axes=(0, 1)))


@pytest.mark.parametrize(("shape", "names", "page", "count"), [
    ((4, 6, 3), ["z", "y", "x"], (6, 3), 4),
    ((4, 6, 3), ["y", "x", "c"], (4, 6, 3), 1),
    ((4, 6, 3), ["x", "y", "z"], (6, 4), 3),
    ((4, 6, 3), None, (4, 6, 3), 1),
    ((4, 6, 5), None, (6, 5), 4),
    ((2, 4, 6, 3), None, (6, 3), 8),
    ((2, 4, 6, 3), ["t", "lat", "lon", "band"], (4, 6, 3), 2),
    ((6, 5), ["x", "y"], (5, 6), 1),
])  # fmt: skip
def test_what_the_axes_mean(tmp_path, shape, names, page, count):
    values = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    store(tmp_path / "in.zarr", values, chunks=(2,) * len(shape), dimension_names=names)
    with open_image(tmp_path / "in.zarr") as image:
        assert (image.info.shape, image.info.page_count) == (page, count)
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr", "kernel:weights=[[0,1,3]]")
    x = shape.index(page[1]) if names and "x" in names else len(shape) - 1 - (len(page) == 3)
    y = shape.index(page[0]) if names and "y" in names else x - 1
    expected = Chain.parse("kernel:weights=[[0,1,3]]")(values, axes=(y, x))
    np.testing.assert_array_equal(result[...], expected)


def ome(path, version, shape=(2, 3, 133, 171), chunks=(1, 1, 64, 48), down=(1, 1, 2, 2)):
    """A multiscale image with labels beside it."""
    rng = np.random.default_rng(1)
    group = zarr.open_group(path, mode="w", zarr_format=3 if version == "0.5" else 2)
    sizes, datasets = shape, []
    for level in range(3):
        keys = {} if version == "0.5" else {"chunk_key_encoding": {"name": "v2", "separator": "/"}}
        array = group.create_array(f"s{level}", shape=sizes, dtype="uint16", chunks=chunks, **keys)
        array[...] = rng.integers(0, 60_000, sizes)
        scale = {"type": "scale", "scale": [1.0, 1.0, 0.5 * 2**level, 0.25 * 2**level]}
        datasets.append({"path": f"s{level}", "coordinateTransformations": [scale]})
        sizes = tuple(-(-n // f) for n, f in zip(sizes, down, strict=True))
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    scales = [{"version": version, "axes": axes, "datasets": datasets}]
    group.attrs.update(
        {"ome": {"version": version, "multiscales": scales}} if version == "0.5" else {"multiscales": scales}
    )
    labels = group.create_group("labels").create_array("cells", shape=(20, 20), dtype="int32", chunks=(8, 8))
    labels[...] = np.arange(400).reshape(20, 20) // 7
    Path(path, "OME").mkdir()
    Path(path, "OME", "METADATA.ome.xml").write_text("<OME/>")
    return group


def halved(values, shape):
    factors = [round(n / m) for n, m in zip(values.shape, shape, strict=True)]
    padded = np.pad(
        values.astype(float),
        [(0, -n % f) for n, f in zip(values.shape, factors, strict=True)],
        constant_values=np.nan,
    )
    split = [size for n, f in zip(padded.shape, factors, strict=True) for size in (n // f, f)]
    return np.rint(np.nanmean(padded.reshape(split), axis=tuple(range(1, 2 * values.ndim, 2))))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(("chunks", "down"), [
    ((1, 1, 64, 48), (1, 1, 2, 2)),
    ((1, 2, 33, 40), (1, 1, 2, 2)),
    ((2, 2, 64, 48), (1, 2, 2, 2)),
    ((1, 1, 64, 48), (1, 1, 3, 4)),
])  # fmt: skip
def test_ome_zarr(tmp_path, version, chunks, down):
    original = ome(tmp_path / "in.zarr", version, chunks=chunks, down=down)
    with open_image(tmp_path / "in.zarr") as image:
        assert (image.info.page_count, image.info.shape) == (6, (133, 171))
        assert image.info.metadata.resolution == (101_600, 50_800)
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    level = result["s0"][...]
    np.testing.assert_array_equal(level, Chain.parse(BLUR)(original["s0"][...], axes=(2, 3)))
    for name in ("s1", "s2"):
        smaller = result[name][...]
        np.testing.assert_array_equal(smaller, halved(level, smaller.shape))
        level = smaller
    np.testing.assert_array_equal(result["labels/cells"][...], original["labels/cells"][...])
    before, after = files(tmp_path / "in.zarr"), files(tmp_path / "out.zarr")
    assert before.keys() == after.keys()
    kept = [
        name for name in before if Path(name).suffix in (".json", ".xml") or Path(name).name.startswith(".z")
    ]
    assert len(kept) > 5
    assert all(before[name] == after[name] for name in kept)


def test_samples_are_shared_out_to_a_level_of_any_size():
    for length in range(1, 40):
        for count in range(1, length + 1):
            parts = bins(length, count)
            assert len(parts) == count
            assert parts[0][0] == 0
            assert all(stop > start for start, stop in parts)
            assert all(a[1] == b[0] for a, b in itertools.pairwise(parts))
            assert length - parts[-1][1] < max(2, round(length / count))


def test_groups_of_arrays(tmp_path):
    group = zarr.open_group(tmp_path / "in.zarr", mode="w", attributes={"made": "by hand"})
    times = group.create_array("time", shape=(7,), dtype="int64", chunks=(7,))
    times[...] = np.arange(7)
    store(tmp_path / "in.zarr/deep/stack", STACK, chunks=(1, 64, 48))
    group.create_group("deep")
    store(tmp_path / "in.zarr/grey", GREY)
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    np.testing.assert_array_equal(result["time"][...], np.arange(7))
    np.testing.assert_array_equal(result["grey"][...], Chain.parse(BLUR)(GREY))
    np.testing.assert_array_equal(result["deep/stack"][...], Chain.parse(BLUR)(STACK, axes=(1, 2)))
    assert dict(result.attrs) == {"made": "by hand"}


def test_chunks_and_strips_of_heights_that_do_not_divide(tmp_path):
    wide = np.arange(90 * 30_000, dtype=np.uint32).reshape(90, 30_000)[:, ::-1].astype(np.uint16)
    store(tmp_path / "in.zarr", wide, chunks=(25, 7000))
    with open_image(tmp_path / "in.zarr") as image, create_image(tmp_path / "x.tif", image.info) as writer:
        page = next(image.rasters())
        sheet = writer.sheet(page)
        assert page.unit % sheet.unit
        render(page, sheet, Rendering(Chain.parse("mean:size=3"), "clip"), threads=2)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.tif"), Chain.parse("mean:size=3")(wide))


def test_consolidated_metadata_stay_true(tmp_path):
    ome(tmp_path / "in.zarr", "0.4")
    shutil.rmtree(tmp_path / "in.zarr/OME")  # zarr-python warns of it
    zarr.consolidate_metadata(str(tmp_path / "in.zarr"))
    expected = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")["s1"][...]
    consolidated = zarr.open_consolidated(str(tmp_path / "out.zarr"))
    np.testing.assert_array_equal(consolidated["s1"][...], expected)


def test_what_is_known_can_be_sent_to_another_process(tmp_path):
    ome(tmp_path / "in.zarr", "0.5", chunks=(1, 2, 64, 48))
    with open_image(tmp_path / "in.zarr") as image:
        assert pickle.loads(pickle.dumps(image.info)) == image.info


def test_rows_can_be_had_in_any_portion(tmp_path):
    for number, options in enumerate(({}, {"chunks": (16, 24), "shards": (64, 48)}, {"chunks": (13, 171)})):
        store(tmp_path / f"{number}.zarr", GREY, **options)
        with open_image(tmp_path / f"{number}.zarr") as image:
            (page,) = image.rasters()
            for start, stop in ((0, 1), (5, 64), (16, 32), (100, 133), (132, 133), (0, 133)):
                np.testing.assert_array_equal(page.rows(start, stop), GREY[start:stop])


# What cannot be trusted.


def read(path):
    with open_image(path) as image:
        for page in image.pages():
            assert page.pixels.size


def reason(path):
    """Why it cannot be read; None if it can."""
    try:
        read(path)
    except FileError as error:
        return str(error)
    return None


def refused(path):
    with pytest.raises(FileError) as failure:
        read(path)
    message = str(failure.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def edited(path, change):
    place = path / "zarr.json"
    document = json.loads(place.read_text())
    change(document)
    place.write_text(json.dumps(document))


CHANGES = {
    "shape": (lambda d: d.update(shape=[-3, 5]), "shape = [-3, 5]"),
    "many": (lambda d: d.update(shape=[1 << 60, 5]), "shape = "),
    "text": (lambda d: d.update(shape="large"), "shape = large"),
    "empty": (lambda d: d.update(shape=[0, 5]), "holds no pixel"),
    "promise": (lambda d: d.update(shape=[10**9, 10**9]), "bytes are stored"),
    "chunk": (lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[1 << 20, 1 << 20]), "chunks of"),
    "rank": (lambda d: d["chunk_grid"]["configuration"].update(chunk_shape=[3]), "chunk_shape = [3]"),
    "grid": (lambda d: d["chunk_grid"].update(name="odd"), "chunk grid 'odd'"),
    "keys": (lambda d: d["chunk_key_encoding"].update(name="../"), "names its chunks"),
    "separator": (lambda d: d["chunk_key_encoding"]["configuration"].update(separator="/../"), "separator = "),
    "codec": (lambda d: d.update(codecs=[{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "magic"}]),
              "codec 'magic', which is not supported; supported are blosc"),
    "no codecs": (lambda d: d.update(codecs=[]), "codec None"),
    "bool": (lambda d: d.update(data_type="bool"), "samples of type bool, which are no picture"),
    "complex": (lambda d: d.update(data_type="complex64"), "samples of type complex64"),
    "text type": (lambda d: d.update(data_type={"name": "fixed_length_utf32"}), "which are no picture"),
    "extension": (lambda d: d.update(secret={"must_understand": True}), "not understood here: 'secret'"),
    "fill": (lambda d: d.update(fill_value="many"), "fill_value = many"),
    "fill beyond": (lambda d: d.update(fill_value=-1), "fill_value = -1"),
    "node": (lambda d: d.update(node_type="star"), "neither an array nor a group"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_metadata_are_checked_before_anything_is_allocated(tmp_path, change):
    store(tmp_path / "in.zarr", GREY)
    edited(tmp_path / "in.zarr", CHANGES[change][0])
    assert CHANGES[change][1] in refused(tmp_path / "in.zarr")


@pytest.mark.parametrize("form", [2, 3])
def test_mutated_metadata(tmp_path, form):
    store(
        tmp_path / "in.zarr",
        GREY,
        chunks=(16, 24),
        zarr_format=form,
        **({"shards": (64, 48)} if form == 3 else {}),
    )
    place = tmp_path / "in.zarr" / ("zarr.json" if form == 3 else ".zarray")
    text = place.read_text()
    values = list(re.finditer(r"-?\d+|true|false|null|\"[a-z0-9_<]+\"(?!:)|\[[^][]*\]", text))
    wrong = [
        "0",
        "-1",
        "99999999999",
        "1e400",
        "null",
        "[]",
        "{}",
        '"x"',
        '"../x"',
        "true",
        "NaN",
        "70000",
        "2.5",
    ]
    messages = set()
    for found in values:
        for value in wrong:
            place.write_text(text[: found.start()] + value + text[found.end() :])
            messages.add(reason(tmp_path / "in.zarr"))
    assert len(messages) > 20
    assert all("\n" not in message for message in messages if message)


def test_an_extension_that_need_not_be_understood_is_kept(tmp_path):
    store(tmp_path / "in.zarr", GREY)
    edited(tmp_path / "in.zarr", lambda d: d.update(note={"must_understand": False}))
    filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    assert "note" in json.loads((tmp_path / "out.zarr/zarr.json").read_text())


def test_complex_and_bool_of_version_2(tmp_path):
    for dtype in ("bool", "complex64"):
        store(tmp_path / f"{dtype}.zarr", GREY.astype(dtype), zarr_format=2)
        assert f"samples of type {dtype}" in refused(tmp_path / f"{dtype}.zarr")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_metadata_that_are_none(tmp_path, data):
    store(tmp_path / "in.zarr", GREY)
    (tmp_path / "in.zarr/zarr.json").write_bytes(data)
    assert refused(tmp_path / "in.zarr").startswith("is corrupt: zarr.json in it is not")


def test_folders_that_are_no_stores(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    assert refused(tmp_path / "empty.zarr").startswith("is no Zarr store")
    (tmp_path / "file.zarr").write_bytes(b"zarr")
    assert (
        refused(tmp_path / "file.zarr")
        == "is a file; a Zarr store is a folder, or a zip file called .zarr.zip"
    )
    assert refused(tmp_path / "none.zarr") == "does not exist"
    store(tmp_path / "line.zarr", GREY[0])
    assert refused(tmp_path / "line.zarr") == "holds an array of 1 axis, which is no picture"
    zarr.open_group(tmp_path / "group.zarr", mode="w")
    assert refused(tmp_path / "group.zarr") == "holds no array with rows and columns"


BOMBS = {
    name: LAYOUTS[name]
    for name in ("v3", "gzip", "blosc", "plain", "checked", "zstd with checksum", "sharded")
}
BOMBS["v2"] = {"zarr_format": 2}


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("layout", BOMBS)
def test_a_chunk_gives_no_more_than_it_may(tmp_path, layout):
    """The chunk of a much larger one, under the metadata of a small one."""
    options = {**BOMBS[layout], "chunks": (4096, 4096)}
    options.pop("shards", None)
    if "sharded" in layout:
        options = {"chunks": (2048, 4096), "shards": (4096, 4096)}
    store(tmp_path / "large.zarr", np.full((4096, 4096), 7, np.uint16), **options)
    store(tmp_path / "in.zarr", GREY, **BOMBS[layout])
    chunk = "c/0/0" if BOMBS[layout].get("zarr_format") != 2 else "0.0"
    shutil.copy(tmp_path / "large.zarr" / chunk, tmp_path / "in.zarr" / chunk)
    tracemalloc.start()
    message = refused(tmp_path / "in.zarr")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "corrupt" in message
    assert peak < 8 << 20


@pytest.mark.parametrize("layout", BOMBS)
@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
def test_damaged_chunks(tmp_path, layout):
    store(tmp_path / "in.zarr", GREY, **BOMBS[layout])
    chunk = tmp_path / "in.zarr" / ("c/0/0" if BOMBS[layout].get("zarr_format") != 2 else "0.0")
    data = chunk.read_bytes()
    for wrong in (
        b"",
        data[:-3],
        data[: len(data) // 2],
        b"\0" * len(data),
        bytes(255 - b for b in data),
        data + b"12345",
    ):
        if layout == "plain" and len(wrong) == len(data):
            continue  # any samples are samples
        chunk.write_bytes(wrong)
        message = reason(tmp_path / "in.zarr")
        if wrong != data + b"12345":  # behind some data nobody looks
            assert "corrupt" in message
    rng = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data), 4):
            damaged[at] = rng.integers(256)
        chunk.write_bytes(damaged)
        assert "\n" not in (reason(tmp_path / "in.zarr") or "")


@pytest.mark.parametrize(
    "path", ["../other.zarr", "/etc", "a/../../other.zarr", "..", "", ".", "C:\\x", 7, None]
)
def test_metadata_name_nothing_outside(tmp_path, path):
    store(tmp_path / "other.zarr", GREY)
    group = ome(tmp_path / "in.zarr", "0.5")
    wrong = dict(group.attrs["ome"])
    wrong["multiscales"][0]["datasets"][0]["path"] = path
    group.attrs["ome"] = wrong
    assert refused(tmp_path / "in.zarr").startswith("is corrupt: its metadata name an array")


def test_links_do_not_lead_out_of_a_store(tmp_path):
    store(tmp_path / "other.zarr", GREY)
    for name in ("c/0/0", "c/1", "c", "zarr.json"):
        shutil.rmtree(tmp_path / "in.zarr", ignore_errors=True)
        store(tmp_path / "in.zarr", GREY)
        place = tmp_path / "in.zarr" / name
        shutil.rmtree(place) if place.is_dir() else place.unlink()
        place.symlink_to(tmp_path / "other.zarr" / name)
        assert "is a link that leads out of it" in refused(tmp_path / "in.zarr")
    ome(tmp_path / "ome.zarr", "0.5")
    (tmp_path / "ome.zarr/labels/secret").symlink_to("/etc/hostname")
    with pytest.raises(FileError, match="link that leads out of it"):
        filtered(tmp_path / "ome.zarr", tmp_path / "out.zarr")


def test_links_that_stay_inside_are_read(tmp_path):
    store(tmp_path / "in.zarr", GREY)
    (tmp_path / "in.zarr/c/0/0").rename(tmp_path / "in.zarr/c/there")
    (tmp_path / "in.zarr/c/0/0").symlink_to("../there")
    result = filtered(tmp_path / "in.zarr", tmp_path / "out.zarr")
    np.testing.assert_array_equal(result[...], Chain.parse(BLUR)(GREY))


def test_a_pipe_does_not_hang(tmp_path):
    store(tmp_path / "in.zarr", GREY)
    (tmp_path / "in.zarr/c/0/0").unlink()
    os.mkfifo(tmp_path / "in.zarr/c/0/0")
    assert refused(tmp_path / "in.zarr") == "c/0/0 in it is not a regular file"


def test_levels_that_cannot_be_made(tmp_path):
    for key, value, message in (("shape", [2, 3, 300, 86], "larger"), ("data_type", "uint8", "another type")):
        ome(tmp_path / "in.zarr", "0.5")
        edited(tmp_path / "in.zarr/s1", lambda document, key=key, value=value: document.update({key: value}))
        assert message in refused(tmp_path / "in.zarr")
