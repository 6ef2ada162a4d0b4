"""Zarr stores in buckets: each is one input and one result, although it is many objects."""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import skimage.data
import zarr
from fsspec import filesystem
from PIL import Image

from filterworks import Chain
from filterworks.files import retrying, trees
from filterworks.files.stores import Identity, store_of
from filterworks.files.urls import parse_url
from tests.conftest import tree
from tests.remote.conftest import SECRET
from tests.remote.test_troubles import everything_written, unhurried, wait_for

GREY = skimage.data.camera()[100:233, 60:231].astype(np.uint16) * 211
BLUR = "gaussian:sigma=2"


def store(path, values=GREY, **options):
    array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=(64, 48), **options)
    array[...] = values


@pytest.fixture
def scans(tmp_path, bucket):
    """Two stores, one of them with hidden objects, and a photo; on this machine and in the bucket."""
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    store(folder / "a.ome.zarr")
    store(folder / "deep" / "b.ZARR", GREY[::-1], zarr_format=2, attributes={"by": "someone"})
    Image.fromarray(skimage.data.camera()[:50, :60]).save(folder / "deep" / "photo.png")
    bucket.put_tree(folder, "in")
    return folder


def images(command, source, out, *options):
    return command("images", source, "-o", out, "-f", BLUR, "--json", *options)


def outcomes(result):
    return {name: len(result.json[name]) for name in ("done", "skipped", "failed") if result.json[name]}


def copied(bucket, prefix, place):
    """What is in the bucket, in a folder."""
    for name, data in bucket.tree(prefix).items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    return place


def test_a_bucket_gives_the_bytes_of_a_local_run(scans, tmp_path, bucket, command):
    assert images(command, scans, tmp_path / "local").code == 0
    expected = tree(tmp_path / "local")
    done = images(command, bucket.url("in"), bucket.url("out"))
    assert (done.code, outcomes(done)) == (0, {"done": 3}), done.err
    assert bucket.tree("out") == expected
    assert {entry["output"] for entry in done.json["done"]} == {
        bucket.url(f"out/{name}") for name in ("a.ome.zarr", "deep/b.ZARR", "deep/photo.png")
    }
    result = zarr.open_array(copied(bucket, "out", tmp_path / "copy") / "a.ome.zarr", mode="r")[...]
    np.testing.assert_array_equal(result, Chain.parse(BLUR)(GREY))
    assert outcomes(images(command, bucket.url("in"), bucket.url("out"))) == {"skipped": 3}
    # from here to there and back
    assert outcomes(images(command, scans, bucket.url("there"))) == {"done": 3}
    assert bucket.tree("there") == expected
    assert outcomes(images(command, bucket.url("in"), tmp_path / "here")) == {"done": 3}
    assert tree(tmp_path / "here") == expected
    assert outcomes(images(command, bucket.url("in"), tmp_path / "here")) == {"skipped": 3}


def test_one_store_to_one_name(scans, tmp_path, bucket, command):
    assert images(command, scans / "a.ome.zarr", tmp_path / "local.zarr").code == 0
    expected = tree(tmp_path / "local.zarr")
    for source in ("in/a.ome.zarr", "in/a.ome.zarr/"):
        first = images(command, bucket.url(source), bucket.url("made/x.zarr"), "--force")
        assert outcomes(first) == {"done": 1}, first.err
        assert bucket.tree("made/x.zarr") == expected
    assert outcomes(images(command, bucket.url(source), bucket.url("made/x.zarr"))) == {"skipped": 1}
    assert set(bucket.tree("made")) == {f"x.zarr/{name}" for name in expected}
    assert outcomes(images(command, bucket.url("in/a.ome.zarr"), tmp_path / "back.zarr")) == {"done": 1}
    assert tree(tmp_path / "back.zarr") == expected
    # another kind of file on one side
    assert outcomes(images(command, bucket.url("in/a.ome.zarr"), bucket.url("made/x.tif"))) == {"done": 1}
    assert outcomes(images(command, bucket.url("made/x.tif"), bucket.url("made/y.zarr"))) == {"done": 1}
    assert "y.zarr/zarr.json" in bucket.tree("made")


def test_a_store_in_one_object(scans, tmp_path, bucket, command):
    assert images(command, scans / "a.ome.zarr", tmp_path / "local.zarr").code == 0
    shutil.make_archive(str(tmp_path / "scan.zarr"), "zip", scans / "a.ome.zarr")
    bucket.put("packed/scan.zarr.zip", (tmp_path / "scan.zarr.zip").read_bytes())
    assert outcomes(images(command, bucket.url("packed"), bucket.url("out"))) == {"done": 1}
    assert bucket.tree("out/scan.zarr") == tree(tmp_path / "local.zarr")
    assert outcomes(images(command, bucket.url("packed"), bucket.url("out"))) == {"skipped": 1}
    assert command("audit", bucket.url("out"), "--sample", "100%", "--json").json["recomputed"] == 1


def test_globs_and_levels_take_a_store_as_one(scans, bucket, command):
    bucket.put("in/.hidden.zarr/zarr.json", b"{}")
    bucket.put("in/a.ome.zarr/notes.png", b"part of the store")

    def planned(url, *options):
        shown = images(command, url, bucket.url("out"), "--dry-run", *options)
        return [one["output"].removeprefix(bucket.url("out/")) for one in shown.json["planned"]]

    assert planned(bucket.url("in")) == ["a.ome.zarr", "deep/b.ZARR", "deep/photo.png"]
    assert planned(bucket.url("in"), "--no-recursive") == ["a.ome.zarr"]
    assert planned(bucket.url("in/*.zarr")) == ["a.ome.zarr"]
    assert planned(bucket.url("in/**/*.ZARR")) == ["deep/b.ZARR"]


@pytest.mark.parametrize("damage", ["chunk", "missing", "more", "renamed", "no metadata", "gone"])
def test_a_result_that_is_no_longer_intact_is_made_again(scans, bucket, command, damage):
    arguments = bucket.url("in/a.ome.zarr"), bucket.url("out/")
    assert outcomes(images(command, *arguments)) == {"done": 1}
    before = bucket.tree("out")
    chunk = "out/a.ome.zarr/c/1/1"
    if damage == "chunk":
        data = bytearray(bucket.get(chunk))
        data[len(data) // 2] ^= 1
        bucket.put(chunk, bytes(data))
    elif damage == "more":
        bucket.put("out/a.ome.zarr/c/9", b"x")
    elif damage == "renamed":
        bucket.put("out/a.ome.zarr/c/1/7", bucket.get(chunk))
    if damage in ("missing", "renamed"):
        bucket.remove(chunk)
    for name in before if damage == "gone" else ["a.ome.zarr/zarr.json"] if damage == "no metadata" else []:
        bucket.remove(f"out/{name}")
    assert bucket.tree("out") != before
    assert outcomes(images(command, *arguments)) == {"done": 1}
    assert bucket.tree("out") == before


def test_an_input_that_has_changed_is_filtered_again(scans, bucket, command):
    arguments = bucket.url("in"), bucket.url("out")
    assert outcomes(images(command, *arguments)) == {"done": 3}
    # as many bytes as before, in another order
    bucket.put("in/a.ome.zarr/c/0/0", bucket.get("in/a.ome.zarr/c/0/1"))
    bucket.put("in/a.ome.zarr/c/0/1", (scans / "a.ome.zarr/c/0/0").read_bytes())
    again = images(command, *arguments)
    assert [entry["output"] for entry in again.json["done"]] == [bucket.url("out/a.ome.zarr")]
    assert outcomes(again) == {"done": 1, "skipped": 2}


def test_what_others_made_is_left_alone(scans, bucket, turnstile, command):
    bucket.put("out/a.ome.zarr/thesis.txt", b"years of work")
    refused = images(command, bucket.url("in"), bucket.url("out"))
    assert refused.code == 2
    assert f"{bucket.url('out/a.ome.zarr')}: exists and was not made by filterworks" in refused.err
    # what appears during the run, before or while ours is put: nothing of ours stays with it
    for number, (name, at) in enumerate(
        (("thesis.txt", "c/0/0"), ("c/1/1", "c/1/1"), ("zarr.json", "c/0/0"))
    ):
        out = f"late{number}"

        def turn(method, path, out=out, name=name, at=at):
            if method == "PUT" and f"{out}/a.ome.zarr/{at}" in path:
                bucket.put(f"{out}/a.ome.zarr/{name}", b"a stranger's")
            return 0

        turnstile.turn = turn
        late = images(command, bucket.url("in/a.ome.zarr"), bucket.url(f"{out}/"))
        assert outcomes(late) == {"failed": 1}
        assert "has appeared during the run" in late.json["failed"][0]["error"]
        assert images(command, bucket.url("in/a.ome.zarr"), bucket.url(f"{out}/")).code == 2
        assert bucket.tree(out) == {f"a.ome.zarr/{name}": b"a stranger's"}
    assert images(command, bucket.url("in"), bucket.url("out"), "--overwrite").code == 0
    assert "a.ome.zarr/thesis.txt" not in bucket.tree("out")


def test_results_in_or_on_an_input_store_are_refused(scans, bucket, command):
    before = bucket.keys()
    for source in ("in/a.ome.zarr", "in/*.zarr"):
        for out in ("in/a.ome.zarr", "in/a.ome.zarr/inside.zarr", "in/a.ome.zarr/c/", "in/"):
            refused = images(command, bucket.url(source), bucket.url(out), "--overwrite")
            assert refused.code == 2, (source, out)
    assert bucket.keys() == before


def test_who_opens_a_result_finds_a_whole_store_or_none(scans, bucket, turnstile, command):
    assert images(command, bucket.url("in/a.ome.zarr"), bucket.url("out/")).code == 0
    whole = bucket.tree("out/a.ome.zarr")
    seen = []

    def turn(method, path):
        if "/out/a.ome.zarr" in path and method in ("PUT", "DELETE", "POST"):
            seen.append(set(bucket.tree("out/a.ome.zarr")))
        return 0

    bucket.put("out/a.ome.zarr/c/9/9", b"what the new one lacks")
    bucket.put("out/a.ome.zarr/c/zarr.json", b"metadata of something below")
    turnstile.turn = turn
    assert images(command, bucket.url("in/a.ome.zarr"), bucket.url("out/"), "--force").code == 0
    assert bucket.tree("out/a.ome.zarr") == whole
    assert "zarr.json" in seen[0]
    assert len([names for names in seen if "zarr.json" in names]) == 1
    assert len(seen) > len(whole)


def test_killed_in_its_middle_the_next_run_makes_it_whole(
    scans, tmp_path, bucket, turnstile, process, command
):
    assert images(command, scans, tmp_path / "local").code == 0
    expected = tree(tmp_path / "local")
    turnstile.turn = lambda method, path: unhurried(method, path) if method == "PUT" else 0
    run = process("images", bucket.url("in"), "-o", bucket.url("out"), "-f", BLUR)
    wait_for(lambda: len(bucket.keys("out/a.ome")) > 3 or run.poll() is not None)
    run.send_signal(signal.SIGKILL)
    run.wait()
    there = bucket.tree("out")
    assert "a.ome.zarr/zarr.json" not in there
    assert len(there) > 3
    turnstile.turn = lambda method, path: 0
    again = images(command, bucket.url("in"), bucket.url("out"))
    assert again.code == 0, again.err
    assert bucket.tree("out") == expected
    assert set(bucket.keys("out/")) == {f"out/{name}" for name in (*expected, ".filterworks.sqlite")}


def test_a_store_that_changes_while_it_is_fetched_is_noticed(scans, bucket, turnstile, command):
    def turn(method, path):
        # just before it is read: chunks are fetched at once, in no certain order
        if method == "GET" and "a.ome.zarr/c/2/3" in path:
            bucket.put("in/a.ome.zarr/c/2/3", b"another chunk")
        if method == "GET" and "b.ZARR/2.3" in path:
            bucket.remove("in/deep/b.ZARR/2.3")
        return 0

    turnstile.turn = turn
    result = images(command, bucket.url("in"), bucket.url("out"))
    assert outcomes(result) == {"done": 1, "failed": 2}
    for entry in result.json["failed"]:
        assert entry["error"].startswith(entry["input"])
    assert set(bucket.tree("out")) == {"deep/photo.png"}


def test_stores_of_other_kinds(scans, tmp_path, account, command):
    memory = filesystem("memory")
    try:
        assert outcomes(images(command, scans, "memory://out")) == {"done": 3}
        assert outcomes(images(command, scans, "memory://out")) == {"skipped": 3}
        assert images(command, scans, tmp_path / "local").code == 0
        expected = tree(tmp_path / "local")
        made = {name.removeprefix("/out/"): memory.cat_file(name) for name in memory.find("/out")}
        assert {n: data for n, data in made.items() if n != ".filterworks.sqlite"} == expected
        memory.pipe_file("/out/a.ome.zarr/c/1/1", b"damaged")
        memory.pipe_file("/out/a.ome.zarr/c/9/1", b"more")
        assert outcomes(images(command, scans, "memory://out")) == {"done": 1, "skipped": 2}
        assert memory.cat_file("/out/a.ome.zarr/c/1/1") == expected["a.ome.zarr/c/1/1"]
        assert not memory.exists("/out/a.ome.zarr/c/9/1")
        # another filter over these, by a glob, to this machine
        assert outcomes(images(command, "memory://out/**/*.[zZ]*", tmp_path / "twice")) == {"done": 2}
        proved = command("audit", "memory://out", "--sample", "100%", "--json")
        assert (proved.code, proved.json["recomputed"]) == (0, 3), proved.out
    finally:
        memory.rm("/", recursive=True)


def test_names_in_a_store_are_data(scans, tmp_path, bucket, command):
    for key in ("up.zarr/c/../../../escaped", "absolute.zarr//etc/escaped", "windows.zarr/..\\escaped"):
        bucket.put(f"bad {key[:2]}/{key}", b"x")
        for out in (tmp_path / "out", bucket.url("out")):
            refused = images(command, bucket.url(f"bad {key[:2]}"), out)
            assert (refused.code, "cannot be fetched" in refused.err) == (2, True), refused.err
            single = images(command, bucket.url(f"bad {key[:2]}/{key.split('/')[0]}"), out)
            assert single.code
    assert not list(tmp_path.rglob("escaped*"))
    # an object and a folder of one name; an object that only looks like a store
    bucket.put_tree(scans / "a.ome.zarr", "odd/a.zarr")
    bucket.put("odd/a.zarr/c", b"x")
    bucket.put("odd/b.zarr", b"x")
    bucket.put_tree(scans / "a.ome.zarr", "odd/c.zarr")
    odd = images(command, bucket.url("odd"), bucket.url("odd out"))
    errors = {entry["input"].rpartition("/")[2]: entry["error"] for entry in odd.json["failed"]}
    assert outcomes(odd) == {"done": 1, "failed": 2}
    assert "cannot both be files" in errors["a.zarr"]
    assert "is a single object" in errors["b.zarr"]
    assert str(tmp_path) not in odd.out + odd.err


def test_a_store_larger_than_the_disk_is_refused_before_it_is_fetched(tmp_path, bucket):
    bucket.put("in/a.zarr/zarr.json", b"{}")
    one = store_of(parse_url(bucket.url("in")))
    with pytest.raises(Exception, match="free"):
        trees.fetch_tree(one, "in/a.zarr", Identity(1 << 60, ""), tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


LISTING = """
import tracemalloc
from filterworks.files import trees
from filterworks.files.stores import Identity

def listing():
    for store in range(3):
        for chunk in range(20_000):
            yield f"deep/{store}.zarr/c/0/{chunk}", Identity(1000, f"tag {chunk}")
    yield "deep/z.png", Identity(7, "tag")

tracemalloc.start()
found = list(trees.grouped(listing()))
print(tracemalloc.get_traced_memory()[1])
for name, identity, flaw in found:
    print(name, identity.size, identity.tag, flaw)
"""


def test_a_listing_of_many_objects_is_one_item_in_flat_memory():
    # In a process of its own: servers of other tests allocate in this one.
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, text=True, check=True)
    peak, *found = done.stdout.splitlines()
    assert int(peak) < 1 << 20
    tag = found[0].split()[2]
    assert found == [
        *(f"deep/{store}.zarr 20000000 {tag} None" for store in range(3)),
        "deep/z.png 7 tag None",
    ]


def test_a_store_in_trouble_is_told_without_secrets(scans, bucket, turnstile, command, tmp_path, monkeypatch):
    monkeypatch.setattr(retrying, "_FIRST", 0.01)
    turnstile.message = f"Credential {SECRET} was refused"
    turnstile.turn = lambda method, path: 403 if "a.ome.zarr/c/1" in path else 0
    result = images(command, bucket.url("in"), bucket.url("out"))
    assert outcomes(result) == {"done": 2, "failed": 1}
    assert "access is denied (403 AccessDenied)" in result.json["failed"][0]["error"]
    assert SECRET not in everything_written(tmp_path, result)
    assert not list((tmp_path / "state").rglob("*.zarr"))
    turnstile.turn = lambda method, path: 503 if turnstile.calls % 3 == 0 else 0
    assert outcomes(images(command, bucket.url("in"), bucket.url("out"))) == {"done": 1, "skipped": 2}
