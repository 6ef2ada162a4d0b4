"""Stores one by one: parts of large objects, pages, memory, the web, and what each failure is called."""

import http.server
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import skimage.data
from PIL import Image

from filterworks.batch.kinds import make_any_job
from filterworks.batch.plan import make_worklist
from filterworks.batch.run import run_job
from filterworks.cli.console import Lines
from filterworks.errors import JobError
from filterworks.files import retrying, s3
from filterworks.files.retrying import StoreError, retried
from filterworks.files.stores import forget_stores, store_of
from filterworks.files.urls import parse_url
from tests.conftest import tree
from tests.remote.conftest import LOST


@pytest.fixture
def parts(monkeypatch):
    """Parts of the smallest size that S3 takes, so that a test's file has several."""
    monkeypatch.setattr(s3, "PART", 5 << 20)


def large(tmp_path):
    place = tmp_path / "large.tif"
    place.write_bytes(np.random.default_rng(3).bytes(13 << 20))
    return place


def test_large_objects_go_in_parts_and_come_in_ranges(tmp_path, bucket, turnstile, parts, monkeypatch):
    monkeypatch.setattr(retrying, "_FIRST", 0.02)
    turnstile.turn = lambda method, path: 503 if turnstile.calls % 4 == 0 else 0
    place, store = large(tmp_path), store_of(parse_url(bucket.url("")))
    made = store.put(place, "out/large.tif", replace=False)
    assert bucket.get("out/large.tif") == place.read_bytes()
    assert made == store.identity("out/large.tif")
    assert made.tag.endswith("-3")  # three parts
    assert bucket.client.head_object(Bucket=bucket.name, Key="out/large.tif")["ContentType"] == "image/tiff"
    store.fetch("out/large.tif", made, tmp_path / "back.tif")
    assert (tmp_path / "back.tif").read_bytes() == place.read_bytes()
    assert turnstile.refused >= 2
    # it is there: the same once more is no failure, something else is
    assert store.put(place, "out/large.tif", replace=False) == made
    place.write_bytes(place.read_bytes()[::-1])
    with pytest.raises(StoreError, match="has appeared") as caught:
        store.put(place, "out/large.tif", replace=False)
    assert caught.value.kind == "exists"
    assert bucket.uploads() == []
    bucket.put("out/large.tif", place.read_bytes())
    with pytest.raises(StoreError, match="changed"):
        store.fetch("out/large.tif", made, tmp_path / "back.tif")


@pytest.mark.parametrize("replace", [False, True])
def test_an_upload_whose_last_answer_is_lost_is_there(tmp_path, bucket, turnstile, parts, replace):
    store, place = store_of(parse_url(bucket.url(""))), large(tmp_path)
    turnstile.turn = lambda method, path: (
        LOST if method == "POST" and "uploadId" in path and not turnstile.refused else 0
    )
    made = store.put(place, "out/large.tif", replace=replace)
    assert turnstile.refused == 1
    assert made == store.identity("out/large.tif")
    assert bucket.get("out/large.tif") == place.read_bytes()
    assert bucket.uploads() == []


def test_a_failed_upload_leaves_nothing(tmp_path, bucket, turnstile, parts):
    store = store_of(parse_url(bucket.url("")))
    turnstile.turn = lambda method, path: 403 if "partNumber=3" in path else 0
    with pytest.raises(StoreError, match="access is denied"):
        store.put(large(tmp_path), "out/large.tif", replace=True)
    assert bucket.keys() == bucket.uploads() == []


def test_uploads_that_a_killed_run_left_are_dropped_by_the_next(photos, bucket, command):
    arguments = ("images", photos / "trip", "-o", bucket.url("out"), "-f", "sobel")
    assert command(*arguments).code == 0
    for key in ("out/face.png", "out/of others.png", "elsewhere/face.png"):
        bucket.client.create_multipart_upload(Bucket=bucket.name, Key=key)
    assert command(*arguments).code == 0
    assert {u["Key"] for u in bucket.uploads()} == {"out/of others.png", "elsewhere/face.png"}


def test_listings_of_many_pages(bucket, monkeypatch):
    monkeypatch.setattr(s3, "_PAGE", 5)
    names = [f"{n:04}.png" for n in range(33)] + ["deep/a/b.png"]
    for name in names:
        bucket.put(f"many/{name}", b"x")
    bucket.put("many/", b"")  # what some programs take for a folder
    bucket.put("many/.hidden/a.png", b"x")
    bucket.put("manymore/a.png", b"x")
    store = store_of(parse_url(bucket.url("")))
    assert [name for name, _ in store.listed("many")] == names
    assert [name for name, _ in store.listed("many", recursive=False)] == names[:-1]
    assert all(identity.size == 1 for _, identity in store.listed("many"))


@pytest.fixture
def memory(tmp_path, account):
    from fsspec import filesystem

    store = filesystem("memory")
    yield store
    store.rm("/", recursive=True)


def test_memory_through_python(photos, tmp_path, memory):
    for name, content in tree(photos).items():
        memory.pipe_file(f"memory://in/{name}", content)

    def run(source, out, **options):
        job = make_any_job(
            {
                "input": {"paths": [str(source)]},
                "filter": [{"name": "gaussian", "sigma": 2.0}],
                "output": {"path": str(out)},
                "run": options,
            },
            "test",
        )
        worklist = make_worklist(job)
        try:
            report = run_job(job, worklist, Lines(True, False))
            return report.done, report.skipped, report.failed
        finally:
            worklist.close()

    assert run(photos, tmp_path / "out") == (9, 0, 0)
    assert run("memory://in", "memory://out") == (9, 0, 0)
    made = {name.removeprefix("/out/"): memory.cat_file(name) for name in memory.find("/out")}
    assert set(made) - set(tree(tmp_path / "out")) == {".filterworks.sqlite"}
    assert all(made[name] == content for name, content in tree(tmp_path / "out").items())
    assert run("memory://in", "memory://out") == (0, 9, 0)
    assert run("memory://in/**/*.png", tmp_path / "globbed") == (2, 0, 0)
    with pytest.raises(JobError, match="this process"):
        run("memory://in", "memory://out", workers=2)
    with pytest.raises(JobError, match="this process"):
        run("memory://in", tmp_path / "out", workers=2)


@pytest.fixture
def web(photos, account):
    """A web server over the photos."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=photos)

        def send_head(self):
            if self.path in self.server.away:
                self.send_error(self.server.away[self.path])
                return None
            return super().send_head()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.away = {}
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_inputs_from_the_web(photos, web, tmp_path, command):
    urls = [f"{web.url}/trip/face.png", f"{web.url}/trip/day%20one/MAN.BMP"]
    arguments = ("images", *urls, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--json")
    assert command("images", photos, "-o", tmp_path / "local", "-f", "gaussian:sigma=2").code == 0
    result = command(*arguments)
    assert result.code == 0, result.err
    local = tree(tmp_path / "local")
    assert tree(tmp_path / "out") == {
        "face.png": local["trip/face.png"],
        "MAN.BMP": local[os.path.join("trip", "day one", "MAN.BMP")],
    }
    assert len(command(*arguments).json["skipped"]) == 2
    os.utime(photos / "trip" / "face.png", (1e9, 1e9))
    changed = command(*arguments).json
    assert [e["input"] for e in changed["done"]] == urls[:1]
    for url, said in (
        (f"{web.url}/trip/none.png", "does not exist"),
        (f"{web.url}/trip/", "names no file"),
        (web.url, "names no file"),
    ):
        refused = command("images", url, "-o", tmp_path / "out", "-f", "sobel")
        assert (refused.code, said in refused.err) == (2, True)
    refused = command("images", photos, "-o", f"{web.url}/out", "-f", "sobel")
    assert (refused.code, "can only be read" in refused.err) == (2, True)
    escaping = command("images", f"{web.url}/trip/..%2f..%2fface.png", "-o", tmp_path / "out", "-f", "sobel")
    assert escaping.code == 2


@pytest.mark.parametrize(("status", "said"), [(403, "access is denied"), (401, "not accepted"), (503, "503")])
def test_the_web_says_no(web, tmp_path, command, monkeypatch, status, said):
    monkeypatch.setattr(retrying, "PATIENCE", 0.2)
    web.away["/trip/face.png"] = status
    result = command("images", f"{web.url}/trip/face.png", "-o", tmp_path / "out", "-f", "sobel")
    assert (result.code, said in result.err) == (2, True), result.err
    assert result.err.count("\n") == 1


def test_permanent_failures_are_not_tried_again():
    calls = []

    def refused():
        calls.append(time.monotonic())
        raise PermissionError("wJalr SECRET")

    with pytest.raises(StoreError, match="access is denied") as caught:
        retried(refused, "s3://bucket/a.png")
    assert len(calls) == 1
    assert "SECRET" not in str(caught.value)


def test_trouble_of_this_machine_is_no_trouble_of_the_store(tmp_path, bucket):
    bucket.put("a.png", b"x")
    store = store_of(parse_url(bucket.url("a.png")))
    with pytest.raises(FileNotFoundError):
        store.fetch("a.png", store.identity("a.png"), tmp_path / "none" / "a.png")


@pytest.mark.parametrize(("module", "url", "extra"), [
    ("s3fs", "s3://bucket/in", "s3"),
    ("gcsfs", "gs://bucket/in", "gcs"),
    ("aiohttp", "https://host/a.png", "http"),
])  # fmt: skip
def test_a_missing_library_is_named_with_its_extra(tmp_path, module, url, extra):
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"sys.argv = ['filterworks', 'images', {url!r}, '-o', {str(tmp_path / 'out')!r}, '-f', 'sobel']\n"
        "from filterworks.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"pip install 'filterworks[{extra}]'" in done.stderr


def test_local_work_loads_nothing_of_stores(tmp_path):
    Image.fromarray(skimage.data.camera()[:50, :60]).save(tmp_path / "a.png")
    code = (
        "import sys\n"
        f"sys.argv = ['filterworks', 'images', {str(tmp_path / 'a.png')!r}, '-o', {str(tmp_path / 'out')!r}, '-f', 'sobel']\n"
        "from filterworks.cli import main\n"
        "try:\n    main()\n"
        "finally:\n"
        "    print([m for m in ('s3fs', 'aiohttp', 'botocore') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_stores_are_opened_anew_when_asked(bucket):
    store = store_of(parse_url(bucket.url("")))
    assert store_of(parse_url(bucket.url("a/b.png"))) is store
    forget_stores()
    assert store_of(parse_url(bucket.url("a/b.png"))) is not store
