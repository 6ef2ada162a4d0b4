"""Runs that lose their processes, their disk or their inputs, and the runs after them."""

import os
import shutil
import signal
import socket
import sqlite3
import struct
import time
from concurrent.futures.process import BrokenProcessPool

import cv2
import numpy as np
import psutil
import pytest

from filterworks.batch.image_job import Job
from filterworks.batch.job import make_job
from filterworks.batch.plan import make_worklist
from filterworks.batch.processes import processes
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
    while len(workers := workers_of(child)) < 2:
        assert child.poll() is None
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


def test_a_disk_that_became_read_only_is_refused_and_still_tells_what_it_holds(photos, disk, command):
    out = disk.path / "out"
    arguments = ("images", photos, "-o", out, "-f", "sobel")
    assert command(*arguments).code == 0
    before = tree(out)
    disk.mount("ro")
    for refused in (command(*arguments), command("images", photos, "-o", disk.path / "new", "-f", "sobel")):
        assert refused.code == 2
        assert "ead-only file system" in refused.err
        assert len(refused.err.splitlines()) == 1
    assert command("status", out, "--json").json["done"] == len(before)
    assert command("audit", out, "--sample", "100%", "--json").json["recomputed"] == len(before)


def test_no_space_left_is_told_and_mended_by_the_next_run(photos, disk, tmp_path, command):
    disk.mount("size=200k")
    arguments = ("images", photos, "-f", "gaussian:sigma=1", "-o")
    result = command(*arguments, disk.path / "out", "--json")
    assert result.code == 1
    errors = [entry["error"] for entry in result.json["failed"]]
    assert any("space" in error or "full" in error for error in errors), errors
    disk.mount("size=20m")
    assert command(*arguments, disk.path / "out").code == 0
    command(*arguments, tmp_path / "whole")
    assert tree(disk.path / "out") == tree(tmp_path / "whole")


def test_a_disk_that_is_full_before_anything_is_recorded_fails_each_file(photos, disk, command):
    class Filling(Lines):
        def started(self, total):
            super().started(total)
            self.left = total
            disk.fill()

        def settled(self, item, outcome):
            super().settled(item, outcome)
            self.left -= 1
            if not self.left:
                disk.empty()

    out = disk.path / "out"
    report = ran(photos, out, Filling(quiet=True, verbose=False))
    assert (report.done, report.failed, report.broken, report.exit_code) == (0, 9, None, 1)
    assert all("no space left" in entry for entry in report.worklist.entries("failed"))
    report.worklist.close()
    assert tree(out) == {}
    assert command("images", photos, "-o", out, "-f", "sobel").code == 0
    assert command("audit", out, "--sample", "100%", "--json").json["recomputed"] == 9


def ran(photos, out, observer):
    """Run sobel over the photos in this process; the report's worklist is to be closed."""
    tables = {
        "input": {"paths": [str(photos)]},
        "filter": [{"name": "sobel"}],
        "output": {"path": str(out)},
    }
    job = make_job(tables, "test", Job)
    return run_job(job, make_worklist(job), observer)


def test_a_process_that_dies_in_the_middle_of_an_answer_is_noticed():
    with processes(2) as pool:
        assert pool.submit([]).result(timeout=60) == []
        pool.submit([]).result(timeout=60)
        # The first bytes of an answer, and the end of who was writing it.
        os.write(pool._executor._result_queue._writer.fileno(), struct.pack("!i", 1000) + b"the rest is")
        next(iter(pool._executor._processes.values())).kill()
        future = pool.submit([])
        with pytest.raises(TimeoutError):
            future.result(timeout=1)
        assert pool.lost(1.0) is None
        with pytest.raises(TimeoutError):
            future.result(timeout=1)
        assert pool.lost(3.0) is None
        with pytest.raises(BrokenProcessPool):
            future.result(timeout=60)
        assert pool.submit([]).result(timeout=60) == []


def test_an_input_that_vanishes_after_it_was_listed_is_one_failure(photos, tmp_path):
    class Removing(Lines):
        def started(self, total):
            super().started(total)
            (photos / "face.jpg").unlink()
            shutil.rmtree(photos / "cells")

    report = ran(photos, tmp_path / "out", Removing(quiet=True, verbose=False))
    assert (report.done, report.failed) == (4, 5)
    assert all("does not exist" in entry for entry in report.worklist.entries("failed"))
    report.worklist.close()


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
