"""Google's kind of store: an emulator on loopback, and before it a proxy that keeps a promise for it."""

import json
import re
import sys
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qs, quote, urlsplit

import fsspec.config
import numpy as np
import pytest
import zarr
from gcp_storage_emulator.server import create_server

from filterworks.files.stores import forget_stores
from tests.conftest import tree
from tests.remote.conftest import Throttling

# What gcsfs sends in one piece, aiohttp would rather have otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
CHAIN = ("-f", "gaussian:sigma=1.5")
NAME = "bucket"


class OnlyIfAbsent(Throttling):
    """Refuses what is to be written only where there is nothing: the emulator ignores that condition."""

    def _status(self, body):
        query = parse_qs(urlsplit(self.path).query)
        if query.get("ifGenerationMatch") != ["0"]:
            return 0
        name = query["name"][0] if "name" in query else re.search(rb'"name": "([^"]+)"', body)[1].decode()
        with self.server.asking:
            self.server.asked.append(name)
        self.server.before(name)
        return 412 if self.server.bucket.get(name) is not None else 0


class Bucket:
    """A bucket as another program sees it."""

    def __init__(self, endpoint):
        self.endpoint = endpoint

    def _call(self, path, data=None, method=None):
        with suppress(urllib.error.HTTPError):
            request = urllib.request.Request(f"{self.endpoint}{path}", data, method=method)
            with urllib.request.urlopen(request) as answer:
                return answer.read()
        return None

    def put(self, key, data):
        place = f"/upload/storage/v1/b/{NAME}/o?uploadType=media&name={quote(key, safe='')}"
        assert self._call(place, data) is not None

    def put_tree(self, folder, prefix):
        for name, content in tree(folder).items():
            self.put(f"{prefix}/{name}", content)

    def get(self, key):
        return self._call(f"/storage/v1/b/{NAME}/o/{quote(key, safe='')}?alt=media")

    def remove(self, key):
        self._call(f"/storage/v1/b/{NAME}/o/{quote(key, safe='')}", method="DELETE")

    def tree(self, prefix):
        found = json.loads(self._call(f"/storage/v1/b/{NAME}/o?prefix={quote(prefix)}/"))
        names = [one["name"] for one in found.get("items", ())]
        return {
            name[len(prefix) + 1 :]: self.get(name)
            for name in names
            if not name.endswith("/.filterworks.sqlite")
        }


@pytest.fixture(scope="module")
def emulator():
    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=NAME)
    server.start()
    yield server._api._httpd.server_address[:2]  # it does not tell its port
    server.stop()


@pytest.fixture
def google(emulator, monkeypatch, tmp_path):
    """The proxy, with `bucket` behind it, `asked` (what was to be written only if absent), `before`."""
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), OnlyIfAbsent)
    proxy.daemon_threads = True
    proxy.target, proxy.calls, proxy.refused, proxy.message = emulator, 0, 0, "conditionNotMet"
    proxy.asked, proxy.asking, proxy.before = [], threading.Lock(), lambda name: None
    proxy.bucket = Bucket("http://{}:{}".format(*emulator))
    for name in proxy.bucket.tree("in") | proxy.bucket.tree("out"):
        for prefix in ("in", "out"):
            proxy.bucket.remove(f"{prefix}/{name}")
    proxy.bucket.remove("out/.filterworks.sqlite")
    thread = threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:{}".format(*proxy.server_address[1:]))
    # Otherwise it asks the real Google what kind of bucket this is.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "gcsfs"]:
        monkeypatch.delitem(sys.modules, name)
    forget_stores()
    yield proxy
    forget_stores()
    proxy.shutdown()
    proxy.server_close()
    thread.join()


def test_a_bucket_gives_the_bytes_of_a_local_run_and_is_gone_on_with(small, google, tmp_path, command):
    bucket = google.bucket
    assert command("images", small, "-o", tmp_path / "whole", *CHAIN).code == 0
    whole = tree(tmp_path / "whole")
    bucket.put_tree(small, "in")
    arguments = ("images", f"gs://{NAME}/in", "-o", f"gs://{NAME}/out", *CHAIN, "--json")
    first = command(*arguments)
    assert first.code == 0, first.err
    assert len(first.json["done"]) == 24
    assert bucket.tree("out") == whole
    # Nothing was written without the condition, the lock included.
    assert {f"out/{name}" for name in whole} | {"out/.filterworks.lock"} <= set(google.asked)
    assert google.refused == 0
    bucket.remove("out/part 0/000.png")
    bucket.put("in/part 1/001.png", bucket.get("in/part 2/002.png"))
    again = command(*arguments).json
    assert {one["output"].rpartition("/")[2] for one in again["done"]} == {"000.png", "001.png"}
    assert len(again["skipped"]) == 22
    assert bucket.tree("out") == whole | {"part 1/001.png": whole["part 2/002.png"]}
    audited = command("audit", f"gs://{NAME}/out", "--sample", "50%", "--json")
    assert audited.code == 0, audited.err
    assert audited.json["recomputed"] > 0


def test_what_others_put_meanwhile_stays(small, google, command):
    bucket, theirs = google.bucket, "out/part 2/005.png"
    bucket.put_tree(small, "in")

    def before(name):
        if name == theirs:
            bucket.put(theirs, b"mine")

    google.before = before
    result = command("images", f"gs://{NAME}/in", "-o", f"gs://{NAME}/out", *CHAIN, "--json")
    assert result.code == 1
    (failed,) = result.json["failed"]
    assert "has appeared during the run and was not made by it; left as it is" in failed["error"]
    assert bucket.get(theirs) == b"mine"
    assert len(bucket.tree("out")) == 24
    assert google.refused == 1


def test_of_two_runs_that_begin_together_one_is_refused(small, google, command):
    bucket = google.bucket
    bucket.put_tree(small, "in")
    theirs = {
        "process": 1,
        "host": "other",
        "created": 0.0,
        "since": "now",
        "beat": 1e12,
        "total": 1,
        "id": "x",
    }

    def before(name):
        if name.endswith(".lock"):
            bucket.put(name, json.dumps(theirs).encode())

    google.before = before
    result = command("images", f"gs://{NAME}/in", "-o", f"gs://{NAME}/out", *CHAIN)
    assert result.code == 2
    assert "another run is working here (process 1 on other" in result.err
    assert set(bucket.tree("out")) == {".filterworks.lock"}


def test_a_store_and_a_large_object(google, tmp_path, command):
    bucket, rng = google.bucket, np.random.default_rng(4)
    pixels = rng.integers(0, 65536, (2600, 2000), np.uint16)
    zarr.create_array(tmp_path / "scan.zarr", data=pixels, chunks=(700, 900))
    bucket.put_tree(tmp_path / "scan.zarr", "in/scan.zarr")
    assert command("images", tmp_path / "scan.zarr", "-o", tmp_path / "local.zarr", *CHAIN).code == 0
    made = command("images", f"gs://{NAME}/in/scan.zarr", "-o", f"gs://{NAME}/out/scan.zarr", *CHAIN)
    assert made.code == 0, made.err
    assert bucket.tree("out/scan.zarr") == tree(tmp_path / "local.zarr")
    # A resumable upload: another way through the library.
    large = tmp_path / "large.tif"
    assert command("images", tmp_path / "local.zarr", "-o", large, "-f", "mean:size=1").code == 0
    assert large.stat().st_size > 8 << 20
    bucket.put("in/large.tif", large.read_bytes())
    assert command("images", large, "-o", tmp_path / "whole.tif", *CHAIN).code == 0
    made = command("images", f"gs://{NAME}/in/large.tif", "-o", f"gs://{NAME}/out/large.tif", *CHAIN)
    assert made.code == 0, made.err
    assert bucket.get("out/large.tif") == (tmp_path / "whole.tif").read_bytes()
    assert "out/large.tif" in google.asked
