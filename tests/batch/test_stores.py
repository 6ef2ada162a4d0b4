"""Zarr stores in the batch: each is one input and one result, although it is a folder."""

import json
import os
import shutil
import time

import numpy as np
import pytest
import skimage.data
import tifffile
import zarr
from PIL import Image

from filterworks import Chain

GREY = skimage.data.camera()[100:233, 60:231].astype(np.uint16) * 211
BLUR = "gaussian:sigma=2"


def store(path, values=GREY, **options):
    array = zarr.create_array(path, shape=values.shape, dtype=values.dtype, chunks=(64, 48), **options)
    array[...] = values


@pytest.fixture
def scans(tmp_path):
    """Two stores and a photo in nested folders."""
    folder = tmp_path / "scans"
    (folder / "deep").mkdir(parents=True)
    store(folder / "a.ome.zarr")
    store(folder / "deep" / "b.ZARR", GREY[::-1], zarr_format=2)
    Image.fromarray(skimage.data.camera()[:50, :60]).save(folder / "deep" / "photo.png")
    return folder


def result(path):
    return zarr.open_array(path, mode="r")[...]


def names(folder):
    return {name for name in os.listdir(folder) if name != ".filterworks.sqlite"}


def test_a_store_is_one_input_and_one_result(scans, tmp_path, command):
    out = tmp_path / "out"
    done = command("images", scans, "-o", out, "-f", BLUR, "--json", "--verify", "100%")
    assert done.code == 0, done.err
    assert len(done.json["done"]) == 3
    np.testing.assert_array_equal(result(out / "a.ome.zarr"), Chain.parse(BLUR)(GREY))
    np.testing.assert_array_equal(result(out / "deep/b.ZARR"), Chain.parse(BLUR)(GREY[::-1]))
    assert names(out) == {"a.ome.zarr", "deep"}
    again = command("images", scans, "-o", out, "-f", BLUR, "--json")
    assert (len(again.json["done"]), len(again.json["skipped"])) == (0, 3)
    globbed = command("images", scans / "*.zarr", "-o", tmp_path / "other", "-f", BLUR, "--json")
    assert [os.path.basename(entry["output"]) for entry in globbed.json["done"]] == ["a.ome.zarr"]


def test_the_bytes_do_not_depend_on_who_works(scans, tmp_path, command, process):
    child = process("images", scans, "-o", tmp_path / "out", "-f", BLUR, "--workers", "2")
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert command("images", scans, "-o", tmp_path / "one", "-f", BLUR, "--memory", "32MB").code == 0
    for path in sorted((tmp_path / "out").rglob("*")):
        if path.is_file() and path.name != ".filterworks.sqlite":
            assert path.read_bytes() == (tmp_path / "one" / path.relative_to(tmp_path / "out")).read_bytes()


@pytest.mark.parametrize("damage", ["chunk", "missing", "more", "renamed", "gone"])
def test_a_result_that_is_no_longer_intact_is_made_again(scans, tmp_path, command, damage):
    out = tmp_path / "out"
    command("images", scans, "-o", out, "-f", BLUR)
    place = out / "a.ome.zarr"
    chunk = place / "c/1/1"
    if damage == "chunk":
        data = bytearray(chunk.read_bytes())
        data[len(data) // 2] ^= 1
        chunk.write_bytes(data)
    elif damage == "missing":
        chunk.unlink()
    elif damage == "more":
        (place / "c/9").write_bytes(b"")
    elif damage == "renamed":
        chunk.rename(place / "c/1/7")
    else:
        shutil.rmtree(place)
    again = command("images", scans, "-o", out, "-f", BLUR, "--json")
    assert [entry["output"] for entry in again.json["done"]] == [str(place)]
    np.testing.assert_array_equal(result(place), Chain.parse(BLUR)(GREY))
    assert not (place / "c/9").exists()
    assert names(out) == {"a.ome.zarr", "deep"}


def test_an_input_that_has_changed_is_filtered_again(scans, tmp_path, command):
    out = tmp_path / "out"
    command("images", scans, "-o", out, "-f", BLUR)
    zarr.open_array(scans / "a.ome.zarr", mode="r+")[:64, :48] = 0
    again = command("images", scans, "-o", out, "-f", BLUR, "--json")
    assert [entry["output"] for entry in again.json["done"]] == [str(out / "a.ome.zarr")]
    changed = GREY.copy()
    changed[:64, :48] = 0
    np.testing.assert_array_equal(result(out / "a.ome.zarr"), Chain.parse(BLUR)(changed))


def test_what_others_made_is_left_alone(scans, tmp_path, command):
    out = tmp_path / "out"
    store(out / "a.ome.zarr", GREY // 2)
    refused = command("images", scans, "-o", out, "-f", BLUR)
    assert refused.code == 2
    assert "exists and was not made by filterworks; --overwrite replaces it" in refused.err
    np.testing.assert_array_equal(result(out / "a.ome.zarr"), GREY // 2)
    assert command("images", scans, "-o", out, "-f", BLUR, "--overwrite").code == 0
    np.testing.assert_array_equal(result(out / "a.ome.zarr"), Chain.parse(BLUR)(GREY))


def test_a_folder_that_is_no_store_is_never_replaced(scans, tmp_path, command):
    place = tmp_path / "out/a.ome.zarr"
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("years of work")
    refused = command("images", scans, "-o", tmp_path / "out", "-f", BLUR, "--overwrite")
    assert (refused.code, "is a folder" in refused.err) == (2, True)
    assert (place / "thesis.txt").read_text() == "years of work"


def test_a_store_never_replaces_an_input_nor_lies_in_one(scans, command):
    source = scans / "a.ome.zarr"
    before = sorted(source.rglob("*"))
    for out in (source, scans / "a.ome.zarr/inside.zarr", scans / "a.ome.zarr/c/"):
        refused = command("images", source, "-o", out, "-f", BLUR, "--overwrite")
        assert refused.code == 2, out
    assert sorted(source.rglob("*")) == before


def test_one_store_to_one_name(scans, tmp_path, command):
    for code in (0, 0):
        done = command("images", scans / "a.ome.zarr", "-o", tmp_path / "x.zarr", "-f", BLUR)
        assert done.code == code, done.err
    assert "1 already done" in done.err
    np.testing.assert_array_equal(result(tmp_path / "x.zarr"), Chain.parse(BLUR)(GREY))


def test_a_bad_store_is_one_failure(scans, tmp_path, command):
    (scans / "a.ome.zarr/c/0/1").write_bytes(b"no chunk")
    store(scans / "flags.zarr", GREY > 9000)
    done = command("images", scans, "-o", tmp_path / "out", "-f", BLUR, "--json")
    assert done.code == 1
    errors = {os.path.basename(entry["input"]): entry["error"] for entry in done.json["failed"]}
    assert errors.keys() == {"a.ome.zarr", "flags.zarr"}
    assert "a.ome.zarr: is corrupt" in errors["a.ome.zarr"]
    assert "flags.zarr: holds samples of type bool" in errors["flags.zarr"]
    assert names(tmp_path / "out") == {"deep"}


def test_from_zarr_to_tiff_and_back(tmp_path, command):
    stack = np.stack([GREY, GREY[::-1], GREY // 3])
    array = zarr.create_array(
        tmp_path / "in.zarr",
        shape=stack.shape,
        dtype="uint16",
        chunks=(2, 64, 48),
        dimension_names=("z", "y", "x"),
    )
    array[...] = stack
    assert command("images", tmp_path / "in.zarr", "-o", tmp_path / "x.tif", "-f", BLUR).code == 0
    blurred = Chain.parse(BLUR)(stack, axes=(1, 2))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "x.tif"), blurred)
    assert command("images", tmp_path / "x.tif", "-o", tmp_path / "y.zarr", "-f", "mean:size=1").code == 0
    np.testing.assert_array_equal(zarr.open_group(tmp_path / "y.zarr", mode="r")["0"][...], blurred)


def test_a_photo_becomes_an_ome_zarr(tmp_path, command):
    photo = skimage.data.astronaut()[:150, :141]
    Image.fromarray(photo).save(tmp_path / "in.png", dpi=(254, 508))
    done = command("images", tmp_path / "in.png", "-o", tmp_path / "out.zarr", "-f", BLUR)
    assert done.code == 0, done.err
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    expected = np.moveaxis(Chain.parse(BLUR)(photo, axes=(0, 1)), -1, 0)
    np.testing.assert_array_equal(group["0"][...], expected)
    assert group["0"].metadata.dimension_names == ("c", "y", "x")
    (scales,) = group.attrs["ome"]["multiscales"]
    assert [axis["name"] for axis in scales["axes"]] == ["c", "y", "x"]
    steps = scales["datasets"][0]["coordinateTransformations"][0]["scale"]
    np.testing.assert_allclose(steps, [1, 50, 100], rtol=1e-3)


def test_a_run_that_is_killed_leaves_no_half_store(scans, tmp_path, process):
    out = tmp_path / "out"
    large = np.tile(GREY, (12, 10))
    store(scans / "large.zarr", large)
    child = process("images", scans, "-o", out, "-f", BLUR)
    while child.poll() is None and not list(out.glob(".filterworks-*/*.zarr/c")):
        time.sleep(0.005)
    child.kill()
    child.communicate()
    assert "large.zarr" not in names(out)
    child = process("images", scans, "-o", out, "-f", BLUR, "--json")
    report, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert json.loads(report)["failed"] == []
    np.testing.assert_array_equal(result(out / "large.zarr"), Chain.parse(BLUR)(large))
    assert names(out) == {"a.ome.zarr", "deep", "large.zarr"}


def test_an_audit_looks_into_stores(scans, tmp_path, command):
    out = tmp_path / "out"
    assert command("images", scans, "-o", out, "-f", BLUR).code == 0
    proved = command("audit", out, "--sample", "100%", "--json")
    assert proved.code == 0, proved.out
    assert (proved.json["intact"], proved.json["recomputed"]) == (3, 3)
    next(path for path in (out / "a.ome.zarr").rglob("0") if path.is_file()).write_bytes(b"other")
    found = command("audit", out, "--json")
    assert found.code == 1
    assert [os.path.basename(one["output"]) for one in found.json["changed"]] == ["a.ome.zarr"]
