"""Clusters whose workers, schedulers and versions are not what they should be; all of them real."""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
from PIL import Image

from filterworks.batch.crashes import set_aside
from filterworks.batch.image_job import Job
from filterworks.batch.job import make_job
from filterworks.batch.ledger import Ledger
from filterworks.batch.plan import make_worklist
from tests.conftest import tree, wait_for_results, workers_of

# Loaded by each worker: some files kill the process that opens them, or take all its memory.
KILLER = """
import ctypes, os, time
from filterworks.files import image, source
real = source.open_source
def open_source(path, max_pixels):
    name = os.path.basename(path)
    while name[:6] in ("plain1", "plain2") and os.path.exists(os.environ.get("STALLED", "")):
        time.sleep(0.02)
    if "segfault" in name:
        ctypes.string_at(0)
    held = []
    while "memory" in name:
        held.append(bytearray(b"1") * (16 << 20))
    return real(path, max_pixels)
image.open_source = open_source
"""


@pytest.fixture
def killer(tmp_path):
    place = tmp_path / "killer.py"
    place.write_text(KILLER)
    return place


@pytest.fixture
def cluster(tmp_path):
    """Start a scheduler and its workers as processes; return its address."""
    started = []

    def start(workers=2, environment=None):
        place = tmp_path / "scheduler.json"
        module = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        started.append(
            subprocess.Popen(
                [
                    *module,
                    "--port",
                    "0",
                    "--scheduler-file",
                    place,
                    "--no-dashboard",
                    "--dashboard-address",
                    ":0",
                ],
                stderr=subprocess.DEVNULL,
            )
        )
        while not place.exists():
            assert started[-1].poll() is None
            time.sleep(0.05)
        module = [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", place]
        started.extend(
            subprocess.Popen(
                [*module, "--nthreads", "1", "--no-dashboard"],
                stderr=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
            )
            for _ in range(workers)
        )
        from distributed import Client

        with Client(scheduler_file=str(place), set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=60)
            return client.scheduler.address, started

    yield start
    for child in started[1:]:  # a worker that outlives its scheduler waits for it to come back
        child.terminate()
    for child in started[1:]:
        child.wait(30)
    for child in started[:1]:
        child.terminate()
        child.wait(30)


@pytest.fixture
def small(photos):
    for i in range(30):
        Image.new("L", (40, 30), 5 * i).save(photos / f"plain{i:02d}.png")
    return photos


@pytest.fixture
def hostile(small):
    for name in ("segfault.png", "trip/segfault too.png", "memory.png"):
        Image.new("L", (40, 30), 7).save(small / name)
    return small


def test_a_file_that_kills_its_workers_is_set_aside_and_the_others_are_done(
    hostile, killer, tmp_path, process, command
):
    # Dask takes this for the memory of the machine: 400 MiB for each of two workers.
    limit = 800 << 20
    child = process(
        "images", hostile, "-o", tmp_path / "out", "-f", "sobel", "--workers", "2",
        env={**os.environ, "DASK_DISTRIBUTED__WORKER__PRELOAD": str(killer)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_RSS, (limit, limit)),
    )  # fmt: skip
    _, err = child.communicate(timeout=120)
    assert child.returncode == 1, err
    assert "Traceback" not in err
    status = command("status", tmp_path / "out", "--json").json
    assert status["done"] == 9 + 30
    reasons = {os.path.basename(entry["input"]): entry for entry in status["failed"]}
    assert set(reasons) == {"segfault.png", "segfault too.png", "memory.png"}
    for name in ("segfault.png", "segfault too.png"):
        assert (
            "set aside: its worker died each of 3 times (its process was killed by signal "
            in reasons[name]["error"]
        )
        assert reasons[name]["attempts"] == 3
    # Whoever notices first, the task or who watches its worker, says what the limit is.
    told = reasons["memory.png"]["error"]
    assert "not enough memory to filter it" in told or "it exceeded its memory limit" in told
    assert " MiB)" in reasons["memory.png"]["error"]
    for name in reasons:
        assert f"{name}: " in err
    (hostile / "segfault.png").unlink()
    (hostile / "trip" / "segfault too.png").unlink()
    (hostile / "memory.png").unlink()
    undisturbed = command("images", hostile, "-o", tmp_path / "whole", "-f", "sobel")
    assert undisturbed.code == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.fixture
def crashing(tmp_path):
    """An environment in which some files crash every Python that opens them, the workers' included."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(KILLER)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), *sys.path])}


def is_tried(source, out, filter_name, **run):
    """Whether a run would try what was set aside; if so, not in its own process."""
    tables = {"input": {"paths": [str(source)]}, "filter": [{"name": filter_name}], "run": run}
    job = make_job({**tables, "output": {"path": str(out)}}, "test", Job)
    with closing(make_worklist(job)) as worklist, Ledger(out, create=False) as ledger:
        reasons, tries = set_aside(job, worklist, ledger)
    assert len(reasons) == (not tries)
    return tries


def test_a_file_that_crashed_a_run_costs_itself_in_the_next(small, crashing, tmp_path, process, command):
    culprit = small / "trip" / "segfault.png"
    culprit.write_bytes((small / "plain07.png").read_bytes())

    def run(*options):
        child = process("images", small, "-o", tmp_path / "out", "-f", "sobel", *options, env=crashing)
        _, err = child.communicate(timeout=120)
        return child.returncode, err

    def told():
        (entry,) = command("status", tmp_path / "out", "--json").json["failed"]
        return entry["attempts"]

    note = "note: in an earlier run an input here crashed the process that read it"
    assert run()[0] == -signal.SIGSEGV
    code, err = run()
    assert code == 1
    assert "segfault.png: set aside: its worker died each of 3 times" in err
    assert note in err
    assert "distributed" not in err
    assert told() == 3
    # It is named, and nobody dies of it again.
    code, err = run()
    assert code == 1
    assert "segfault.png: set aside: its worker died each of 3 times" in err
    assert "; not tried again without --retry-failed\n" in err
    assert "39 already done" in err
    assert note not in err
    assert told() == 3
    code, err = run("--retry-failed")
    assert code == 1
    assert note in err
    assert told() == 6
    assert command("status", tmp_path / "out", "--json").json["done"] == 9 + 30
    assert not is_tried(small, tmp_path / "out", "sobel")
    assert is_tried(small, tmp_path / "out", "prewitt")
    assert is_tried(small, tmp_path / "out", "sobel", force=True)
    os.utime(culprit, ns=(5, 5))
    assert is_tried(small, tmp_path / "out", "sobel")
    culprit.unlink()
    code, err = run()
    assert code == 0
    assert "note:" not in err
    assert command("images", small, "-o", tmp_path / "whole", "-f", "sobel").code == 0
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def wait_until(found, limit=120):
    end = time.monotonic() + limit
    while not found():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_crash_is_not_forgotten_by_runs_that_end_before_they_meet_its_cause(
    small, crashing, tmp_path, process, command
):
    # They are read first and last.
    bad, culprit = small / "aaa.png", small / "zz" / "segfault.png"
    bad.write_bytes((small / "plain03.png").read_bytes())
    culprit.parent.mkdir()
    culprit.write_bytes((small / "plain07.png").read_bytes())
    arguments = ("images", small, "-o", tmp_path / "out", "-f", "sobel")

    def run(*options):
        child = process(*arguments, *options, env=crashing)
        _, err = child.communicate(timeout=120)
        return child.returncode, err

    assert run()[0] == -signal.SIGSEGV
    stalled = tmp_path / "stalled"
    stalled.touch()
    killed = process(*arguments, env={**crashing, "STALLED": str(stalled)})
    wait_until(lambda: workers_of(killed))
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    # Others are held until it has failed: that ends the run before it comes to the last.
    bad.write_bytes(b"")
    ended = process(*arguments, "--fail-fast", "--workers", "2", env={**crashing, "STALLED": str(stalled)})
    wait_until(lambda: command("status", tmp_path / "out", "--json").json["failed"])
    stalled.unlink()
    ended.communicate(timeout=120)
    assert ended.returncode == 1
    (failed,) = command("status", tmp_path / "out", "--json").json["failed"]
    assert failed["input"] == str(bad)
    # What failed is not all that there is.
    bad.write_bytes((small / "plain03.png").read_bytes())
    assert run("--retry-failed")[0] == 0
    code, err = run()
    assert code == 1, err
    assert "segfault.png: set aside: its worker died each of 3 times" in err
    assert "note: in an earlier run" in err
    code, err = run()
    assert code == 1
    assert "note:" not in err
    assert not list((tmp_path / "out").glob(".filterworks-*"))


def test_workers_killed_one_after_the_other_cost_only_their_tasks(many, tmp_path, process):
    source, whole = many
    child = process("images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--workers", "2")
    for count in (3, 80):
        wait_for_results(tmp_path / "out", count, limit=120)
        workers = workers_of(child)
        workers[0].kill()
    _, err = child.communicate(timeout=180)
    assert child.returncode == 0, err
    assert tree(tmp_path / "out") == whole


@pytest.mark.parametrize("workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bytes(workers, small, tmp_path, process, command):
    chain = ("-f", "gaussian:sigma=1.5 | unsharp_mask:sigma=2")
    assert command("images", small, "-o", tmp_path / "threads", *chain).code == 0
    child = process("images", small, "-o", tmp_path / "out", *chain, "--workers", workers)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert tree(tmp_path / "out") == tree(tmp_path / "threads")


def test_a_lost_scheduler_ends_the_run_and_the_next_one_goes_on(many, tmp_path, process, command, cluster):
    source, whole = many
    address, started = cluster()
    arguments = ("images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2")
    child = process(*arguments, "--scheduler", address, "--json")
    wait_for_results(tmp_path / "out", 5)
    started[0].kill()
    out, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert f"error: --scheduler {address}: the connection to the scheduler was lost" in err
    assert "the same command goes on" in err
    assert '"failed": [],' in out
    # The workers do not know yet, and may still be at what nobody will fetch.
    partial = {n: c for n, c in tree(tmp_path / "out").items() if not n.startswith(".filterworks-")}
    assert 5 <= len(partial) < 200
    assert all(whole[name] == content for name, content in partial.items())
    assert command(*arguments, "-q").code == 0
    assert tree(tmp_path / "out") == whole


def test_workers_of_other_versions_are_refused(photos, tmp_path, command, cluster):
    # What the packages of an environment say of themselves is found along the path.
    (tmp_path / "old" / "numpy-1.0.dist-info").mkdir(parents=True)
    (tmp_path / "old" / "numpy-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n"
    )
    address, _ = cluster(workers=1, environment={"PYTHONPATH": str(tmp_path / "old")})
    result = command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--scheduler", address)
    assert result.code == 2
    assert "numpy 1.0 (here " in result.err
    assert len(result.err.splitlines()) == 1
    assert tree(tmp_path / "out") == {}


def test_a_worker_of_another_version_that_joins_later_does_nothing():
    from filterworks.batch.worker import SkewError, perform_checked, versions

    assert perform_checked([], versions()) == []
    with pytest.raises(SkewError, match=r"numpy \S+ \(here 0.1\)"):
        perform_checked([], {**versions(), "numpy": "0.1"})


def test_an_interrupt_twice_leaves_at_once_and_in_silence(many, tmp_path, process):
    source, whole = many
    child = process("images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--workers", "2")
    wait_for_results(tmp_path / "out", 5)
    for _ in range(2):
        os.kill(child.pid, signal.SIGINT)
        time.sleep(0.02)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    # Two signals that arrive together are one: then the run ends in its own words.
    assert err == "" or err.splitlines()[-1].startswith("interrupted: "), err
    assert "semaphore" not in err
    assert all(
        whole[name] == content for name, content in tree(tmp_path / "out").items() if not name.startswith(".")
    )
