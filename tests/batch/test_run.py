"""The batch with real files, real processes and a real cluster."""

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import ndimage

from tests.conftest import pixels, results_in, tree, wait_for_results

IMAGES = 9


def smooth(source, sigma=2.0):
    x = pixels(source).astype(float)
    width = [0] * x.ndim
    first = 1 if source.name == "stack.tif" else 0
    width[first] = width[first + 1] = sigma
    return ndimage.gaussian_filter(x, width)


def test_a_folder_keeps_its_tree_and_equals_scipy(photos, tmp_path, command):
    out = tmp_path / "out"
    result = command("images", photos, "-o", out, "-f", "gaussian:sigma=2", "--json")
    assert result.code == 0
    report = result.json
    assert len(report["done"]) == IMAGES
    assert report["failed"] == report["skipped"] == report["left"] == []
    assert report["ignored"] == 1
    for entry in report["done"]:
        source, output = map(type(photos), (entry["input"], entry["output"]))
        assert output.relative_to(out) == source.relative_to(photos)
        assert output.stat().st_size == entry["bytes"]
        before, after = pixels(source), pixels(output)
        assert after.dtype == before.dtype
        assert after.shape == before.shape
        if source.name == "cut.png":
            continue  # premultiplied: tested below
        # Half a step for rounding, and a few steps of float32 at the top of the range.
        rounding = 1e-5 if before.dtype.kind == "f" else 0.5 + 5e-7 * np.iinfo(before.dtype).max
        lossy = 12 if source.suffix == ".jpg" else rounding
        assert np.abs(after - smooth(source)).max() <= lossy
    assert set(os.listdir(out)) == {"face.jpg", "trip", "cells", ".filterworks.sqlite"}


def test_transparent_pixels_lend_no_colour(tmp_path, command):
    x = np.zeros((40, 50, 4), np.uint8)
    x[:, :25] = (200, 30, 60, 255)
    x[:, 25:] = (0, 255, 0, 0)  # green, but nobody can see it
    Image.fromarray(x).save(tmp_path / "a.png")
    for text, keeps_alpha in (("gaussian:sigma=3", False), ("median:size=5", True), ("sobel", True)):
        assert (
            command("images", tmp_path / "a.png", "-o", tmp_path / "b.png", "--overwrite", "-f", text).code
            == 0
        )
        got = pixels(tmp_path / "b.png").astype(int)
        visible = got[..., 3] > 3
        if text != "sobel":
            assert np.abs(got[visible][:, :3] - (200, 30, 60)).max() <= 3
        if keeps_alpha:
            np.testing.assert_array_equal(got[..., 3], x[..., 3])
        else:
            expected = ndimage.gaussian_filter(x[..., 3].astype(float), 3)
            assert np.abs(got[..., 3] - expected).max() <= 0.51


@pytest.mark.parametrize(("option", "expected"), [
    ("clip", lambda v: np.clip(v, 0, 255)),
    ("abs", lambda v: np.clip(np.abs(v), 0, 255)),
    ("offset", lambda v: np.clip(v + 128, 0, 255)),
    ("stretch", lambda v: (v - v.min()) * 255 / (v.max() - v.min())),
    (None, lambda v: np.clip(np.abs(v), 0, 255)),
])  # fmt: skip
def test_ranges_of_signed_results(tmp_path, command, option, expected):
    grey = skimage.data.camera()[:90, :120]
    Image.fromarray(grey).save(tmp_path / "a.png")
    chosen = ["--range", option] if option else []
    result = command("images", tmp_path / "a.png", "-o", tmp_path / "b.png", "-f", "sobel:axis=1", *chosen)
    assert result.code == 0
    slope = ndimage.sobel(grey.astype(float), 1)
    assert np.abs(pixels(tmp_path / "b.png") - expected(slope)).max() <= 0.51
    shown = {"clip": slope, "offset": slope + 128, "stretch": np.zeros(1)}.get(option, np.abs(slope))
    assert ("were cut" in result.err) == (((shown < -0.5) | (shown > 255.5)).mean() > 0.01)


def test_large_images_are_filtered_in_bands_without_a_seam(tmp_path, command, monkeypatch):
    from filterworks import bands

    grey = skimage.data.camera()
    Image.fromarray(grey).save(tmp_path / "a.png")
    for text in ("gaussian:sigma=3", "median:size=5 | laplace", "gaussian:sigma=2,boundary=wrap", "canny"):
        for name, band in (("whole.png", 1 << 30), ("bands.png", 512 * 100)):
            monkeypatch.setattr(bands, "BAND", band)
            assert (
                command("images", tmp_path / "a.png", "-o", tmp_path / name, "--overwrite", "-f", text).code
                == 0
            )
        np.testing.assert_array_equal(pixels(tmp_path / "whole.png"), pixels(tmp_path / "bands.png"))


def test_the_same_command_again_does_nothing_twice(photos, tmp_path, command):
    arguments = ("images", photos, "-o", tmp_path / "out", "-f", "mean:size=5", "--json")
    command(*arguments)
    before = tree(tmp_path / "out")
    again = command(*arguments)
    assert again.code == 0
    assert len(again.json["skipped"]) == IMAGES
    assert again.json["done"] == []
    # a damaged, a missing and a stale result are made again, nothing else
    (tmp_path / "out" / "face.jpg").write_bytes(b"damaged")
    same_size = tmp_path / "out" / "trip" / "face.png"
    stamp = same_size.stat()
    same_size.write_bytes(b"\0" * stamp.st_size)
    os.utime(same_size, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    (tmp_path / "out" / "cells" / "deep.tif").unlink()
    source = photos / "trip" / "cut.png"
    os.utime(source, ns=(1, 1))
    third = command(*arguments).json
    assert sorted(os.path.basename(e["output"]) for e in third["done"]) == [
        "cut.png",
        "deep.tif",
        "face.jpg",
        "face.png",
    ]
    assert tree(tmp_path / "out") == before
    # another chain makes everything again
    other = command("images", photos, "-o", tmp_path / "out", "-f", "mean:size=7", "--json").json
    assert len(other["done"]) == IMAGES


def test_a_changed_kernel_file_counts_as_another_chain(photos, tmp_path, command):
    taps = tmp_path / "k.npy"
    np.save(taps, np.array([[0.25, 0.5], [0.125, 0.125]]))
    arguments = (
        "images",
        photos / "trip" / "face.png",
        "-o",
        tmp_path / "out.png",
        "-f",
        f"kernel:path={taps}",
        "--json",
    )
    assert len(command(*arguments).json["done"]) == 1
    assert len(command(*arguments).json["skipped"]) == 1
    np.save(taps, np.array([[0.5, 0.25], [0.125, 0.125]]))
    assert len(command(*arguments).json["done"]) == 1
    expected = ndimage.correlate(pixels(photos / "trip" / "face.png").astype(float), np.load(taps)[..., None])
    assert np.abs(pixels(tmp_path / "out.png") - expected).max() <= 0.51


def test_bad_files_are_named_and_the_rest_goes_on(photos, tmp_path, command):
    whole = (photos / "face.jpg").read_bytes()
    (photos / "empty.png").write_bytes(b"")
    (photos / "cut off.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "wrong.png").write_bytes(whole)
    (photos / "noise.tif").write_bytes(random.Random(0).randbytes(5000))
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    result = command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--json")
    assert result.code == 1
    assert len(result.json["done"]) == IMAGES
    reasons = {os.path.basename(entry["input"]): entry["error"] for entry in result.json["failed"]}
    assert set(reasons) == {"empty.png", "cut off.jpg", "wrong.png", "noise.tif", "gone.png"}
    assert "empty" in reasons["empty.png"]
    assert "truncated" in reasons["cut off.jpg"]
    assert "JPEG" in reasons["wrong.png"]
    for name, reason in reasons.items():
        assert "\n" not in reason
        assert f"failed: {reason}" in result.err
        assert not (tmp_path / "out" / name).exists()
    status = command("status", tmp_path / "out", "--json")
    assert status.code == 1
    assert status.json["done"] == IMAGES
    assert {os.path.basename(entry["input"]) for entry in status.json["failed"]} == set(reasons)
    # mended, the same command finishes
    for name in reasons:
        (photos / name).unlink()
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(photos / "empty.png")
    last = command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--json")
    assert last.code == 0
    assert [os.path.basename(entry["input"]) for entry in last.json["done"]] == ["empty.png"]


def test_fail_fast_stops(photos, tmp_path, command):
    (photos / "a-first.png").write_bytes(b"")
    result = command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--json", "--fail-fast")
    assert result.code == 1
    assert len(result.json["failed"]) == 1
    assert len(result.json["left"]) > 0
    assert len(result.json["left"]) + len(result.json["done"]) == IMAGES


def test_files_of_strangers_are_never_replaced(photos, tmp_path, command):
    out = tmp_path / "out"
    (out / "trip").mkdir(parents=True)
    (out / "trip" / "face.png").write_text("mine")
    result = command("images", photos, "-o", out, "-f", "sobel")
    assert result.code == 2
    assert "--overwrite" in result.err
    assert tree(out) == {"trip/face.png": b"mine"}
    assert not (out / ".filterworks.sqlite").exists()
    assert command("images", photos, "-o", out, "-f", "sobel", "--overwrite").code == 0
    assert (out / "trip" / "face.png").read_bytes() != b"mine"


@pytest.mark.parametrize("where", ["photos/out", "photos", "photos/face.jpg"])
def test_outputs_in_or_on_inputs_are_refused(photos, tmp_path, command, where):
    before = tree(photos)
    result = command("images", photos, "-o", tmp_path / where, "-f", "sobel", "--overwrite")
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert tree(photos) == before
    alone = photos / "face.jpg"
    result = command("images", alone, "-o", alone, "-f", "sobel", "--overwrite")
    assert result.code == 2
    assert "is an input" in result.err
    assert tree(photos) == before


def test_two_inputs_with_one_output_are_refused(photos, tmp_path, command):
    shutil.copytree(photos, tmp_path / "more")
    result = command("images", photos, tmp_path / "more", "-o", tmp_path / "out", "-f", "sobel")
    assert result.code == 2
    assert "would both become" in result.err
    assert not (tmp_path / "out").exists()


def test_globs_files_and_folders_as_inputs(photos, tmp_path, command):
    def outputs(*arguments):
        folder = tmp_path / f"out{len(os.listdir(tmp_path))}"
        assert command("images", *arguments, "-o", folder, "-f", "sobel", "-q").code == 0
        return set(tree(folder))

    assert outputs(photos / "face.jpg", photos / "trip") == {
        "face.jpg", "face.png", "face.webp", "cut.png", "day one/MAN.BMP",
    }  # fmt: skip
    assert outputs(f"{photos}/cells/*.tif") == {"deep.tif", "stack.tif"}
    assert outputs(f"{photos}/**/*.png") == {"trip/face.png", "trip/cut.png"}
    assert outputs(photos, "--no-recursive") == {"face.jpg"}
    odd = photos / "we[i]rd*name?.png"
    shutil.copy(photos / "trip" / "face.png", odd)
    assert outputs(odd) == {odd.name}


def test_names_that_are_not_unicode(photos, tmp_path, command):
    name = os.fsdecode(b"caf\xe9.png")
    shutil.copy(photos / "trip" / "face.png", photos / name)
    for outcome in ("done", "skipped"):
        result = command(
            "images", photos / name, photos / "face.jpg", "-o", tmp_path / "out", "-f", "sobel", "--json"
        )
        assert result.code == 0
        assert len(result.json[outcome]) == 2
    assert (tmp_path / "out" / name).exists()


def test_one_file_to_one_file_changes_the_format(photos, tmp_path, command):
    assert (
        command(
            "images", photos / "trip" / "face.png", "-o", tmp_path / "new" / "x.tif", "-f", "median:size=3"
        ).code
        == 0
    )
    expected = ndimage.median_filter(pixels(photos / "trip" / "face.png"), (3, 3, 1), mode="reflect")
    np.testing.assert_array_equal(pixels(tmp_path / "new" / "x.tif"), expected)
    result = command("images", photos / "cells" / "deep.tif", "-o", tmp_path / "x.jpg", "-f", "sobel")
    assert result.code == 1
    assert "16" in result.err
    assert not (tmp_path / "x.jpg").exists()
    result = command("images", photos / "face.jpg", "-o", tmp_path / "x.gif", "-f", "sobel")
    assert result.code == 2
    assert ".png" in result.err


def test_dry_run_writes_nothing(photos, tmp_path, command):
    result = command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--dry-run")
    assert result.code == 0
    assert len(result.out.splitlines()) == IMAGES
    assert f"{photos}/face.jpg -> {tmp_path}/out/face.jpg" in result.out.splitlines()
    planned = command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--dry-run", "--json").json
    assert len(planned["planned"]) == IMAGES
    assert not (tmp_path / "out").exists()


def test_verification_of_a_share(photos, tmp_path, command):
    result = command("images", photos, "-o", tmp_path / "out", "-f", "gaussian:sigma=1", "-f", "sobel",
                     "--verify", "100%", "--json")  # fmt: skip
    assert result.code == 0
    assert result.json["verified"] == IMAGES
    assert all(entry["verified"] <= 1 for entry in result.json["done"])
    assert "verified 9 results with scipy" in result.err
    some = command(
        "images", photos, "-o", tmp_path / "o2", "-f", "median:size=3", "--verify", "0.4", "--json"
    ).json
    assert 0 < some["verified"] < IMAGES
    assert command("images", photos, "-o", tmp_path / "o3", "-f", "sobel", "--verify", "500%").code == 2


def test_verification_notices_a_wrong_result(photos, tmp_path, command, monkeypatch):
    from filterworks import verification

    monkeypatch.setitem(verification.REFERENCES, "mean", lambda x, outside, **rest: x)
    result = command("images", photos, "-o", tmp_path / "out", "-f", "mean:size=9", "--verify", "1", "--json")
    assert result.code == 1
    assert len(result.json["failed"]) == IMAGES
    assert "differs from scipy's" in result.json["failed"][0]["error"]
    assert tree(tmp_path / "out") == {}


def test_decompression_bombs_are_refused_with_the_limit(photos, tmp_path, command):
    result = command(
        "images", photos / "face.jpg", "-o", tmp_path / "o", "-f", "sobel", "--max-pixels", "1000", "--json"
    )
    assert result.code == 1
    assert "--max-pixels" in result.json["failed"][0]["error"]


def test_a_kernel_that_makes_nan_fails_integer_images_only(tmp_path, command):
    x = np.full((20, 20), np.nan, np.float32)
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", x)
    assert command("images", tmp_path / "a.tif", "-o", tmp_path / "b.tif", "-f", "gaussian:sigma=1").code == 0
    assert np.isnan(tifffile.imread(tmp_path / "b.tif")).all()
    result = command(
        "images", tmp_path / "a.tif", "-o", tmp_path / "c.tif", "-f", "gaussian:sigma=1,nan_policy=raise"
    )
    assert result.code == 1
    assert "NaN" in result.err


def test_interrupted_and_continued_equals_undisturbed(many, tmp_path, process):
    source, whole = many
    out = tmp_path / "out"
    arguments = ("images", source, "-o", out, "-f", "gaussian:sigma=2")
    child = process(*arguments)
    wait_for_results(out, 20)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "goes on where this run stopped" in err
    partial = tree(out)
    assert 20 <= len(partial) < 200
    assert all(whole[name] == content for name, content in partial.items())
    assert not [name for name in os.listdir(out) if name.startswith(".") and name != ".filterworks.sqlite"]
    child = process(*arguments)
    child.communicate(timeout=120)
    assert child.returncode == 0
    assert tree(out) == whole


def test_killed_at_any_moment_nothing_is_lost_or_half_written(many, tmp_path, process):
    source, whole = many
    out = tmp_path / "out"
    arguments = ("images", source, "-o", out, "-f", "gaussian:sigma=2")
    random.seed(4)
    for kill in range(12):
        before = len(results_in(out))
        child = process(*arguments)
        # Every third at some moment of its start, the others once they made results.
        if kill % 3 == 2:
            time.sleep(random.uniform(0, 1))
        else:
            wait_for_results(out, min(before + 1, len(whole)))
        time.sleep(random.uniform(0, 0.2))
        child.kill()
        child.communicate()
        for name, content in tree(out).items() if out.exists() else ():
            if not name.startswith(".filterworks"):
                assert content == whole[name]
    child = process(*arguments)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert tree(out) == whole
    assert "already done" in err


def test_a_second_run_on_the_same_output_is_refused(many, tmp_path, process, command):
    source, _ = many
    out = tmp_path / "out"
    first = process("images", source, "-o", out, "-f", "gaussian:sigma=2")
    wait_for_results(out, 1)
    second = command("images", source, "-o", out, "-f", "gaussian:sigma=2")
    assert second.code == 2
    assert f"process {first.pid}" in second.err
    assert f"running: process {first.pid}" in command("status", out).out
    first.communicate(timeout=120)
    assert first.returncode == 0
    assert "running" not in command("status", out).out


def test_a_local_cluster_gives_the_same_bytes(many, tmp_path, process):
    source, whole = many
    child = process(
        "images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--workers", "2", "--json"
    )
    out, err = child.communicate(timeout=180)
    assert child.returncode == 0, err
    assert '"failed": [],' in out
    assert tree(tmp_path / "out") == whole


def test_an_existing_cluster_gives_the_same_bytes_and_survives_a_killed_worker(many, tmp_path, process):
    from distributed import LocalCluster

    source, whole = many
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        child = process("images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2",
                        "--scheduler", cluster.scheduler_address)  # fmt: skip
        wait_for_results(tmp_path / "out", 10)
        next(iter(cluster.workers.values())).process.process._process.kill()
        _, err = child.communicate(timeout=180)
    assert child.returncode == 0, err
    assert tree(tmp_path / "out") == whole


def test_an_unreachable_cluster_is_one_line(photos, tmp_path, command, monkeypatch):
    monkeypatch.setattr("filterworks.batch.cluster._ANSWERING", 0.5)
    result = command(
        "images", photos, "-o", tmp_path / "out", "-f", "sobel", "--scheduler", "tcp://127.0.0.1:9"
    )
    assert result.code == 2
    assert "cannot be reached" in result.err
    assert len(result.err.splitlines()) == 1


def test_what_is_no_ledger_of_ours_is_refused_in_one_line(photos, tmp_path, command):
    out = tmp_path / "out"
    out.mkdir()
    (out / ".filterworks.sqlite").write_bytes(b"no database at all" * 100)
    result = command("images", photos, "-o", out, "-f", "sobel")
    assert result.code == 2
    assert "ledger cannot be used: file is not a database; move it away" in result.err
    (out / ".filterworks.sqlite").unlink()
    for change, reason in (
        ("CREATE TABLE theirs (id)", "is not a ledger of filterworks"),
        ("PRAGMA user_version=99", "was written by another version of filterworks"),
    ):
        with contextlib.closing(sqlite3.connect(out / ".filterworks.sqlite")) as database, database:
            database.execute(change)
        before = (out / ".filterworks.sqlite").read_bytes()
        for arguments in (("status", out), ("images", photos, "-o", out, "-f", "sobel")):
            result = command(*arguments)
            assert (result.code, reason in result.err) == (2, True), result.err
        assert (out / ".filterworks.sqlite").read_bytes() == before


def test_a_run_killed_before_its_ledger_holds_anything_is_forgotten(photos, tmp_path, command):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".filterworks.sqlite").write_bytes(b"")
    arguments = ("images", photos, "-o", tmp_path / "out", "-f", "mean:size=3", "--json")
    assert command(*arguments, "--dry-run").code == 0
    assert len(command(*arguments).json["done"]) == IMAGES


def test_a_run_killed_inside_a_commit_is_rolled_back_by_the_next(photos, tmp_path, command):
    out = tmp_path / "out"
    command("images", photos, "-o", out, "-f", "sobel")
    whole = tree(out)
    # A process dies in the middle of a transaction that has reached the disk: the journal stays.
    code = (
        "import os, sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size=1'); c.execute('BEGIN IMMEDIATE')\n"
        "c.execute('UPDATE results SET signature = hex(zeroblob(20000))')\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code, out / ".filterworks.sqlite"], check=False)
    assert (out / ".filterworks.sqlite-journal").stat().st_size > 0
    assert command("status", out).code == 0
    again = command("images", photos, "-o", out, "-f", "sobel", "--json")
    assert again.code == 0
    assert len(again.json["skipped"]) == IMAGES
    assert tree(out) == whole


def test_a_glob_never_reads_the_results(photos, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = command("images", "**/*.png", "-o", "out", "-f", "sobel", "--json")
    assert len(first.json["done"]) == 2
    again = command("images", "**/*.png", "-o", "out", "-f", "sobel", "--json")
    assert again.code == 0
    assert len(again.json["skipped"]) == 2
    assert again.json["done"] == []


def test_no_result_leaves_the_output_by_a_link(photos, tmp_path, command):
    before = tree(photos)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "trip").symlink_to(photos / "cells")
    result = command("images", photos, "-o", tmp_path / "out", "-f", "sobel")
    assert result.code == 2
    assert "leads out of" in result.err
    assert tree(photos) == before


def test_a_run_on_another_machine_holds_the_output_while_it_is_heard_of(photos, tmp_path, command):
    out = tmp_path / "out"
    command("images", photos / "face.jpg", "-o", out, "-f", "sobel")
    for age, code in ((10, 2), (1000, 0)):
        with sqlite3.connect(out / ".filterworks.sqlite") as database:
            database.execute(
                "INSERT OR REPLACE INTO runs (target, pid, created, host, started_at, total, beat) "
                "VALUES ('.', 7, 0, 'elsewhere', '2026-01-01', 1, ?)",
                (time.time() - age,),
            )
        database.close()
        result = command("images", photos, "-o", out, "-f", "sobel")
        assert result.code == code
        assert ("process 7 on elsewhere" in result.err) == (code == 2)


def test_verification_allows_what_the_file_can_hold(tmp_path, command):
    import tifffile

    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "half.tif", rng.random((40, 50)).astype(np.float16))
    tifffile.imwrite(tmp_path / "wide.tif", rng.integers(0, 2**62, (40, 50)).astype(np.uint64))
    result = command("images", tmp_path / "half.tif", tmp_path / "wide.tif", "-o", tmp_path / "out", "-f",
                     "gaussian:sigma=1", "--verify", "100%", "--json")  # fmt: skip
    assert result.code == 0, result.err
    assert result.json["verified"] == 2


def test_names_with_control_characters_stay_on_one_line(tmp_path, command):
    (tmp_path / "new\nline\x1b[31m.png").write_bytes(b"")
    result = command("images", tmp_path, "-o", tmp_path.parent / "o", "-f", "sobel", "-q")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert "new\\nline\\x1b[31m.png" in result.err


@pytest.mark.parametrize("arguments", [
    ["images", "a" * 300, "-o", "o", "-f", "sobel"],
    ["images", "{photos}", "-o", "b" * 300, "-f", "sobel"],
    ["images", "{photos}", "-o", "{photos}/face.jpg/out", "-f", "sobel"],
    ["status", "c" * 300],
    ["images", "{photos}", "-o", "o", "-f", "kernel:path=/dev/zero"],
    ["images", "{photos}", "-o", "o", "-f", "sobel", "--scheduler", "nonsense"],
])  # fmt: skip
def test_odd_arguments_are_one_line(photos, tmp_path, command, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    result = command(*(text.format(photos=photos) for text in arguments))
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert result.err.startswith("error: ")


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_an_interrupt_while_the_cluster_starts_is_not_lost(many, tmp_path, process, delay):
    source, _ = many
    child = process("images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--workers", "2")
    while not (tmp_path / "out" / ".filterworks.sqlite").exists():
        assert child.poll() is None
        time.sleep(0.02)
    time.sleep(delay)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert not [name for name in os.listdir(tmp_path / "out") if name.startswith(".filterworks-")]


def test_no_permission_is_one_line(photos, tmp_path):
    """Run without the rights of root; setpriv takes them away where the tests have them."""
    locked = tmp_path / "locked"
    locked.mkdir()
    (photos / "face.jpg").chmod(0)
    locked.chmod(0)
    rights = "-dac_override,-dac_read_search"
    drop = ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"] if os.geteuid() == 0 else []
    if drop and shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and there is no setpriv to become less")

    def run(*arguments):
        start = [*drop, sys.executable, "-m", "filterworks", *map(str, arguments)]
        return subprocess.run(start, capture_output=True, text=True, check=False)

    try:
        for out in (locked, locked / "deep" / "out", locked / "x.png"):
            refused = run("images", photos / "trip" / "face.png", "-o", out, "-f", "sobel")
            assert refused.returncode == 2
            assert "ermission denied" in refused.stderr
            assert len(refused.stderr.splitlines()) == 1
        partly = run("images", photos, "-o", tmp_path / "out", "-f", "sobel", "-q")
        assert partly.returncode == 1
        assert partly.stderr == f"failed: {photos}/face.jpg: permission denied\n"
        assert len(tree(tmp_path / "out")) == IMAGES - 1
    finally:
        locked.chmod(0o755)
