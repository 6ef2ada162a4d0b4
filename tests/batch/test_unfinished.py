"""Large results survive the death of their run, and hashes do not depend on how the bytes came."""

import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filterworks.batch import unfinished as batch_unfinished
from filterworks.batch.digests import PIECE, Digest, HashedFile, digest, stretch_of, write_hashed
from filterworks.batch.tasks import LeftError
from filterworks.batch.unfinished import NAME, sweep, unfinished
from filterworks.errors import FileError
from filterworks.files.keeping import Stretches
from filterworks.files.source import UnnamedFileError
from tests.conftest import tree

LATER = 1 << 62


def test_the_hash_of_a_short_file_is_what_sha256sum_prints(tmp_path):
    for content in (b"", b"abc", bytes(PIECE)):
        (tmp_path / "f").write_bytes(content)
        assert digest(tmp_path / "f") == hashlib.sha256(content).hexdigest()


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(1, 3 * PIECE), min_size=1, max_size=4))
def test_the_hash_does_not_depend_on_the_portions(sizes):
    data = np.random.default_rng(0).bytes(sum(sizes))
    found, start = Digest(), 0
    for size in sizes:
        found.update(data[start : start + size])
        start += size
    pieces = [hashlib.sha256(data[i : i + PIECE]) for i in range(0, len(data), PIECE)]
    whole = pieces[0] if len(pieces) == 1 else hashlib.sha256(b"".join(one.digest() for one in pieces))
    assert found.hexdigest() == whole.hexdigest()


def test_a_file_that_is_continued_and_begun_anew_at_its_front(tmp_path):
    path = tmp_path / "f"
    data = np.random.default_rng(1).bytes(PIECE + 1000)
    path.write_bytes(data[:700])
    with path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        hashed = HashedFile(file, stretch_of(path, 0, None), Stretches())
        hashed.write(data[700:])
        hashed.seek(0)
        hashed.write(b"front")
    assert path.read_bytes() == b"front" + data[5:]
    assert hashed.digest.hexdigest() == digest(path)
    assert stretch_of(path, 3, 800).hexdigest() == hashlib.sha256(b"nt" + data[5:800]).hexdigest()


@pytest.mark.parametrize("place", [PIECE + 7, PIECE + 2000])
def test_a_file_that_is_written_in_another_order_has_no_hash(tmp_path, place):
    with (tmp_path / "f").open("w+b") as file:
        hashed = HashedFile(file, Digest(), Stretches())
        hashed.write(bytes(PIECE + 1000))
        hashed.seek(place)
        hashed.write(b"later")
    assert hashed.digest is None
    assert hashed.end == max(PIECE + 1000, place + 5)


def test_what_is_left_is_found_by_its_identity(tmp_path):
    folder = tmp_path / NAME
    with unfinished(folder, ["a", 1], ".tif") as kept:
        kept.file.write(b"0123456789")
        kept.note({"rows": 3})
        kept.file.write(b"lost")
    with unfinished(folder, ["a", 2], ".tif") as other:
        assert other.entries == []
        other.finish(tmp_path / "other")
    with unfinished(folder, ["a", 1], ".tif") as kept:
        assert kept.entries == [{"rows": 3}]
        assert kept.file.tell() == 10
        with unfinished(folder, ["a", 1], ".tif") as second:
            assert second is None  # somebody is writing it
        sweep(tmp_path, LATER)
        kept.file.write(b"!")
        kept.file.flush()
        kept.finish(tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == b"0123456789!"
    sweep(tmp_path, LATER)
    assert not folder.exists()


def test_the_end_of_one_run_takes_nothing_from_another_that_begins(tmp_path):
    over, kept_ones = threading.Event(), []

    def end():
        while not over.is_set():
            sweep(tmp_path, LATER)

    def begin(number):
        for turn in range(150):
            with unfinished(tmp_path / NAME, [number, turn % 3], ".tif") as kept:
                if kept is None:  # what is being removed just now looks like what is being written
                    continue
                kept.file.write(b"result")
                kept.note({"rows": 1})
                kept.finish(tmp_path / f"{number}-{turn}")
                kept_ones.append(tmp_path / f"{number}-{turn}")

    with ThreadPoolExecutor(4) as pool:
        enders = [pool.submit(end) for _ in range(2)]
        beginners = [pool.submit(begin, number) for number in range(2)]
        try:
            for one in beginners:
                one.result()
        finally:
            over.set()
        for one in enders:
            one.result()
    assert len(kept_ones) > 100
    assert all(path.read_bytes() == b"result" for path in kept_ones)


def written(kept, name, data):
    place = kept.path / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("ab") as file:
        kept.stretches.add(name, file.tell(), len(data))
        file.write(data)


def test_folders_are_kept_like_files_and_removed_when_nobody_goes_on(tmp_path):
    folder = tmp_path / NAME
    for name in ("a", "b"):
        with unfinished(folder, [name], ".zarr") as kept:
            written(kept, "c/0", b"first")
            kept.note({"rows": 1})
            written(kept, "c/0", b", second")
            written(kept, "c/1", b"another")
            kept.note({"rows": 2})
            written(kept, "c/1", b", lost")
            written(kept, "d", b"lost")
    begun = time.time_ns()
    with unfinished(folder, ["a"], ".zarr") as kept:
        assert kept.entries == [{"rows": 1}, {"rows": 2}]
        assert tree(kept.path) == {"c/0": b"first, second", "c/1": b"another"}
        sweep(tmp_path, LATER)
        assert kept.path.is_dir()
    sweep(tmp_path, begun - 10**9)
    assert len(list(folder.glob("*.zarr"))) == 1
    sweep(tmp_path, LATER)
    assert not folder.exists()


@pytest.mark.parametrize(("error", "cause"), [
    (FileError("no space"), OSError(28, "no space")), (FileError("corrupt"), UnnamedFileError("corrupt")),
    (FileError("needs more than --memory"), None), (LeftError(), None),
])  # fmt: skip
def test_what_would_fail_again_is_not_kept(tmp_path, error, cause):
    def fail():
        with unfinished(tmp_path / NAME, ["a"], ".zarr") as kept:
            written(kept, "c", b"chunk")
            kept.note({"rows": 1})
            raise error from cause

    with pytest.raises(type(error)):
        fail()
    left = sorted(path.suffix for path in (tmp_path / NAME).iterdir())
    assert left == ([] if str(error) == "corrupt" else [".journal", ".zarr"])


@pytest.mark.parametrize("damage", ["other bytes", "short file", "no file", "no folder", "torn line"])
def test_a_damaged_folder_costs_work_never_bytes(tmp_path, damage):
    with unfinished(tmp_path / NAME, ["a"], ".zarr") as kept:
        for name in ("c/0", "c/1"):
            written(kept, name, bytes(50))
            kept.note({"rows": int(name[-1])})
    chunk = kept.path / "c/0"
    if damage == "other bytes":
        chunk.write_bytes(bytes(49) + b"!")
    elif damage == "short file":
        os.truncate(chunk, 49)
    elif damage == "no file":
        chunk.unlink()
    elif damage == "no folder":
        kept.path.rename(tmp_path / "away")
    else:
        (journal,) = (tmp_path / NAME).glob("*.journal")
        os.truncate(journal, journal.stat().st_size - 5)
    with unfinished(tmp_path / NAME, ["a"], ".zarr") as kept:
        assert kept.entries == ([{"rows": 0}] if damage == "torn line" else [])
        assert kept.path.is_dir() == (damage == "torn line")
        assert not (kept.path / "c/1").exists()


@pytest.mark.parametrize("damage", ["torn line", "no line end", "short file", "no file", "other bytes"])
def test_a_damaged_journal_costs_work_never_bytes(tmp_path, damage):
    folder = tmp_path / NAME
    with unfinished(folder, ["a"], ".tif") as kept:
        for rows in (1, 2):
            kept.file.write(bytes(50))
            kept.note({"rows": rows})
    (journal,) = folder.glob("*.journal")
    result = kept.path
    first = {"rows": 1, "files": [["", 0, 50, hashlib.sha256(bytes(50)).hexdigest()]]}
    if damage == "torn line":
        journal.write_bytes(journal.read_bytes()[:-5])
    elif damage == "no line end":
        journal.write_bytes(journal.read_bytes()[:-1])
    elif damage == "other bytes":
        result.write_bytes(bytes(30) + b"!" + bytes(69))
    elif damage == "short file":
        os.truncate(result, 70)
    else:
        result.unlink()
    with unfinished(folder, ["a"], ".tif") as kept:
        expected = [first] if damage in ("torn line", "no line end") else []
        assert kept.entries == [{"rows": 1} for _ in expected]
        assert kept.file.tell() == (50 if expected else 0)
        kept.note({"rows": 9})
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        assert lines[:-1] == expected
        assert (lines[-1]["rows"], lines[-1]["files"][0][2]) == (9, kept.file.tell())


@pytest.mark.parametrize("number", range(8))  # file systems list their names in orders of their own
def test_the_same_is_not_begun_anew_while_what_is_left_of_it_is_removed(tmp_path, monkeypatch, number):
    folder = tmp_path / NAME
    with suppress(KeyboardInterrupt), unfinished(folder, [number], ".zarr") as kept:
        kept.path.mkdir()
        raise KeyboardInterrupt
    (journal,) = folder.glob("*.journal")
    os.utime(journal, (1, 1))
    removed, meanwhile = [], []

    def discard(path):
        removed.append(path.suffix)
        with unfinished(folder, [number], ".zarr") as other:
            meanwhile.append(other)
        batch_unfinished_discard(path)

    batch_unfinished_discard = batch_unfinished.discard
    monkeypatch.setattr(batch_unfinished, "discard", discard)
    batch_unfinished.sweep(tmp_path, time.time_ns())
    assert removed == [".zarr", ".journal"]
    assert meanwhile == [None, None]
    assert not folder.exists()


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 2 * PIECE + 17])
def test_a_file_written_at_once_has_the_hash_of_its_content(tmp_path, size):
    data = np.random.default_rng(size).bytes(size)
    assert write_hashed(str(tmp_path / "a"), memoryview(data)) == digest(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == data
