"""Large results survive the death of their run, and hashes do not depend on how the bytes came."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from filterworks.batch import images
from filterworks.batch import unfinished as module
from filterworks.batch.digests import PIECE, Digest, HashedFile, digest
from filterworks.batch.unfinished import NAME, sweep, unfinished


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
        hashed = HashedFile(file)
        hashed.write(data[700:])
        hashed.seek(0)
        hashed.write(b"front")
    assert path.read_bytes() == b"front" + data[5:]
    assert hashed.digest.hexdigest() == digest(path)


def test_what_is_left_is_found_by_its_identity(tmp_path):
    folder = tmp_path / NAME
    with unfinished(folder, ["a", 1]) as kept:
        kept.file.write(b"0123456789")
        kept.note({"rows": 3})
        kept.file.write(b"lost")
    with unfinished(folder, ["a", 2]) as other:
        assert other.entries == []
        other.finish(tmp_path / "other")
    with unfinished(folder, ["a", 1]) as kept:
        assert kept.entries == [{"rows": 3, "end": 10, "hash": hashlib.sha256(b"0123456789").hexdigest()}]
        assert kept.file.tell() == 10
        with unfinished(folder, ["a", 1]) as second:
            assert second is None  # somebody is writing it
        sweep(tmp_path)
        kept.file.write(b"!")
        kept.file.flush()
        kept.finish(tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == b"0123456789!"
    sweep(tmp_path)
    assert not folder.exists()


@pytest.mark.parametrize("damage", ["torn line", "no line end", "short file", "no file", "other bytes"])
def test_a_damaged_journal_costs_work_never_bytes(tmp_path, damage):
    folder = tmp_path / NAME
    with unfinished(folder, ["a"]) as kept:
        for rows in (1, 2):
            kept.file.write(bytes(50))
            kept.note({"rows": rows})
    (journal,) = folder.glob("*.journal")
    first = {"rows": 1, "end": 50, "hash": hashlib.sha256(bytes(50)).hexdigest()}
    if damage == "torn line":
        journal.write_bytes(journal.read_bytes()[:-5])
    elif damage == "no line end":
        journal.write_bytes(journal.read_bytes()[:-1])
    elif damage == "other bytes":
        journal.with_suffix("").write_bytes(bytes(30) + b"!" + bytes(69))
    elif damage == "short file":
        os.truncate(journal.with_suffix(""), 70)
    else:
        journal.with_suffix("").unlink()
    with unfinished(folder, ["a"]) as kept:
        expected = [first] if damage in ("torn line", "no line end") else []
        assert kept.entries == expected
        assert kept.file.tell() == (50 if expected else 0)
        kept.note({"rows": 9})
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        assert lines[:-1] == expected
        assert (lines[-1]["rows"], lines[-1]["end"]) == (9, kept.file.tell())


class StoppedError(Exception):
    """What ends a run in the tests below."""


@pytest.mark.parametrize("options", [
    {"tile": (64, 32), "compression": "zlib"},
    {"rowsperstrip": 11, "compression": "lzw", "predictor": True},
    {"tile": (32, 32), "planarconfig": "separate", "bigtiff": True},
])  # fmt: skip
def test_every_stop_is_continued_to_the_same_bytes(tmp_path, monkeypatch, options):
    monkeypatch.setattr(images, "_LARGE", 0)
    monkeypatch.setattr(module, "_EVERY", 0.0)
    monkeypatch.setattr("filterworks.batch.render.BAND", 3000)
    monkeypatch.setattr("filterworks.batch.overviews._SMALLEST", 30)
    rng = np.random.default_rng(0)
    shape = (3, 301, 97) if "planarconfig" in options else (301, 97, 3)
    with tifffile.TiffWriter(tmp_path / "in.tif", bigtiff="bigtiff" in options) as writer:
        for _ in range(3):
            kept = {key: value for key, value in options.items() if key != "bigtiff"}
            writer.write(rng.integers(0, 60000, shape).astype(np.uint16), photometric="rgb", **kept)
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    task = images.ImageTask(
        input=str(tmp_path / "in.tif"), output=str(out / "o.tif"), partial="", known=None, content=None, threads=1,
        chain="gaussian:sigma=1.5", range="clip", quality=95, max_pixels=10**9, memory=None, volume=False, overviews=True, verify=True,
    )  # fmt: skip
    undisturbed = task.make(out / "parts" / "whole.tif")
    whole = (out / "parts" / "whole.tif").read_bytes()
    note, random_ = module.Unfinished.note, random.Random(5)
    stops = 0

    def stopping(self, entry):
        note(self, entry)
        if random_.random() < 0.5:
            self.file.write(b"not in the journal")
            raise StoppedError

    monkeypatch.setattr(module.Unfinished, "note", stopping)
    while True:
        try:
            made = task.make(out / "parts" / "again.tif")
            break
        except StoppedError:
            stops += 1
    assert stops >= 2
    assert (out / "parts" / "again.tif").read_bytes() == whole
    assert made == undisturbed
    assert made.digest == digest(out / "parts" / "again.tif")
    np.testing.assert_array_equal(
        tifffile.imread(out / "parts" / "again.tif"), tifffile.imread(out / "parts" / "whole.tif")
    )


def test_a_large_image_is_continued(tmp_path):
    """After SIGKILL at the last line of the journal, after Ctrl-C where it stood."""
    rng = np.random.default_rng(0)
    pixels = np.tile(rng.integers(0, 60000, (600, 700)).astype(np.uint16), (8, 10))
    tifffile.imwrite(tmp_path / "in.tif", pixels, tile=(256, 256), compression="zlib")

    def start(out):
        command = [sys.executable, "-m", "filterworks", "images", tmp_path / "in.tif", "-o", out / "o.tif",
                   "-f", "gaussian:sigma=2 | median:size=5 | unsharp_mask:sigma=9 | scharr", "-q"]  # fmt: skip
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 0
    for number, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        out = tmp_path / f"stopped by {number}"
        child = start(out)
        while child.poll() is None and not any(
            journal.stat().st_size for journal in (out / NAME).glob("*.journal")
        ):
            time.sleep(0.02)
        child.send_signal(number)
        assert child.wait() == code
        assert NAME in os.listdir(out)
        assert not (out / "o.tif").exists()
        (journal,) = (out / NAME).glob("*.journal")
        end = json.loads(journal.read_text().splitlines()[-1])["end"]
        before = journal.with_suffix("").read_bytes()[:end]
        assert len(before) == end
        assert start(out).wait() == 0
        assert (out / "o.tif").read_bytes() == (tmp_path / "whole" / "o.tif").read_bytes()
        assert (out / "o.tif").read_bytes()[16:end] == before[16:]
        assert sorted(os.listdir(out)) == [".filterworks.sqlite", "o.tif"]
