"""Files that were made or damaged to do harm: each costs one failure, not the run."""

import json
import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from filterworks.batch.names import are_one
from tests.batch.mutations import bombs, mutated, seeds
from tests.conftest import peak_of, tree

MUTATIONS = 400
# MiB of one process with all its libraries; the contract allows 1.5 GB.
MEMORY = 950


def test_damaged_files_and_bombs_are_each_accounted_for(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    sound = seeds()
    for number in range(MUTATIONS):
        suffix, content = mutated(number, sound)
        (source / f"{number}.{suffix}").write_bytes(content)
    names = []
    for name, content in bombs():
        (source / name).write_bytes(content)
        names.append(name)
    arguments = ["images", source, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--json", "-q"]
    with (tmp_path / "report").open("wb") as out, (tmp_path / "errors").open("wb") as err:
        code, peak = peak_of(*arguments, stdout=out, stderr=err)
    assert code == 1
    assert peak < MEMORY
    report = json.loads((tmp_path / "report").read_text())
    assert report["left"] == report["skipped"] == []
    done = {os.path.basename(entry["input"]) for entry in report["done"]}
    failed = {os.path.basename(entry["input"]): entry for entry in report["failed"]}
    assert done.isdisjoint(failed)
    assert done | set(failed) == set(os.listdir(source))
    assert len(done) > 50
    assert len(failed) > 250
    for entry in report["failed"]:
        assert "\n" not in entry["error"]
        assert entry["error"].startswith(entry["input"])
        assert not re.search("internal error|Traceback", entry["error"]), entry
    assert "Traceback" not in (tmp_path / "errors").read_text()
    # Packed profiles and texts are not unpacked; all that asks for memory is refused.
    assert done.intersection(names) == {"profile.png", "text.png", "xmp.png", "tag278.tif"}


def test_the_names_of_inputs_are_data(tmp_path, command):
    base = tmp_path / "in"
    (base / "a").mkdir(parents=True)
    names = [
        "a/..png",
        "a/...png",
        "a/x .png",
        "a/CON.png",
        "a/C:x.png",
        "a/b\\..\\c.png",
        "a/~root.png",
        "a/-o.png",
    ]
    for name in names:
        Image.new("L", (6, 5), 9).save(base / name, "PNG")
    (base / "a" / "out").symlink_to(tmp_path)
    (base / "a" / "link.png").symlink_to(base / names[2])
    result = command("images", base, "-o", tmp_path / "out", "-f", "mean:size=3", "--json")
    assert result.code == 0, result.err
    visible = {name for name in names if not os.path.basename(name).startswith(".")}
    assert set(tree(tmp_path / "out")) == visible | {"a/link.png"}
    assert not (tmp_path / "out" / "a" / "link.png").is_symlink()


@pytest.mark.parametrize(
    "pair", [("A.png", "a.png"), ("é.png", unicodedata.normalize("NFD", "é.png")), ("B/x.png", "b/x.png")]
)
def test_look_alikes_are_two_files_or_refused_never_one(pair, tmp_path, command):
    """What is right depends on the file system that the tests run on; both are tried on real files."""
    (tmp_path / "probe").mkdir()
    first, second = (tmp_path / "probe" / name.replace("/", "") for name in pair)
    first.touch()
    are_the_same = second.exists()
    sources = []
    for number, name in enumerate(pair):
        folder = tmp_path / f"in{number}"
        (folder / name).parent.mkdir(parents=True)
        Image.new("L", (6, 5), number + 1).save(folder / name)
        sources.append(folder)
    out = tmp_path / "out"
    result = command("images", *sources, "-o", out, "-f", "mean:size=3")
    if are_the_same:
        assert result.code == 2
        assert "takes their names for one" in result.err
        assert not out.exists()
    else:
        assert result.code == 0
        assert len(tree(out)) == 2
        assert [np.asarray(Image.open(out / name)).max() for name in pair] == [1, 2]


def test_probing_leaves_nothing_and_tells_one_name_from_two(tmp_path):
    assert not are_one(tmp_path / "not yet" / "there", "a.png", "b.png")
    assert are_one(tmp_path, "x/a.png", "x/a.png")
    assert os.listdir(tmp_path) == []


def test_a_job_file_runs_no_code(tmp_path, command):
    mark = tmp_path / "mark"
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    pickled = b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(mark)
    (tmp_path / "k.npy").write_bytes(pickled)
    evil = np.empty(1, object)
    evil[0] = {"a": 1}
    np.save(tmp_path / "o.npy", evil, allow_pickle=True)
    for kernel in ("k.npy", "o.npy", "__import__('os').system('touch mark')", "$(touch mark)", "|touch mark"):
        (tmp_path / "job.toml").write_text(
            f'[input]\npaths = ["a.png"]\n[[filter]]\nname = "kernel"\npath = "{kernel}"\n[output]\npath = "out"\n'
        )
        result = command("run", tmp_path / "job.toml")
        assert result.code == 2
        assert "Traceback" not in result.err
    assert sorted(os.listdir(tmp_path)) == ["a.png", "job.toml", "k.npy", "o.npy"]


def test_a_link_among_the_results_is_never_followed(photos, tmp_path, command):
    (tmp_path / "victim.png").write_text("precious")
    (tmp_path / "out" / "trip").mkdir(parents=True)
    (tmp_path / "out" / "trip" / "face.png").symlink_to(tmp_path / "victim.png")
    assert command("images", photos, "-o", tmp_path / "out", "-f", "sobel").code == 2
    assert command("images", photos, "-o", tmp_path / "out", "-f", "sobel", "--overwrite").code == 0
    assert (tmp_path / "victim.png").read_text() == "precious"
    assert not (tmp_path / "out" / "trip" / "face.png").is_symlink()
    assert Path(tmp_path / "out" / "trip" / "face.png").stat().st_size > 8


@pytest.mark.parametrize("check", ["time", "content"])
def test_a_pipe_is_no_input(tmp_path, process, check):
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / "in" / "pipe.png")
    Image.new("L", (6, 5), 9).save(tmp_path / "in" / "plain.png")
    for done in (1, 0):
        run = process(
            "images", tmp_path / "in", "-o", tmp_path / "out", "-f", "sobel", "--check", check, "--json"
        )
        report = json.loads(run.communicate(timeout=60)[0])
        assert len(report["done"]) == done
        (failed,) = report["failed"]
        assert failed["error"] == f"{tmp_path / 'in' / 'pipe.png'}: is not a regular file"


def test_a_name_tells_of_no_crash(tmp_path, command):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x: set aside: its worker.png").write_bytes(b"x")
    arguments = ("images", tmp_path / "in", "-o", tmp_path / "out", "-f", "sobel")
    assert command(*arguments).code == 1
    again = command(*arguments)
    assert again.code == 1
    assert "note:" not in again.err
