import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import filterworks as fw
from filterworks.cli import _COMMANDS
from filterworks.kernels import KERNELS
from filterworks.operations import OPERATIONS
from tests.conftest import pixels, tree

ROOT = Path(__file__).parents[2]
JOBS = sorted((ROOT / "jobs").glob("*.toml"))
SERIES_JOBS = [job for job in JOBS if 'kind = "series"' in job.read_text()]
IMAGE_JOBS = [job for job in JOBS if job not in SERIES_JOBS]


def test_version_and_help(command):
    assert command("--version").out == f"filterworks {fw.__version__}\n"
    for name in _COMMANDS:
        assert name in command("--help").out
        shown = command(name, "--help")
        assert shown.code == 0
        assert shown.out.startswith(f"Usage: filterworks {name}")


def test_starting_imports_no_library(tmp_path):
    code = "import sys, filterworks.cli; print(sorted({n.split('.')[0] for n in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for library in ("numpy", "scipy", "cv2", "dask", "distributed", "pydantic", "rich", "PIL"):
        assert f"'{library}'" not in loaded


def test_public_names_are_lazy_and_listed():
    code = "import sys, filterworks as fw; dir(fw); print('numpy' in sys.modules, fw.convolve([1.0], [2]), fw.engines())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False [2.]")
    for name in (
        "convolve",
        "correlate",
        "plan",
        "Plan",
        "engines",
        "Chain",
        "verify",
        "filters",
        "kernels",
        "shapes",
    ):
        assert name in dir(fw)
        assert getattr(fw, name) is not None
    assert (Path(fw.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize(("arguments", "words"), [
    (["image"], "did you mean 'images'"),
    (["images", "nowhere", "-o", "out", "-f", "sobel"], "nowhere: no such file or folder"),
    (["images", "{photos}", "-f", "sobel"], "Missing option '-o'"),
    (["images", "{photos}", "-o", "out"], "Missing option '-f'"),
    (["images", "-o", "out", "-f", "sobel"], "Missing argument"),
    (["images", "{photos}", "-o", "out", "-f", "sobell"], "did you mean 'sobel'"),
    (["images", "{photos}", "-o", "out", "-f", "gaussian:sigma=-2"], "at least 0; got -2"),
    (["images", "{photos}", "-o", "out", "-f", "gaussian:sigma=2", "--workers", "0"], "--workers"),
    (["images", "{photos}", "-o", "out", "-f", "sobel", "--range", "log"], "clip"),
    (["images", "{photos}/notes.txt", "-o", "out", "-f", "sobel"], "accepted are .png"),
    (["images", "{photos}/trip", "-o", "{photos}/face.jpg", "-f", "sobel"], "need a folder"),
    (["run", "nowhere.toml"], "nowhere.toml: cannot be read"),
    (["status", "nowhere"], "holds no ledger"),
    (["filters", "gausian"], "did you mean 'gaussian'"),
    (["kernels", "sobl"], "did you mean 'sobel'"),
    (["kernels", "sobel:axes=1"], "did you mean 'axis'"),
    (["explain", "{photos}/face.jpg", "-f", "median:size=2"], "odd"),
    (["explain", "nowhere.png", "-f", "sobel"], "nowhere.png: no such file"),
])  # fmt: skip
def test_wrong_usage_exits_2_in_few_lines(photos, tmp_path, command, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    result = command(*(text.format(photos=photos) for text in arguments))
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert not (tmp_path / "out").exists()


def test_all_problems_of_the_filters_are_told_at_once(photos, tmp_path, command):
    result = command(
        "images", photos, "-o", tmp_path / "out", "-f", "median:size=4", "-f", "gaussian:sigma=-1"
    )
    assert result.code == 2
    assert len(result.err.splitlines()) == 2


def test_a_bad_job_file_names_every_problem_with_its_key(tmp_path, command):
    job = tmp_path / "bad.toml"
    job.write_text(
        '[input]\npaths = []\nrecurse = true\n[[filter]]\nname = "gausian"\n[[filter]]\nname = "median"\nsize = 4\n'
        '[[filter]]\nsigma = 2\n[output]\nquality = 300\nrange = "clipp"\n[rum]\nworkers = 2\n'
    )
    result = command("run", job)
    assert result.code == 2
    for words in (
        "[input] paths", "[input] recurse: unknown key 'recurse': did you mean 'recursive'",
        "[[filter]] 1: unknown filter 'gausian': did you mean 'gaussian'", "[[filter]] 2: median: `size` must be odd",
        "[[filter]] 3: needs a name", "[output] path: is missing", "[output] quality", "[output] range",
        "[rum]: unknown key 'rum': did you mean 'run'",
    ):  # fmt: skip
        assert words in result.err, words
    assert all(line.startswith(f"error: {job}: ") for line in result.err.splitlines())
    job.write_text("[input\n")
    assert "is not TOML" in command("run", job).err
    job.write_bytes(b"\xff\xfe")
    assert "is not TOML" in command("run", job).err


@pytest.mark.parametrize("job", SERIES_JOBS, ids=lambda path: path.stem)
def test_every_job_on_tables_runs_as_it_stands_and_on_a_users_folder(job, tmp_path, command):
    result = command("run", job, "-o", tmp_path / "as it stands", "--json")
    assert result.code == 0, result.err
    (entry,) = result.json["done"]
    (tmp_path / "mine").mkdir()
    lines = Path(entry["input"]).read_bytes().splitlines(True)
    (tmp_path / "mine" / "first.csv").write_bytes(b"".join(lines[:200]))
    (tmp_path / "mine" / "first.tsv").write_bytes(b"".join(lines[:200]).replace(b",", b"\t"))
    assert command("run", job, tmp_path / "mine", "-o", tmp_path / "own").code == 0
    made = tree(tmp_path / "own")
    assert made["first.tsv"].replace(b"\t", b",") == made["first.csv"]
    refused = command("run", job, "--quality", "80")
    assert refused.code == 2
    assert "--quality is for images, and these are tables" in refused.err


@pytest.mark.parametrize("job", IMAGE_JOBS, ids=lambda path: path.stem)
def test_every_job_runs_as_it_stands_and_on_a_users_folder(job, photos, tmp_path, command):
    result = command("run", job, "-o", tmp_path / "as it stands", "--json")
    assert result.code == 0
    assert len(result.json["done"]) >= 1
    shutil_photo = photos / "trip" / "face.png"
    result = command(
        "run", job, shutil_photo, photos / "cells" / "deep.tif", "-o", tmp_path / "own", "--verify", "1"
    )
    assert result.code == 0
    assert set(tree(tmp_path / "own")) == {"face.png", "deep.tif"}
    assert "verified 2 results" in result.err


def test_a_job_finds_its_paths_from_anywhere(tmp_path, command, monkeypatch):
    (tmp_path / "project" / "jobs").mkdir(parents=True)
    (tmp_path / "project" / "in").mkdir()
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(6, 10)).save(tmp_path / "project" / "in" / "a.png")
    np.save(tmp_path / "project" / "jobs" / "k.npy", np.array([[0.5, 0.5]]))
    job = tmp_path / "project" / "jobs" / "job.toml"
    job.write_text(
        '[input]\npaths = ["../in"]\n[[filter]]\nname = "kernel"\npath = "k.npy"\n[output]\npath = "../out"\n'
    )
    monkeypatch.chdir(tmp_path)
    assert command("run", "project/jobs/job.toml").code == 0
    assert set(tree(tmp_path / "project" / "out")) == {"a.png"}
    assert command("run", "project/jobs/job.toml", "--overwrite", "--quality", "80", "-o", "other").code == 0
    assert set(tree(tmp_path / "other")) == {"a.png"}


def test_the_command_line_and_the_job_file_are_two_spellings(photos, tmp_path, command):
    job = tmp_path / "job.toml"
    job.write_text(
        f'[input]\npaths = ["{photos}"]\n[[filter]]\nname = "gaussian"\nsigma = [1.0, 2]\n[[filter]]\nname = "sobel"\n'
        'axis = 0\n[output]\npath = "a"\nrange = "offset"\n'
    )
    assert command("run", job).code == 0
    chain = ["-f", "gaussian:sigma=[1.0,2] | sobel:axis=0", "--range", "offset"]
    assert command("images", photos, "-o", tmp_path / "b", *chain).code == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_quiet_and_verbose(photos, tmp_path, command):
    (photos / "bad.png").write_bytes(b"")
    quiet = command("images", photos, "-o", tmp_path / "a", "-f", "sobel", "-q")
    assert quiet.err.splitlines() == [f"failed: {photos}/bad.png: is empty (0 bytes)"]
    loud = command("images", photos, "-o", tmp_path / "b", "-f", "sobel", "-v")
    assert loud.err.count("done: ") == 9
    assert loud.out == ""


def test_progress_is_drawn_on_a_terminal_only(photos, tmp_path):
    import os
    import pty

    main, side = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "filterworks", "images", photos, "-o", tmp_path / "out", "-f", "sobel"],
        stderr=side, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(side)
    shown = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(main)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 0
    assert out == b""
    assert b"filtering" in shown
    assert b"9 done in" in shown


def test_lists_and_documentation(command):
    shown = command("filters").out
    for name, operation in OPERATIONS.items():
        assert re.search(rf"^{name} +", shown, re.M)
        assert operation.summary in shown
    assert "sigma_color, sigma_space=2.0" in shown
    assert "Tomasi & Manduchi" in command("filters", "bilateral").out
    listed = command("kernels").out
    for name in KERNELS:
        assert re.search(rf"^{name} ", listed, re.M)
    weights = command("kernels", "sobel:axis=0").out
    assert "[-1. -2. -1.]" in weights
    assert "shape (3, 3), sum 0" in weights


def test_verify_prints_a_row_per_check_and_fails_when_one_does(command, monkeypatch):
    passing = command("verify", "--json", "--seed", "5")
    assert passing.code == 0
    assert passing.json["ok"] is True
    from filterworks import verification

    monkeypatch.setitem(verification.REFERENCES, "sobel", lambda x, outside, **rest: x)
    failing = command("verify")
    assert failing.code == 1
    assert re.search(r"filter sobel .*FAILED", failing.out)
    assert len(failing.out.splitlines()) > 35


def test_explain_shows_reach_engine_and_times(photos, command):
    shown = command("explain", photos / "face.jpg", "-f", "gaussian:sigma=2 | median:size=3", "-f", "sobel")
    assert shown.code == 0
    assert "reach: 10 rows, 10 columns" in shown.out
    assert re.search(r"engine: (opencv_separable|separable) \(the least estimated time", shown.out)
    assert "window 17 × 17 on 110 × 141 × 3 as float32" in shown.out
    assert "no convolution in it" in shown.out
    assert re.search(r"sobel: \d+\.\d+ ms", shown.out)


def test_status_of_a_folder_in_words(photos, tmp_path, command):
    command("images", photos, "-o", tmp_path / "out", "-f", "mean:size=3")
    shown = command("status", tmp_path / "out").out
    assert "9 done, 0 failed" in shown
    assert "9 by mean:size=3" in shown


def test_the_module_and_the_script_are_the_same(photos, tmp_path):
    script = Path(sys.executable).parent / "filterworks"
    for start in ([sys.executable, "-m", "filterworks"], [str(script)]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"filterworks {fw.__version__}\n"


def test_the_report_is_one_json_object_also_when_inputs_fail(photos, tmp_path, process):
    (photos / "bad.png").write_bytes(b"\x89PNG")
    child = process("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--json")
    out, _ = child.communicate(timeout=60)
    report = json.loads(out)
    assert child.returncode == 1
    entries = report["done"] + report["failed"] + report["skipped"] + report["left"]
    assert len(entries) == len({entry["input"] for entry in entries}) == 10
    assert pixels(Path(report["done"][0]["output"])).size
