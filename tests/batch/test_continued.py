"""Large images, stores and stacks go on where a run was stopped, and come to the same bytes."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from zarr.codecs import ShardingCodec

from filterworks import Chain
from filterworks.batch import images
from filterworks.batch import unfinished as module
from filterworks.batch.digests import digest
from filterworks.batch.tasks import STOPPING, LeftError
from filterworks.batch.unfinished import NAME
from filterworks.errors import FileError
from tests.conftest import tree
from tests.files.test_zarr import ome

RNG = np.random.default_rng(0)


class StoppedError(Exception):
    """What ends a run in the tests below."""


def content(path):
    return tree(path) if path.is_dir() else path.read_bytes()


def task(source, out, **options):
    (out.parent / "parts").mkdir(parents=True, exist_ok=True)
    usual = {"known": None, "content": None, "threads": 1, "chain": "mean:size=3", "range": "clip", "quality": 95,
             "max_pixels": 10**9, "memory": None, "volume": False, "overviews": False, "verify": True}  # fmt: skip
    return images.ImageTask(input=str(source), output=str(out), partial="", **{**usual, **options})


@pytest.fixture
def small(monkeypatch):
    """Small images count as large, are filtered in small portions, and the journal tells of each."""
    monkeypatch.setattr(images, "_LARGE", 0)
    monkeypatch.setattr(module, "_EVERY", 0.0)
    monkeypatch.setattr(module, "_PARTS", 1)
    monkeypatch.setattr("filterworks.batch.render.BAND", 3000)
    monkeypatch.setattr("filterworks.batch.overviews._SMALLEST", 30)
    monkeypatch.setattr("filterworks.batch.volume.BAND", 700)
    monkeypatch.setattr("filterworks.batch.volume._BLOCK", 12000)


def scribble(path):
    """Write what no journal tells of, as a process may before it dies."""
    if path.is_file():
        with path.open("ab") as file:
            file.write(b"not in the journal")
        return
    (path / "more").write_bytes(b"neither")
    longest = max((one for one in path.rglob("*") if one.is_file()), key=lambda one: one.stat().st_size)
    with longest.open("ab") as file:
        file.write(b"not in the journal")


def stopped_again_and_again(monkeypatch, one):
    """Compare a result that is stopped at random with an undisturbed one; return how often it was."""
    parts = Path(one.output).parent / "parts"
    suffix = Path(one.output).suffix
    undisturbed = one.make(parts / f"whole{suffix}")
    note, random_ = module.Unfinished.note, random.Random(5)
    stops, told = 0, []

    def stopping(self, entry):
        note(self, entry)
        told.append(entry["place"])
        if random_.random() < 0.7:
            scribble(self.path)
            raise StoppedError

    monkeypatch.setattr(module.Unfinished, "note", stopping)
    while True:
        try:
            made = one.make(parts / f"again{suffix}")
            break
        except StoppedError:
            stops += 1
    monkeypatch.setattr(module.Unfinished, "note", note)
    assert content(parts / f"again{suffix}") == content(parts / f"whole{suffix}")
    assert made == undisturbed
    assert made.digest in (None, digest(parts / f"again{suffix}"))
    # Nothing that was told of is done again.
    places = [(place["step"], place["rows"]) for place in told]
    assert places == sorted(places)
    assert os.listdir(parts.parent / NAME) == []
    return stops


@pytest.mark.parametrize("options", [
    {"tile": (64, 32), "compression": "zlib"},
    {"rowsperstrip": 11, "compression": "lzw", "predictor": True},
    {"tile": (32, 32), "planarconfig": "separate", "bigtiff": True},
])  # fmt: skip
def test_pages_and_overviews(tmp_path, monkeypatch, small, options):
    shape = (3, 301, 97) if "planarconfig" in options else (301, 97, 3)
    with tifffile.TiffWriter(tmp_path / "in.tif", bigtiff="bigtiff" in options) as writer:
        for _ in range(3):
            kept = {key: value for key, value in options.items() if key != "bigtiff"}
            writer.write(RNG.integers(0, 60000, shape).astype(np.uint16), photometric="rgb", **kept)
    one = task(tmp_path / "in.tif", tmp_path / "out" / "o.tif", overviews=True)
    assert stopped_again_and_again(monkeypatch, one) >= 2


STACK = RNG.integers(0, 60000, (17, 61, 47)).astype(np.uint16)


@pytest.mark.parametrize("options", [
    [{"rowsperstrip": 7, "compression": "zlib"}],
    [{"rowsperstrip": 7}],
    [{"tile": (16, 16)}],
    [{"rowsperstrip": 7}, {"tile": (16, 16), "compression": "lzw"}, {"tile": (16, 32)}],
])  # fmt: skip
def test_stacks(tmp_path, monkeypatch, small, options):
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for number, page in enumerate(STACK):
            writer.write(page, metadata=None, photometric="minisblack", **options[number % len(options)])
    one = task(tmp_path / "in.tif", tmp_path / "out" / "o.tif", volume=True)
    assert stopped_again_and_again(monkeypatch, one) >= 4
    with tifffile.TiffFile(tmp_path / "out/parts/again.tif") as made:
        got = np.stack([page.asarray() for page in made.pages])
    np.testing.assert_array_equal(got, Chain.parse("mean:size=3")(STACK, axes=(0, 1, 2)))


def test_a_stack_of_colours_by_themselves(tmp_path, monkeypatch, small):
    planes = RNG.integers(0, 255, (9, 3, 61, 47)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "in.tif", planes, photometric="rgb", planarconfig="separate", rowsperstrip=9)
    one = task(tmp_path / "in.tif", tmp_path / "out" / "o.tif", volume=True)
    assert stopped_again_and_again(monkeypatch, one) >= 2


IMAGE = RNG.integers(0, 60000, (301, 197)).astype(np.uint16)
FIRST = ShardingCodec(chunk_shape=(16, 24), index_location="start")
LAYOUTS = {
    "v3": {"chunks": (32, 48)},
    "v2": {"chunks": (32, 48), "zarr_format": 2},
    "sharded": {"chunks": (16, 24), "shards": (64, 96)},
    "sharded, table first": {"chunks": (64, 96), "serializer": FIRST, "compressors": None},
}


@pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_stores(tmp_path, monkeypatch, small, layout):
    values = IMAGE.copy()
    values[40:180, 30:] = 0  # chunks that are not stored
    array = zarr.create_array(tmp_path / "in.zarr", shape=values.shape, dtype="uint16", **LAYOUTS[layout])
    array[...] = values
    one = task(tmp_path / "in.zarr", tmp_path / "out" / "o.zarr")
    assert stopped_again_and_again(monkeypatch, one) >= 2
    got = zarr.open_array(tmp_path / "out/parts/again.zarr", mode="r")[...]
    np.testing.assert_array_equal(got, Chain.parse(one.chain)(values))


@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize(("version", "chunks", "down"), [
    ("0.4", (1, 1, 32, 48), (1, 1, 2, 2)), ("0.5", (1, 2, 64, 48), (1, 2, 2, 2)), ("0.5", (2, 1, 64, 48), (1, 1, 2, 3)),
])  # fmt: skip
def test_groups_with_levels(tmp_path, monkeypatch, small, version, chunks, down, volume):
    ome(tmp_path / "in.zarr", version, shape=(2, 4, 133, 171), chunks=chunks, down=down)
    one = task(tmp_path / "in.zarr", tmp_path / "out" / "o.zarr", volume=volume)
    # Planes of both channels share chunks: they are all there at the end only.
    assert stopped_again_and_again(monkeypatch, one) >= (2 if chunks[0] == 1 else 1)


@pytest.mark.parametrize("options", [
    {"chunks": (1, 16, 20)}, {"chunks": (4, 16, 20)}, {"chunks": (16, 16, 20)},
    {"chunks": (2, 8, 10), "shards": (6, 16, 20)}, {"chunks": (1, 8, 10), "shards": (6, 16, 20), "zarr_format": 3},
])  # fmt: skip
@pytest.mark.parametrize("volume", [False, True])
def test_stacks_in_stores(tmp_path, monkeypatch, small, options, volume):
    array = zarr.create_array(tmp_path / "in.zarr", shape=STACK.shape, dtype="uint16", **options)
    array[...] = STACK
    one = task(tmp_path / "in.zarr", tmp_path / "out" / "o.zarr", volume=volume)
    assert stopped_again_and_again(monkeypatch, one) >= (2 if options["chunks"][0] == 1 else 1)


@pytest.mark.parametrize(("source", "target"), [("in.zarr", "o.tif"), ("in.tif", "o.zarr")])
def test_from_one_kind_to_the_other(tmp_path, monkeypatch, small, source, target):
    if source == "in.tif":
        tifffile.imwrite(tmp_path / source, STACK, photometric="minisblack", compression="zlib")
    else:
        array = zarr.create_array(tmp_path / source, shape=STACK.shape, dtype="uint16", chunks=(1, 20, 20))
        array[...] = STACK
    for volume in (False, True):
        one = task(tmp_path / source, tmp_path / f"out {volume}" / target, volume=volume)
        assert stopped_again_and_again(monkeypatch, one) >= 2


def left_half(monkeypatch, one):
    """Leave a result where the journal tells of it for the third time."""
    note, told = module.Unfinished.note, []

    def stopping(self, entry):
        note(self, entry)
        told.append(entry)
        if len(told) == 3:
            raise StoppedError

    place = Path(one.output).parent / "parts" / f"left{Path(one.output).suffix}"
    with monkeypatch.context() as changed:
        changed.setattr(module.Unfinished, "note", stopping)
        with pytest.raises(StoppedError):
            one.make(place)


def begins_with(monkeypatch, one):
    """Return the first place that the journal tells of when the task is done again."""
    note, told = module.Unfinished.note, []

    def hearing(self, entry):
        note(self, entry)
        told.append((entry["place"]["step"], entry["place"]["rows"]))

    suffix = Path(one.output).suffix
    with monkeypatch.context() as changed:
        changed.setattr(module.Unfinished, "note", hearing)
        one.make(Path(one.output).parent / "parts" / f"again{suffix}")
    return told[0]


@pytest.fixture
def store(tmp_path):
    array = zarr.create_array(tmp_path / "in.zarr", shape=IMAGE.shape, dtype="uint16", chunks=(32, 48))
    array[...] = IMAGE
    return tmp_path / "in.zarr"


@pytest.mark.parametrize("change", [
    "nothing", "chunk of the input", "chain", "range", "verify", "volume", "version", "library",
])  # fmt: skip
def test_what_is_made_differently_begins_anew(tmp_path, monkeypatch, small, store, change):
    one = task(store, tmp_path / "out" / "o.zarr")
    left_half(monkeypatch, one)
    expected = (0, 32)
    if change == "nothing":
        expected = (0, 128)
    elif change == "chunk of the input":
        chunk = store / "c/8/3"
        data = chunk.read_bytes()
        chunk.write_bytes(data)
        os.utime(chunk, ns=(0, chunk.stat().st_mtime_ns + 10**6))
    elif change == "version":
        monkeypatch.setattr(module, "__version__", "0")
    elif change == "library":
        monkeypatch.setattr("cv2.__version__", "0")
    else:
        other = {"chain": "mean:size=5", "range": "abs", "verify": False, "volume": True}
        one = dataclasses.replace(one, **{change: other[change]})
    assert begins_with(monkeypatch, one) == expected


@pytest.mark.parametrize("lost", ["chunk", "end of a chunk", "metadata"])
def test_what_a_power_cut_has_lost_is_made_again(tmp_path, monkeypatch, small, store, lost):
    one = task(store, tmp_path / "out" / "o.zarr")
    one.make(tmp_path / "out" / "whole.zarr")
    left_half(monkeypatch, one)
    (kept,) = (tmp_path / "out" / NAME).glob("*.zarr")
    if lost == "end of a chunk":
        os.truncate(kept / "c/0/1", 100)
    else:
        (kept / {"chunk": "c/1/2", "metadata": "zarr.json"}[lost]).unlink()
    assert begins_with(monkeypatch, one) == (0, 32)
    assert tree(tmp_path / "out/parts/again.zarr") == tree(tmp_path / "out/whole.zarr")


@pytest.mark.parametrize("chunks", [(1, 20, 20), (8, 20, 20)])
def test_who_is_asked_to_end_leaves_what_is_whole(tmp_path, monkeypatch, small, chunks):
    """At the next rows, or when the planes that share chunks are there."""
    array = zarr.create_array(tmp_path / "in.zarr", shape=STACK.shape, dtype="uint16", chunks=chunks)
    array[...] = STACK
    one = task(tmp_path / "in.zarr", tmp_path / "out" / "o.zarr", volume=True)
    one.make(tmp_path / "out" / "parts" / "whole.zarr")
    monkeypatch.setattr(module, "_EVERY", 1000.0)
    STOPPING.set()
    try:
        with pytest.raises(LeftError):
            one.make(tmp_path / "out" / "parts" / "again.zarr")
    finally:
        STOPPING.clear()
    expected = {1: (0, 20), 8: (0, 61)}[chunks[0]]
    (journal,) = (tmp_path / "out" / NAME).glob("*.journal")
    (line,) = map(json.loads, journal.read_text().splitlines())
    assert (line["place"]["step"], line["place"]["rows"]) == expected
    one.make(tmp_path / "out" / "parts" / "again.zarr")
    assert tree(tmp_path / "out/parts/again.zarr") == tree(tmp_path / "out/parts/whole.zarr")


def test_two_at_once_make_one_each(tmp_path, monkeypatch, small, store):
    one = task(store, tmp_path / "out" / "o.zarr")
    note, inside = module.Unfinished.note, []

    def meanwhile(self, entry):
        note(self, entry)
        if not inside:
            inside.append(True)
            one.make(tmp_path / "out" / "parts" / "other.zarr")

    monkeypatch.setattr(module.Unfinished, "note", meanwhile)
    one.make(tmp_path / "out" / "parts" / "one.zarr")
    assert tree(tmp_path / "out/parts/other.zarr") == tree(tmp_path / "out/parts/one.zarr")


def test_a_corrupt_input_leaves_nothing(tmp_path, small, store):
    (store / "c/8/3").write_bytes(b"no chunk")
    with pytest.raises(FileError, match="is corrupt"):
        task(store, tmp_path / "out" / "o.zarr").make(tmp_path / "out" / "parts" / "o.zarr")
    assert os.listdir(tmp_path / "out" / NAME) == []


CHAINS = {
    "page": "median:size=5 | sobel",
    "store": "median:size=5 | median:size=5 | sobel",
    "stack": "median:size=[1,3,1] | median:size=[1,1,3] | median:size=[1,3,1] | median:size=[1,1,3] | mean:size=3",
}


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A page of more than 64 MiB, a store with levels of 32, a stack of 16, and what becomes of them."""
    base = tmp_path_factory.mktemp("large")
    pixels = np.tile(RNG.integers(0, 60000, (600, 700)).astype(np.uint16), (10, 8))
    tifffile.imwrite(base / "page.tif", pixels, tile=(256, 256), compression="zlib")
    pixels = pixels[:, :2800]
    planes = np.resize(pixels, (4, 350, 6000))
    tifffile.imwrite(base / "stack.tif", planes, rowsperstrip=32, photometric="minisblack")
    group = zarr.create_group(base / "store.zarr")
    datasets = []
    for step, shards in ((1, None), (2, (512, 512))):
        datasets.append(
            {"path": str(step), "coordinateTransformations": [{"type": "scale", "scale": [step, step]}]}
        )
        level = pixels[::step, ::step]
        options = {"chunks": (128, 128), "shards": shards}
        array = group.create_array(str(step), shape=level.shape, dtype="uint16", **options)
        array[...] = level
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    made = {}
    for source in sorted(base.iterdir()):
        assert started(source, base / "whole").wait() == 0
        made[source.stem] = source, content(base / "whole" / source.name)
    return made


# A quarter of what is large, and a fifth of the time between two lines of a journal.
SOONER = (
    "from filterworks.batch import images, unfinished\n"
    "images._LARGE, unfinished._EVERY = images._LARGE // 4, unfinished._EVERY / 5\n"
)


def started(source, out):
    """Start a run on one core: it takes a while on any machine. The page is one for the usual settings."""
    core = min(os.sched_getaffinity(0))
    options = ["--volume"] if source.stem == "stack" else []
    command = ["images", source, "-o", out / source.name, "-f", CHAINS[source.stem], "-q", *options]
    code = f"{'' if source.stem == 'page' else SOONER}from filterworks.cli import main\nmain()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )


def journal_of(out):
    """The lines of the only journal, and the result that it is about."""
    (journal,) = (out / NAME).glob("*.journal")
    (result,) = (path for path in (out / NAME).iterdir() if path != journal)
    return [json.loads(line) for line in journal.read_text().splitlines()], result


def killed_at_its_first_line(source, out):
    child = started(source, out)
    while child.poll() is None and not any(
        journal.stat().st_size for journal in (out / NAME).glob("*.journal")
    ):
        time.sleep(0.02)
    child.kill()
    assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("kind", CHAINS)
def test_a_large_result_survives_sigkill_and_ctrl_c(tmp_path, large, kind):
    source, whole = large[kind]
    killed_at_its_first_line(source, tmp_path)
    before, result = journal_of(tmp_path)
    files = {name: (result / name).stat().st_ino for name, *_ in before[0]["files"]}
    begun = time.time_ns()
    child = started(source, tmp_path)
    (journal,) = (tmp_path / NAME).glob("*.journal")
    while child.poll() is None and journal.stat().st_mtime_ns < begun:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    after, _ = journal_of(tmp_path)
    assert after[: len(before)] == before
    assert len(after) > len(before)
    assert sorted(os.listdir(tmp_path)) == [".filterworks-unfinished", ".filterworks.sqlite"]
    assert started(source, tmp_path).wait() == 0
    assert content(tmp_path / source.name) == whole
    assert {name: (tmp_path / source.name / name).stat().st_ino for name in files} == files
    assert sorted(os.listdir(tmp_path)) == [".filterworks.sqlite", source.name]


@pytest.mark.parametrize("kind", ["stack", "store"])
def test_a_disk_that_is_full_costs_nothing_that_is_there(disk, large, kind):
    source, whole = large[kind]
    out = disk.path / "out"
    disk.mount("size=200m")
    killed_at_its_first_line(source, out)
    before, result = journal_of(out)
    disk.mount(f"size={shutil.disk_usage(disk.path).used + (1 << 20)}")
    assert started(source, out).wait() == 1
    after, _ = journal_of(out)
    assert after[: len(before)] == before
    assert result.exists()
    disk.mount("size=200m")
    assert started(source, out).wait() == 0
    assert content(out / source.name) == whole
    assert sorted(os.listdir(out)) == [".filterworks.sqlite", source.name]


def test_what_no_run_continues_is_removed_by_the_next(tmp_path, monkeypatch, small, store, command):
    out = tmp_path / "out"
    one = task(store, out / "o.zarr")
    left_half(monkeypatch, one)
    assert sorted(path.suffix for path in (out / NAME).iterdir()) == [".journal", ".zarr"]
    before = tree(out / NAME)
    with pytest.raises(FileError, match="--memory allows"):
        dataclasses.replace(one, memory=1000).make(out / "parts" / "o.zarr")
    assert tree(out / NAME) == before
    (out / "parts").rmdir()
    done = command("images", store, "-o", out / "o.zarr", "-f", "sobel")
    assert done.code == 0, done.err
    assert sorted(os.listdir(out)) == [".filterworks.sqlite", "o.zarr"]
