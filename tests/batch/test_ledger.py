"""The record of an output folder: what it holds, what runs do by it, and whether it is true."""

import json
import os
import shutil
import socket
import sqlite3
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import skimage.data
from PIL import Image

import filterworks as fw
from filterworks.batch.database import NAME
from filterworks.batch.image_job import Job
from filterworks.batch.job import make_job
from filterworks.batch.kinds import make_any_job
from filterworks.batch.ledger import Ledger, Record, is_living
from filterworks.batch.ledger_copy import merge, snapshot
from tests.conftest import pixels, tree, wait_for_results

IMAGES = 9
SERIES = "data/series/co2.csv"


def records(out):
    with Ledger(out, create=False) as ledger:
        return {record.output: record for record in [*ledger.results(), *ledger.failures()]}


def edit(out, statement, *values):
    with sqlite3.connect(out / ".filterworks.sqlite") as database:
        database.execute(statement, values)
    database.close()


def test_a_record_tells_how_a_result_came_about(photos, tmp_path, command):
    (photos / "bad.png").write_bytes(b"")
    for attempts in (1, 2):
        command("images", photos, "-o", tmp_path / "out", "-f", "sobel")
        found = records(tmp_path / "out")
        bad, good = found["bad.png"], found["face.jpg"]
        assert bad.error.endswith("bad.png: is empty (0 bytes)")
        assert (bad.attempts, good.attempts) == (attempts, 1)
    assert len(found) == IMAGES + 1
    for record in found.values():
        assert record.worker == f"{socket.gethostname()}:{os.getpid()}"
        assert record.version == fw.__version__
        assert 0 < record.seconds < 60
        assert record.input_hash is None
    assert good.input_size == (photos / "face.jpg").stat().st_size


def test_of_two_copies_the_later_record_counts_however_close_they_are(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()

    def write(folder, output, output_hash):
        with Ledger(folder, create=True) as ledger:
            ledger.write([Record(output, "in.png", 1, 2, "signature", output_hash=output_hash)])

    write(here, "a.png", "first")
    write(here, "b.png", "first")
    snapshot(here / NAME, there / NAME)
    write(there, "a.png", "second")
    write(here, "b.png", "third")
    for one, other in ((here, there), (there, here)):
        merge(one / NAME, other / NAME)
        found = {name: record.output_hash for name, record in records(one).items()}
        assert found == {"a.png": "second", "b.png": "third"}


def test_inputs_told_apart_by_content(photos, tmp_path, command):
    arguments = (
        "images",
        photos,
        "-o",
        tmp_path / "out",
        "-f",
        "mean:size=3",
        "--json",
        "--check",
        "content",
    )
    assert len(command(*arguments).json["done"]) == IMAGES
    assert all(len(record.input_hash) == 64 for record in records(tmp_path / "out").values())
    for path in photos.rglob("*.*"):
        if path.is_file():
            os.utime(path, ns=(5, 5))
    assert len(command(*arguments).json["skipped"]) == IMAGES
    # the same size and time, other pixels: noticed by the content only
    Image.fromarray(np.zeros((30, 40), np.uint8)).save(photos / "a.bmp")
    first = command(*arguments).json
    assert [os.path.basename(entry["input"]) for entry in first["done"]] == ["a.bmp"]
    stamp = (photos / "a.bmp").stat()
    Image.fromarray(np.full((30, 40), 7, np.uint8)).save(photos / "a.bmp")
    os.utime(photos / "a.bmp", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    by_time = command("images", photos, "-o", tmp_path / "out", "-f", "mean:size=3", "--json").json
    assert "a.bmp" in {os.path.basename(entry["input"]) for entry in by_time["skipped"]}
    again = command(*arguments).json
    assert "a.bmp" in {os.path.basename(entry["input"]) for entry in again["done"]}
    assert (pixels(tmp_path / "out" / "a.bmp") == 7).all()


def test_only_what_failed_and_everything_again(photos, tmp_path, command):
    out = tmp_path / "out"
    arguments = ("images", photos, "-o", out, "-f", "sobel", "--json")
    (photos / "bad.png").write_bytes(b"")
    command(*arguments)
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(photos / "bad.png")
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(photos / "new.png")
    planned = command(*arguments, "--retry-failed", "--dry-run").json["planned"]
    assert [os.path.basename(entry["input"]) for entry in planned] == ["bad.png"]
    retried = command(*arguments, "--retry-failed")
    assert retried.code == 0
    assert [os.path.basename(entry["input"]) for entry in retried.json["done"]] == ["bad.png"]
    assert retried.json["skipped"] == retried.json["left"] == []
    assert not (out / "new.png").exists()
    nothing = command(*arguments, "--retry-failed")
    assert nothing.code == 0
    assert nothing.json["done"] == []
    before = tree(out)
    forced = command(*arguments, "--force").json
    assert len(forced["done"]) == IMAGES + 2
    assert forced["skipped"] == []
    assert tree(out) == before | {"new.png": (out / "new.png").read_bytes()}
    # --force is no --overwrite
    (photos / "mine.png").write_bytes((photos / "new.png").read_bytes())
    (out / "mine.png").write_text("mine")
    refused = command(*arguments, "--force")
    assert refused.code == 2
    assert "--overwrite" in refused.err
    assert (out / "mine.png").read_text() == "mine"


def test_the_job_file_has_a_place_for_them(photos, tmp_path, command):
    job = tmp_path / "job.toml"
    job.write_text(
        f'[input]\npaths = ["{photos}"]\n[[filter]]\nname = "sobel"\n[output]\npath = "out"\n'
        '[run]\ncheck = "content"\nforce = true\n'
    )
    for _ in range(2):
        assert len(command("run", job, "--json").json["done"]) == IMAGES
    assert all(record.input_hash for record in records(tmp_path / "out").values())
    job.write_text(job.read_text() + "retry_failed = true\n")
    assert command("run", job, "--json").json["done"] == []
    job.write_text(job.read_text().replace('"content"', '"name"'))
    refused = command("run", job)
    assert refused.code == 2
    assert "[run] check" in refused.err


def test_what_was_recorded_without_how_it_is_made_is_intact_and_unproved(photos, tmp_path, command):
    out = tmp_path / "out"
    arguments = ("images", photos, "-o", out, "-f", "sobel", "--json")
    command(*arguments)
    edit(out, "DELETE FROM recipes")
    audited = command("audit", out, "--sample", "100%", "--json").json
    assert (audited["intact"], audited["recomputed"]) == (IMAGES, 0)
    assert "does not hold how it was made" in audited["unproved"][0]["reason"]
    assert len(command(*arguments).json["skipped"]) == IMAGES
    assert command("audit", out, "--sample", "100%", "--json").json["recomputed"] == IMAGES


def test_a_name_that_nobody_wrote_is_not_answered_with_what_lies_beside_it(photos, tmp_path, command):
    command("images", photos / "face.jpg", "-o", tmp_path / "made.jpg", "-f", "sobel")
    for verb in ("status", "audit"):
        refused = command(verb, tmp_path / "maed.jpg")
        assert (refused.code, "no result of that name" in refused.err) == (2, True)
        assert command(verb, tmp_path / "made.jpg").code == 0
    (tmp_path / "made.jpg").unlink()
    lost = command("audit", tmp_path / "made.jpg")
    assert (lost.code, "missing" in lost.out) == (1, True)


def test_status_from_another_terminal_is_live(tmp_path, process, command):
    base = tmp_path / "in"
    base.mkdir()
    for i in range(40):
        photo = np.roll(skimage.data.astronaut(), 9 * i, 0)
        Image.fromarray(photo).save(base / f"{i:02d}.bmp")
    child = process("images", base, "-o", tmp_path / "out", "-f", "bilateral:sigma_color=9,sigma_space=4")
    wait_for_results(tmp_path / "out", 2)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        (run,) = command("status", tmp_path / "out", "--json").json["running"] or [None]
        assert run is not None, "the run was over before it was looked at"
        if run["done"]:
            break
        time.sleep(0.05)
    assert run["process"] == child.pid
    assert run["total"] == 40
    assert run["done"] + run["left"] == 40
    assert run["rate"] > 0
    assert run["seconds_left"] == pytest.approx(run["left"] / run["rate"], rel=0.1)
    (worker,) = run["workers"]
    assert worker["worker"] == f"{socket.gethostname()}:{child.pid}"
    shown = command("status", tmp_path / "out").out
    assert "left of 40; " in shown
    assert " files/s, " in shown


def test_a_process_that_ended_and_that_nobody_waited_for_is_dead(process):
    child = process("--version")
    created, host = psutil.Process(child.pid).create_time(), socket.gethostname()
    assert is_living(child.pid, created, host, time.time())
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert not is_living(child.pid, created, host, time.time())


def test_an_audit_of_a_sound_folder(photos, tmp_path, command):
    taps = tmp_path / "k.npy"
    weights = np.random.default_rng(1).random((15, 14))
    np.save(taps, weights / weights.sum())
    out = tmp_path / "out"
    chain = f"kernel:path={taps} | unsharp_mask:sigma=1.5"
    assert command("images", photos, "-o", out, "-f", chain).code == 0
    taps.unlink()  # the ledger has the weights
    assert max(len(record.signature) for record in records(out).values()) < 600
    before = tree(out)
    audited = command("audit", out, "--sample", "100%", "--json")
    assert audited.code == 0, audited.out
    assert (audited.json["total"], audited.json["intact"], audited.json["recomputed"]) == (IMAGES,) * 3
    assert tree(out) == before
    some = command("audit", out, "--sample", "0.4", "--json").json
    assert 0 < some["recomputed"] < IMAGES
    assert "9 of 9 results are intact" in command("audit", out, "--sample", "0").out


def test_an_audit_names_what_is_missing_changed_and_wrong(photos, tmp_path, command):
    out = tmp_path / "out"
    command("images", photos, "-o", out, "-f", "median:size=3")
    (out / "face.jpg").unlink()
    damaged = bytearray((out / "trip" / "face.png").read_bytes())
    damaged[-20] ^= 1
    (out / "trip" / "face.png").write_bytes(damaged)
    # a result that the ledger holds for true, and that another filter made
    command("images", photos, "-o", tmp_path / "other", "-f", "median:size=5")
    name = "cells/deep.tif"
    shutil.copy(tmp_path / "other" / name, out / name)
    forged = records(tmp_path / "other")[name]
    edit(out, "UPDATE results SET output_size = ?, output_hash = ? WHERE output = ?",
         forged.output_size, forged.output_hash, name)  # fmt: skip
    os.utime(photos / "trip" / "cut.png", ns=(1, 1))
    audited = command("audit", out, "--sample", "100%", "--json")
    assert audited.code == 1
    found = audited.json
    for kind, file, words in (
        ("missing", "face.jpg", "does not exist"),
        ("changed", "trip/face.png", "not what was recorded"),
        ("wrong", name, "pixels differ by up to"),
        ("unproved", "trip/cut.png", "its input has changed since"),
    ):
        (finding,) = found[kind]
        assert finding["output"] == str(out / file)
        assert words in finding["reason"]
    assert (found["intact"], found["recomputed"]) == (IMAGES - 2, IMAGES - 4)
    shown = command("audit", out)
    assert shown.code == 1
    assert f"missing: {out}/face.jpg: does not exist" in shown.out


def test_an_audit_proves_with_scipy(photos, tmp_path, command, monkeypatch):
    from filterworks import verification

    command("images", photos, "-o", tmp_path / "out", "-f", "mean:size=9")
    monkeypatch.setitem(verification.REFERENCES, "mean", lambda x, outside, **rest: x)
    audited = command("audit", tmp_path / "out", "--sample", "100%", "--json")
    assert audited.code == 1
    assert len(audited.json["wrong"]) == IMAGES
    assert "differs from scipy's" in audited.json["wrong"][0]["reason"]


def test_an_audit_of_tables(tmp_path, command):
    out = tmp_path / "out" / "co2.csv"
    assert command("series", SERIES, "-o", out, "-f", "mean:window=365d", "--suffix", "_trend").code == 0
    audited = command("audit", out.parent, "--sample", "100%", "--json").json
    assert audited["recomputed"] == 1
    text = out.read_text().replace("4", "5", 1)
    out.write_text(text)
    assert command("audit", out.parent).code == 1


@pytest.mark.parametrize("chain", [
    [{"name": "gaussian", "sigma": [1.0, 2.5]}, {"name": "sobel", "axis": 1}],
    [{"name": "kernel", "weights": [[0.1, 0.2], [0.3, 1e-17]], "flip": True}],
    [{"name": "canny", "sigma": 0.7}, {"name": "mean", "size": 3, "boundary": "constant", "fill_value": 2}],
])  # fmt: skip
def test_a_recipe_is_the_job_again(chain):
    tables = {
        "input": {"paths": ["a"]},
        "filter": chain,
        "output": {"path": "b", "range": "abs", "quality": 80},
    }
    job = make_job(tables, "test", Job)
    recipe = job.recipe
    recipe["input"]["paths"], recipe["output"]["path"] = ["c"], "d"
    again = make_any_job(recipe, "test")
    assert again.signature == job.signature
    assert str(again.chain) == str(job.chain)


def test_a_recipe_of_tables_is_the_job_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("taps.txt").write_text("1 2 1")
    reading = {"delimiter": ";", "null": ["NA"], "decimal": ",", "columns": ["v*"], "time": "t",
               "time_format": "epoch-s", "by": ["id"], "sort": True, "header": False, "quotes": False}  # fmt: skip
    tables = {
        "input": {"kind": "series", "paths": ["a.csv"], **reading},
        "filter": [{"name": "kernel", "path": "taps.txt"}, {"name": "mean", "window": "5min"}],
        "output": {"path": "b", "suffix": "_s"},
        "series": {"align": "past", "boundary": "omit", "nan_policy": "omit", "fill": True,
                   "allow_infinite": True, "resample": "10s", "method": "linear"},
    }  # fmt: skip
    job = make_any_job(tables, "test")
    signature, recipe = job.signature, json.loads(json.dumps(job.recipe))
    recipe["input"]["paths"], recipe["output"]["path"] = ["c"], "d"
    monkeypatch.chdir("/")
    assert make_any_job(recipe, "test").signature == signature


def test_an_audit_does_not_make_again_with_other_weights(tmp_path, command):
    taps = tmp_path / "taps.txt"
    taps.write_text("0.25 0.5 0.25")
    out = tmp_path / "out" / "co2.csv"
    command("series", SERIES, "-o", out, "-f", f"kernel:path={taps}", "--suffix", "_k")
    again = ("audit", out.parent, "--sample", "100%", "--json")
    assert command(*again).json["recomputed"] == 1
    taps.write_text("0.2 0.6 0.2")
    audited = command(*again)
    assert audited.code == 0
    assert "has changed since" in audited.json["unproved"][0]["reason"]
