"""Runs that lose their processes, their disk or their inputs, and the runs after them."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import cv2
import numpy as np
import psutil
import pytest

from filterworks.batch.image_job import Job
from filterworks.batch.job import make_job
from filterworks.batch.plan import make_worklist
from filterworks.batch.run import run_job
from filterworks.cli.console import Lines
from tests.conftest import results_in, tree, wait_for_results, workers_of

FOLDERS, FILES = 21, 100


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """So many tiny images that they go to processes."""
    base = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(5)
    for folder in range(FOLDERS):
        (base / f"{folder:02d}").mkdir()
        for number in range(FILES):
            image = rng.integers(0, 255, (9, 12), np.uint8)
            cv2.imwrite(str(base / f"{folder:02d}" / f"{number:02d}.png"), image)
    return base


def test_processes_make_the_bytes_that_threads_make_also_when_one_is_killed(tiny, tmp_path, process, command):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("processes are for more cores than one")
    child = process("images", tiny, "-o", tmp_path / "out", "-f", "median:size=3")
    wait_for_results(tmp_path / "out", 20)
    workers = workers_of(child)
    assert len(workers) > 1
    workers[0].kill()
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert "2100 done" in err
    made = tree(tmp_path / "out")
    assert len(made) == FOLDERS * FILES
    for folder in ("00", "20"):
        assert command("images", tiny / folder, "-o", tmp_path / folder, "-f", "median:size=3").code == 0
        for name, content in tree(tmp_path / folder).items():
            assert made[f"{folder}/{name}"] == content


def test_processes_end_with_the_run_that_is_killed(tiny, tmp_path, process):
    child = process("images", tiny, "-o", tmp_path / "out", "-f", "median:size=3")
    wait_for_results(tmp_path / "out", 20)
    workers = workers_of(child)
    child.kill()
    child.communicate()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive
    child = process("images", tiny, "-o", tmp_path / "out", "-f", "median:size=3")
    wait_for_results(tmp_path / "out", len(results_in(tmp_path / "out")) + 50)
    for _ in range(2):
        os.killpg(child.pid, signal.SIGINT)
        time.sleep(0.02)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    # Two signals that arrive together are one: then the run ends in its own words.
    assert err == "" or err.splitlines()[-1].startswith("interrupted: "), err
    assert "semaphore" not in err


def test_an_output_that_vanishes_ends_the_run_and_is_continued_when_it_is_back(
    many, tmp_path, process, command
):
    source, whole = many
    out, away = tmp_path / "share" / "out", tmp_path / "away"
    arguments = ("images", source, "-o", out, "-f", "gaussian:sigma=2")
    child = process(*arguments, "--json")
    wait_for_results(out, 5)
    (tmp_path / "share").rename(away)
    shown, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert (
        err.splitlines()[0]
        == f"error: {out}: has vanished during the run; what is recorded stays, the same command goes on"
    )
    assert '"failed": [],' in shown
    assert not (tmp_path / "share").exists()
    away.rename(tmp_path / "share")
    partial = tree(out)
    assert all(
        whole[name] == content for name, content in partial.items() if not name.startswith(".filterworks-")
    )
    again = command(*arguments)
    assert again.code == 0
    assert "already done" in again.err
    assert tree(out) == whole


def test_a_disk_that_became_read_only_is_refused_and_still_tells_what_it_holds(photos, tmp_path, command):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", disk]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs more rights than this machine gives")
    try:
        arguments = ("images", photos, "-o", disk / "out", "-f", "sobel")
        assert command(*arguments).code == 0
        before = tree(disk / "out")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        for refused in (command(*arguments), command("images", photos, "-o", disk / "new", "-f", "sobel")):
            assert refused.code == 2
            assert "ead-only file system" in refused.err
            assert len(refused.err.splitlines()) == 1
        assert command("status", disk / "out", "--json").json["done"] == len(before)
        assert command("audit", disk / "out", "--sample", "100%", "--json").json["recomputed"] == len(before)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_an_input_that_vanishes_after_it_was_listed_is_one_failure(photos, tmp_path):
    job = make_job(
        {
            "input": {"paths": [str(photos)]},
            "filter": [{"name": "sobel"}],
            "output": {"path": str(tmp_path / "out")},
        },
        "test",
        Job,
    )
    worklist = make_worklist(job)
    (photos / "face.jpg").unlink()
    shutil.rmtree(photos / "cells")
    report = run_job(job, worklist, Lines(quiet=True, verbose=False))
    assert (report.done, report.failed) == (4, 5)
    assert all("does not exist" in entry for entry in worklist.entries("failed"))
    worklist.close()


def test_a_stale_lock_is_recognised_also_when_its_number_is_used_again(photos, tmp_path, command):
    out = tmp_path / "out"
    command("images", photos / "face.jpg", "-o", out, "-f", "sobel")
    alive = psutil.Process(os.getppid())
    for created, code in ((alive.create_time() - 3600, 0), (alive.create_time(), 2)):
        with sqlite3.connect(out / ".filterworks.sqlite") as database:
            database.execute(
                "INSERT OR REPLACE INTO runs (target, pid, created, host, started_at, total, beat) "
                "VALUES ('.', ?, ?, ?, '2026-01-01', 1, 0)",
                (alive.pid, created, socket.gethostname()),
            )
        database.close()
        result = command("images", photos, "-o", out, "-f", "sobel")
        assert result.code == code
        assert (f"process {alive.pid} on" in result.err) == (code == 2)


def test_results_that_a_dead_disk_cache_lost_are_noticed(photos, tmp_path, command):
    out = tmp_path / "out"
    arguments = ("images", photos, "-o", out, "-f", "sobel", "--json")
    command(*arguments)
    before = tree(out)
    # What file systems make of data that never reached the disk: empty, or zeros.
    os.truncate(out / "face.jpg", 0)
    size = (out / "cells" / "deep.tif").stat().st_size
    (out / "cells" / "deep.tif").write_bytes(bytes(size))
    audited = command("audit", out, "--json").json
    assert {os.path.basename(one["output"]) for one in audited["changed"]} == {"face.jpg", "deep.tif"}
    assert len(command(*arguments).json["done"]) == 2
    assert tree(out) == before
