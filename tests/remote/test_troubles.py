"""What goes wrong with stores: away for a while, too busy, killed runs, refused credentials. Nothing is lost."""

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from filterworks.batch import cluster, remote_place
from filterworks.files import retrying
from filterworks.files.stores import forget_stores
from tests.conftest import tree
from tests.remote.conftest import BROKEN, LOST, SECRET

FILTER = ("-f", "gaussian:sigma=1")
LOCK = ".filterworks.lock"


@pytest.fixture
def there(small, tmp_path, bucket, command):
    """The pictures in the bucket; returns what a local run makes of them."""
    bucket.put_tree(small, "in")
    assert command("images", small, "-o", tmp_path / "local", *FILTER).code == 0
    return tree(tmp_path / "local")


def images(start, bucket, *options):
    return start("images", bucket.url("in"), "-o", bucket.url("out"), *FILTER, *options)


def wait_for(condition, limit=60):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def only_results(bucket, expected):
    assert set(bucket.keys("out/")) == {f"out/{n}" for n in (*expected, ".filterworks.sqlite")}
    assert bucket.tree("out") == expected
    assert bucket.uploads() == []


def test_a_server_that_is_away_for_a_while(there, bucket, failing, process):
    run = images(process, bucket, "--json")
    assert failing.stopped.wait(60)
    time.sleep(1)
    assert run.poll() is None
    failing.start()
    out, err = run.communicate(timeout=60)
    assert run.returncode == 0, err
    assert len(json.loads(out)["done"]) == 24
    only_results(bucket, there)


def test_a_server_that_stays_away_ends_the_run_and_the_next_goes_on(
    there, bucket, failing, command, monkeypatch
):
    monkeypatch.setattr(retrying, "PATIENCE", 1.0)
    monkeypatch.setattr(cluster, "thread_count", lambda: 1)
    result = images(command, bucket, "--json")
    assert result.code == 1
    assert all("cannot be reached" in entry["error"] for entry in result.json["failed"])
    assert "the same command goes on" in result.err
    # not a minute for each of them
    assert len(result.json["left"]) >= 4
    failing.start()
    monkeypatch.setattr(retrying, "PATIENCE", 60.0)
    again = images(command, bucket, "--json")
    assert again.code == 0, again.err
    assert {e["output"] for e in again.json["skipped"]} == {e["output"] for e in result.json["done"]}
    only_results(bucket, there)


def test_answers_that_are_lost_or_break_off_are_asked_for_again(
    there, bucket, turnstile, command, monkeypatch
):
    monkeypatch.setattr(retrying, "_FIRST", 0.01)
    lost = set()

    def turn(method, path):
        is_first = (method, path) not in lost
        lost.add((method, path))
        # what was put although nobody said so is known as one's own
        return (BROKEN if method == "GET" else LOST) if is_first else 0

    turnstile.turn = turn
    result = images(command, bucket, "--json")
    assert result.code == 0, result.err
    assert len(result.json["done"]) == 24
    assert turnstile.refused >= 50
    only_results(bucket, there)


def test_throttled_and_failing_calls_are_made_again(there, bucket, turnstile, command, monkeypatch):
    monkeypatch.setattr(retrying, "_FIRST", 0.02)

    def turn(method, path):
        # every third call, whichever it is
        return (503, 500, 429)[turnstile.calls % 9 // 3] if turnstile.calls % 3 == 0 else 0

    turnstile.turn = turn
    result = images(command, bucket, "--json")
    assert result.code == 0, result.err
    assert turnstile.refused > 20
    assert len(result.json["done"]) == 24
    only_results(bucket, there)


def test_a_second_run_is_refused_and_status_tells_of_the_first(
    there, bucket, turnstile, process, command, monkeypatch, moto, tmp_path
):
    gate = {"closed": True}
    turnstile.turn = lambda method, path: 503 if gate["closed"] and "/out/part" in path else 0
    first = images(process, bucket)
    wait_for(lambda: f"out/{LOCK}" in bucket.keys("out/"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    for machine in ("state", "another machine"):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / machine))
        forget_stores()
        second = images(command, bucket)
        assert second.code == 2
        assert f"another run is working here (process {first.pid} on {socket.gethostname()}" in second.err
        assert f"running: process {first.pid}" in command("status", bucket.url("out")).out
    gate["closed"] = False
    assert first.wait(60) == 0
    only_results(bucket, there)
    status = command("status", bucket.url("out"))
    assert (status.code, "running" in status.out) == (0, False)
    assert f"{bucket.url('out')}: 24 done, 0 failed" in status.out


def test_a_lock_of_another_host_counts_while_it_is_heard_of(there, bucket, command):
    def lock(beat):
        run = {"process": 7, "host": "elsewhere", "created": 0, "since": "noon", "total": 1, "id": "x"}
        bucket.put(f"out/{LOCK}", json.dumps({**run, "beat": beat}).encode())

    lock(time.time() - 20)
    refused = images(command, bucket)
    assert (refused.code, "process 7 on elsewhere" in refused.err) == (2, True)
    lock(time.time() - 400)
    assert images(command, bucket).code == 0
    only_results(bucket, there)
    bucket.put(f"out/{LOCK}", b"no lock")
    assert images(command, bucket).code == 2


def unhurried(method, path):
    """Let every call through, those for files not at once: a run takes long enough to be met in its middle."""
    time.sleep(0.1 if "/part" in path or "/a.ome.zarr" in path else 0.01)
    return 0


def at_once(method, path):
    """Let every call through."""
    return 0


def test_killed_at_any_moment_nothing_is_lost_or_half_written(there, bucket, turnstile, process):
    turnstile.turn = unhurried
    for count in (0, 6):
        run = images(process, bucket)
        wait_for(lambda run=run, count=count: len(bucket.keys("out/")) > count or run.poll() is not None)
        time.sleep(count / 40)
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert all(there[name] == made for name, made in bucket.tree("out").items() if name != LOCK)
    turnstile.turn = at_once
    last = images(process, bucket)
    assert last.wait(60) == 0, last.stderr.read()
    only_results(bucket, there)


def test_killed_and_gone_on_with_elsewhere(there, bucket, turnstile, process, command, monkeypatch, tmp_path):
    turnstile.turn = unhurried
    stranger = "part 2/023.png"
    bucket.put(f"out/{stranger}", b"a stranger's")
    refused = images(command, bucket)
    assert refused.code == 2
    assert "exists and was not made by filterworks" in refused.err
    bucket.remove(f"out/{stranger}")
    run = images(process, bucket)
    wait_for(lambda: len(bucket.keys("out/part")) >= 5)
    run.send_signal(signal.SIGKILL)
    run.wait()
    turnstile.turn = at_once
    put = len(bucket.keys("out/part"))
    # Another machine has no other ledger than the copy, from before the first result.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "elsewhere"))
    bucket.put(f"out/{stranger}", b"a stranger's")
    again = images(command, bucket, "--json")
    assert again.code == 1
    (entry,) = again.json["failed"]
    assert "was not made by it; left as it is" in entry["error"]
    assert bucket.get(f"out/{stranger}") == b"a stranger's"
    assert len(again.json["done"]) == 23 >= put
    bucket.remove(f"out/{stranger}")
    assert images(command, bucket).code == 0
    only_results(bucket, there)


def test_other_machines_hear_of_the_run_and_a_run_that_lost_its_lock_ends(
    there, bucket, turnstile, command, monkeypatch, tmp_path
):
    monkeypatch.setattr(remote_place, "_BEAT", 0.05)
    monkeypatch.setattr(remote_place, "_COPY", 0.05)
    gate, seen = threading.Event(), {}

    def lock():
        return json.loads(bucket.get(f"out/{LOCK}"))

    def recorded(table):
        if "out/.filterworks.sqlite" not in bucket.keys("out/"):
            return 0
        copy = tmp_path / "copy.sqlite"
        copy.write_bytes(bucket.get("out/.filterworks.sqlite"))
        with closing(sqlite3.connect(copy)) as ledger:
            return ledger.execute(f"SELECT count(*) FROM {table}").fetchone()[0]

    def watch():
        try:
            wait_for(lambda: f"out/{LOCK}" in bucket.keys("out/"), 20)
            first = lock()
            wait_for(lambda: lock()["beat"] > first["beat"], 20)
            wait_for(lambda: recorded("results") >= 4, 20)
            seen["runs"] = recorded("runs")
            other = json.dumps({**first, "host": "elsewhere", "id": "other"}).encode()
            # The run may be about to write its own once more.
            wait_for(
                lambda: bucket.put(f"out/{LOCK}", other) or time.sleep(0.5) or lock()["id"] == "other", 20
            )
        finally:
            gate.set()

    turnstile.turn = lambda method, path: 0 if "out/part%202" not in path or gate.wait(60) else 503
    watcher = threading.Thread(target=watch)
    watcher.start()
    result = images(command, bucket)
    watcher.join()
    assert result.code == 1
    assert "another one has taken over (process" in result.err
    assert seen == {"runs": 0}
    # the lock is the other's: it stays
    assert json.loads(bucket.get(f"out/{LOCK}"))["id"] == "other"
    bucket.remove(f"out/{LOCK}")
    assert images(command, bucket).code == 0
    only_results(bucket, there)


def test_an_interrupt_finishes_what_is_in_flight(there, bucket, turnstile, process, command):
    turnstile.turn = unhurried
    run = images(process, bucket, "--json")
    wait_for(lambda: len(bucket.keys("out/part")) >= 5)
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert len(json.loads(out)["done"]) == len(bucket.keys("out/part")) < 24
    assert f"out/{LOCK}" not in bucket.keys("out/")
    turnstile.turn = at_once
    again = images(command, bucket, "--json").json
    assert len(again["skipped"]) == len(json.loads(out)["done"])
    only_results(bucket, there)


def everything_written(folder, *results):
    """All that a run has left: outputs, and every file below a folder, ledgers row by row."""
    texts = [result.out + result.err for result in results]
    texts += [path.read_bytes().decode("latin-1") for path in Path(folder).rglob("*") if path.is_file()]
    return "\n".join(texts)


def test_wrong_credentials_are_told_at_once_without_them(there, bucket, command, tmp_path, moto, monkeypatch):
    import urllib.request

    def check_from(count):
        plain = {"Content-Type": "text/plain"}
        request = urllib.request.Request(f"{moto}/moto-api/reset-auth", count, plain, method="POST")
        urllib.request.urlopen(request).close()

    results = []
    check_from(b"0")
    try:
        results += [images(command, bucket, "--json"), command("status", bucket.url("out"))]
    finally:
        check_from(b"inf")
    assert [result.code for result in results] == [2, 1]
    assert "the credentials are not accepted" in results[0].err
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://someone:{SECRET}@127.0.0.1:9")
    monkeypatch.setattr(retrying, "PATIENCE", 0.1)
    forget_stores()
    results.append(images(command, bucket, "--json"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"ht!tp:{SECRET}")
    forget_stores()
    results.append(images(command, bucket, "--json"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}\nsecond line")
    forget_stores()
    results.append(images(command, bucket, "--json"))
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    forget_stores()
    results.append(images(command, bucket))
    assert "no credentials were found" in results[-1].err
    assert all(result.code for result in results)
    assert all(result.err.startswith("error: ") and "Traceback" not in result.err for result in results)
    assert SECRET not in everything_written(tmp_path, *results)
    assert bucket.keys("out") == []


def test_a_secret_that_the_store_says_is_not_repeated(there, bucket, turnstile, command, tmp_path):
    turnstile.message = f"Credential {SECRET} was refused"
    turnstile.turn = lambda method, path: 403 if "/in/part" in path and method == "GET" else 0
    result = images(command, bucket, "--json", "-v")
    assert result.code == 1
    assert len(result.json["failed"]) == 24
    assert "access is denied (403 AccessDenied)" in result.json["failed"][0]["error"]
    copy = tmp_path / "copy.sqlite"
    copy.write_bytes(bucket.get("out/.filterworks.sqlite"))
    with sqlite3.connect(copy) as ledger:
        assert ledger.execute("SELECT count(*) FROM results WHERE error IS NOT NULL").fetchone() == (24,)
    ledger.close()
    assert SECRET not in everything_written(tmp_path, result)


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIA:{SECRET}@bucket/in",
        f"s3://AKIA:{SECRET}/more@bucket/in",
        f"https://user:{SECRET}@host/a.png",
        f"https://user:p/{SECRET}@host/a.png",
        f"https://host/a.png?X-Amz-Signature={SECRET}",
        f"https://host/a.png#token={SECRET}",
        f"s3://bucket/in?X-Amz-Security-Token={SECRET}",
        f"memory://u:{SECRET}@x/in",
        f"ftp://user:{SECRET}@host/in",
    ],
)
def test_addresses_with_secrets_are_refused_and_not_shown(url, small, account, command, tmp_path):
    job = tmp_path / "job.toml"
    text = '[input]\npaths = {}\n[[filter]]\nname = "sobel"\n[output]\npath = "{}"\n'
    results = [
        command("images", url, "-o", tmp_path / "out", *FILTER),
        command("images", url, "-o", tmp_path / "out", *FILTER, "--dry-run", "--json"),
        command("images", small, "-o", url, *FILTER, "--json"),
        command("status", url),
        command("series", url, "-o", "-", "-f", "mean:window=3"),
    ]
    for paths in (f'["{url}"]', f'"{url}"'):
        job.write_text(text.format(paths, tmp_path / "out"))
        results.append(command("run", job))
    job.unlink()
    assert {result.code for result in results} == {2}
    assert SECRET not in everything_written(tmp_path, *results)


def test_a_missing_bucket_is_one_line(small, bucket, command):
    for source, out in (
        (f"s3://no-{bucket.name}/in", bucket.url("out")),
        (small, f"s3://no-{bucket.name}/out"),
    ):
        result = command("images", source, "-o", out, *FILTER)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert "there is no such bucket" in result.err
    assert bucket.keys() == []


def test_a_ledger_copy_that_is_none_is_one_line(there, bucket, command):
    for content in (b"", b"no ledger at all", os.urandom(4096)):
        bucket.put("out/.filterworks.sqlite", content)
        result = images(command, bucket)
        assert result.code == 2
        assert result.err.count("\n") == 1
        assert bucket.url("out/.filterworks.sqlite") in result.err
    assert bucket.keys("out") == ["out/.filterworks.sqlite"]
