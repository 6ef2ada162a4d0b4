"""``filterworks audit`` of results in a bucket, and of results whose inputs lie in one."""

import numpy as np
import pytest
import zarr

from filterworks import chains
from filterworks.files import retrying
from tests.remote.conftest import SECRET
from tests.remote.test_troubles import everything_written

BLUR = ("-f", "gaussian:sigma=2")


@pytest.fixture
def made(photos, tmp_path, bucket, command):
    """Photos and a store in a bucket, filtered into the bucket; the names of the results."""
    grey = np.arange(90 * 130, dtype=np.uint16).reshape(90, 130)
    array = zarr.create_array(photos / "scan.zarr", shape=grey.shape, dtype=grey.dtype, chunks=(32, 48))
    array[...] = grey
    bucket.put_tree(photos, "in")
    done = command("images", bucket.url("in"), "-o", bucket.url("out"), *BLUR, "--json")
    assert done.code == 0
    return [entry["output"] for entry in done.json["done"]]


def test_an_audit_of_a_sound_bucket(made, bucket, turnstile, command):
    fetched = set()
    turnstile.turn = lambda method, path: fetched.add((method, path.split("/out/")[-1])) or 0
    audited = command("audit", bucket.url("out"), "--sample", "100%", "--json")
    assert audited.code == 0, audited.out
    assert {n: audited.json[n] for n in ("total", "intact", "recomputed")} == dict.fromkeys(
        ("total", "intact", "recomputed"), len(made)
    )
    assert ("GET", "scan.zarr/c/2/2") in fetched
    assert not any(method in ("PUT", "DELETE") for method, _ in fetched)
    some = command("audit", bucket.url("out"), "--sample", "0")
    assert f"{len(made)} of {len(made)} results are intact, 0 of them" in some.out


def test_an_audit_names_what_is_missing_and_changed(made, bucket, command):
    bucket.remove("out/face.jpg")
    for key, other in (("trip/face.png", "trip/cut.png"), ("scan.zarr/c/1/1", "scan.zarr/c/0/1")):
        bucket.put(f"out/{key}", bucket.get(f"out/{other}"))
    data = bytearray(bucket.get("out/cells/deep.tif"))
    data[-1] ^= 1
    bucket.put("out/cells/deep.tif", bytes(data))
    bucket.remove("in/cells/deep.pgm")
    bucket.put("in/cells/float.tiff", bucket.get("in/cells/float.tiff") + b"more")
    audited = command("audit", bucket.url("out"), "--sample", "100%", "--json")
    assert audited.code == 1
    named = {
        kind: {one["output"].removeprefix(bucket.url("out/")) for one in audited.json[kind]}
        for kind in ("missing", "changed", "wrong", "unproved")
    }
    assert named == {
        "missing": {"face.jpg"},
        "changed": {"trip/face.png", "scan.zarr", "cells/deep.tif"},
        "wrong": set(),
        "unproved": {"cells/deep.pgm", "cells/float.tiff"},
    }
    reasons = {one["input"].rpartition("/")[2]: one["reason"] for one in audited.json["unproved"]}
    assert reasons == {
        "deep.pgm": "its input does not exist any more",
        "float.tiff": "its input has changed since",
    }
    # the job repairs what was found
    assert command("images", bucket.url("in"), "-o", bucket.url("out"), *BLUR).code == 0
    assert command("audit", bucket.url("out"), "--sample", "100%", "--json").json["changed"] == []


def test_an_audit_proves_with_scipy(made, bucket, command, monkeypatch):
    chain = chains.Chain.__call__
    monkeypatch.setattr(chains.Chain, "__call__", lambda self, x, **options: chain(self, x, **options) * 0.9)
    audited = command("audit", bucket.url("out"), "--sample", "100%", "--json")
    assert audited.code == 1
    assert len(audited.json["wrong"]) == len(made)
    assert all("differs from scipy's" in one["reason"] for one in audited.json["wrong"])


def test_an_audit_of_local_results_with_inputs_in_a_bucket(made, tmp_path, bucket, command):
    out = tmp_path / "out"
    assert command("images", bucket.url("in"), "-o", out, *BLUR).code == 0
    again = ("audit", out, "--sample", "100%", "--json")
    audited = command(*again)
    assert (audited.code, audited.json["recomputed"]) == (0, len(made)), audited.out
    bucket.put("in/scan.zarr/c/0/0", bucket.get("in/scan.zarr/c/0/1"))
    audited = command(*again)
    assert (audited.code, audited.json["recomputed"]) == (0, len(made) - 1)
    assert "has changed since" in audited.json["unproved"][0]["reason"]


def test_an_audit_of_a_store_in_trouble(made, bucket, turnstile, command, tmp_path, monkeypatch):
    turnstile.message = f"Credential {SECRET} was refused"
    turnstile.turn = lambda method, path: 403 if "out/face.jpg" in path or "out/scan.zarr/c" in path else 0
    audited = command("audit", bucket.url("out"), "--sample", "0", "--json")
    assert audited.code == 1
    assert {one["output"] for one in audited.json["missing"]} == {
        bucket.url("out/face.jpg"),
        bucket.url("out/scan.zarr"),
    }
    assert all("access is denied" in one["reason"] for one in audited.json["missing"])
    # a store that goes away ends it, in one line
    monkeypatch.setattr(retrying, "PATIENCE", 0.5)
    turnstile.turn = lambda method, path: 503 if "out/trip" in path else 0
    gone = command("audit", bucket.url("out"))
    assert gone.code == 1
    assert "too busy or failing" in gone.err
    assert gone.err.count("\n") == 1
    assert SECRET not in everything_written(tmp_path, audited, gone)
