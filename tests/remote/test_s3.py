"""Folders in a bucket, through a real S3 server."""

import os

from tests.conftest import tree

LEDGER = ".filterworks.sqlite"


def test_a_bucket_gives_the_bytes_of_a_local_run(photos, tmp_path, bucket, command):
    bucket.put_tree(photos, "in/photos")
    local = command("images", photos, "-o", tmp_path / "out", "-f", "gaussian:sigma=2", "--json")
    far = command(
        "images", bucket.url("in/photos"), "-o", bucket.url("out"), "-f", "gaussian:sigma=2", "--json"
    )
    assert (local.code, far.code, far.err.count("failed")) == (0, 0, 0)
    assert bucket.tree("out") == tree(tmp_path / "out")
    assert set(bucket.keys("out/")) == {f"out/{name}" for name in (*tree(tmp_path / "out"), LEDGER)}
    sizes = {e["output"].rpartition("out/")[2]: e["bytes"] for e in local.json["done"]}
    for entry in far.json["done"]:
        name = entry["output"].rpartition("out/")[2]
        assert entry["input"] == bucket.url(f"in/photos/{name}")
        assert entry["output"] == bucket.url(f"out/{name}")
        assert entry["bytes"] == sizes[name]
    # from the bucket to a folder, and from a folder to the bucket
    assert (
        command("images", bucket.url("in/photos/"), "-o", tmp_path / "here", "-f", "gaussian:sigma=2").code
        == 0
    )
    assert tree(tmp_path / "here") == tree(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "here")) == sorted(os.listdir(tmp_path / "out"))
    assert command("images", photos, "-o", bucket.url("there/"), "-f", "gaussian:sigma=2").code == 0
    assert bucket.tree("there") == tree(tmp_path / "out")


def run(command, source, out, *options):
    return command("images", source, "-o", out, "-f", "gaussian:sigma=1", "--json", *options)


def counts(result):
    return {name: len(result.json[name]) for name in ("done", "skipped", "failed", "left")}


def test_the_same_command_goes_on_here_and_on_another_machine(small, tmp_path, bucket, command, monkeypatch):
    bucket.put_tree(small, "in")
    arguments = bucket.url("in"), bucket.url("out")
    assert counts(run(command, *arguments))["done"] == 24
    before = bucket.tree("out")
    assert counts(run(command, *arguments)) == {"done": 0, "skipped": 24, "failed": 0, "left": 0}
    # damaged (same size), missing, and made from an input that has changed since: made again, nothing else
    names = sorted(before)
    bucket.put(f"out/{names[0]}", before[names[0]][:-1] + b"?")
    bucket.remove(f"out/{names[1]}")
    bucket.put(f"in/{names[2]}", bucket.get(f"in/{names[3]}"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
    again = run(command, *arguments)
    assert counts(again) == {"done": 3, "skipped": 21, "failed": 0, "left": 0}
    assert {e["output"] for e in again.json["done"]} == {bucket.url(f"out/{name}") for name in names[:3]}
    after = bucket.tree("out")
    assert {n for n in names if after[n] != before[n]} == {names[2]}
    assert after[names[2]] == before[names[3]]
    # back on the first: it takes over what the second one recorded
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert counts(run(command, *arguments)) == {"done": 0, "skipped": 24, "failed": 0, "left": 0}
    # another filter is another result
    assert (
        len(command("images", *arguments[:1], "-o", arguments[1], "-f", "mean:size=3", "--json").json["done"])
        == 24
    )


def test_a_result_stays_ours_when_making_it_again_fails(small, bucket, command):
    name, picture = "part 0/000.png", (small / "part 0" / "000.png").read_bytes()
    bucket.put(f"in/{name}", picture)
    assert counts(run(command, bucket.url("in"), bucket.url("out")))["done"] == 1
    before = bucket.get(f"out/{name}")
    bucket.put(f"in/{name}", picture[:100])
    assert counts(run(command, bucket.url("in"), bucket.url("out")))["failed"] == 1
    assert bucket.get(f"out/{name}") == before
    bucket.put(f"in/{name}", picture)
    assert counts(run(command, bucket.url("in"), bucket.url("out")))["done"] == 1
    assert bucket.get(f"out/{name}") == before


def test_objects_of_strangers_are_never_replaced(small, bucket, command):
    bucket.put_tree(small, "in")
    name = "part 1/001.png"
    bucket.put(f"out/{name}", b"a stranger's")
    refused = run(command, bucket.url("in"), bucket.url("out"))
    assert refused.code == 2
    assert f"out/{name}: exists and was not made by filterworks" in refused.err
    assert bucket.keys("out") == [f"out/{name}"]
    assert run(command, bucket.url("in"), bucket.url("out"), "--overwrite").code == 0
    assert bucket.get(f"out/{name}") != b"a stranger's"
    # OUT was emptied and is another's now: what the ledger here says counts no more
    for key in bucket.keys("out"):
        bucket.remove(key)
    bucket.put(f"out/{name}", b"another's")
    refused = run(command, bucket.url("in"), bucket.url("out"))
    assert (refused.code, bucket.get(f"out/{name}")) == (2, b"another's")


def test_an_object_that_appears_during_the_run_stays(small, bucket, turnstile, command):
    bucket.put_tree(small, "in")
    name = "part 2/023.png"

    def turn(method, path):
        if method == "PUT" and "out/part" in path and turn.waits:
            turn.waits = False
            bucket.put(f"out/{name}", b"a stranger's")
        return 0

    turn.waits, turnstile.turn = True, turn
    result = run(command, bucket.url("in"), bucket.url("out"))
    assert counts(result) == {"done": 23, "skipped": 0, "failed": 1, "left": 0}
    assert "has appeared during the run" in result.json["failed"][0]["error"]
    # nor does the next run take it for its own
    assert run(command, bucket.url("in"), bucket.url("out")).code == 2
    assert bucket.get(f"out/{name}") == b"a stranger's"


def test_globs_files_and_levels(small, tmp_path, bucket, command):
    bucket.put_tree(small, "in")
    bucket.put("in/notes.txt", b"no image")
    bucket.put("in/.hidden/x.png", b"hidden")
    bucket.put("in/top.png", (small / "part 0" / "000.png").read_bytes())
    bucket.put("in/a[1].png", (small / "part 0" / "000.png").read_bytes())

    def planned(url, *options):
        shown = run(command, url, bucket.url("out"), "--dry-run", *options)
        assert shown.code == 0, shown.err
        return sorted(e["output"].removeprefix(bucket.url("out/")) for e in shown.json["planned"])

    ones = sorted(f"part 1/{n:03}.png" for n in range(1, 24, 3))
    assert planned(bucket.url("in/part 1/*.png")) == [name.removeprefix("part 1/") for name in ones]
    assert planned(bucket.url("in/*1/0*.png")) == ones
    assert planned(bucket.url("in/*1")) == ones
    assert planned(bucket.url("in/*.png")) == ["a[1].png", "top.png"]
    assert planned(bucket.url("in"), "--no-recursive") == ["a[1].png", "top.png"]
    assert len(planned(bucket.url("in/**/*.png"))) == len(planned(bucket.url("in"))) == 26
    assert planned(bucket.url("in/a[1].png")) == ["a[1].png"]
    assert bucket.keys("out") == []
    for missing in ("in/none", "in/part 1/*.tif", "in/none*"):
        result = run(command, bucket.url(missing), bucket.url("out"))
        assert result.code == 2
        assert bucket.url(missing) in result.err
    # one object to one object
    assert run(command, bucket.url("in/top.png"), bucket.url("made/renamed.jpg")).code == 0
    assert set(bucket.keys("made")) == {"made/renamed.jpg", f"made/{LEDGER}"}
    assert bucket.get("made/renamed.jpg")[:2] == b"\xff\xd8"


def test_results_in_or_on_inputs_are_refused(small, bucket, command):
    bucket.put_tree(small, "in")
    before = bucket.keys()
    for source, out in (
        ("in", "in"),
        ("in", "in/out"),
        ("in/part 0/000.png", "in/part 0/000.png"),
        ("in/part 0/000.png", "in/part 0/"),
    ):
        result = run(command, bucket.url(source), bucket.url(out), "--overwrite")
        assert result.code == 2, (source, out)
        assert "choose an" in result.err
    assert bucket.keys() == before


def test_names_of_objects_are_data(small, tmp_path, bucket, command):
    picture = (small / "part 0" / "000.png").read_bytes()
    hostile = {
        "up/../../../escaped.png": "part '..'",
        "absolute//etc/escaped.png": "empty part",
        "windows/..\\..\\escaped.png": "character",
    }
    for key, reason in hostile.items():
        folder = key.split("/")[0]
        bucket.put(f"bad/{key}", picture)
        for out in (tmp_path / "out", bucket.url("out")):
            result = run(command, bucket.url(f"bad/{folder}"), out)
            assert result.code == 2
            assert reason in result.err
    assert not list(tmp_path.rglob("escaped*"))
    assert bucket.keys("out") == []
    # one name to some file systems, several to a store
    alike = ["caf\u00e9.png", "cafe\u0301.png", "CAF\u00c9.png"]
    for name in alike:
        bucket.put(f"alike/{name}", picture)
    kept = run(command, bucket.url("alike"), tmp_path / "out")
    files = (
        {name for name in os.listdir(tmp_path / "out") if not name.startswith(".")}
        if kept.code == 0
        else None
    )
    assert files == set(alike) or (kept.code == 2 and "takes their names for one" in kept.err)
    assert run(command, bucket.url("alike"), bucket.url("apart")).code == 0
    assert sorted(bucket.tree("apart")) == sorted(alike)
    # two inputs, one result
    bucket.put("one/a.png", picture)
    bucket.put("two/a.png", picture)
    refused = command("images", bucket.url("one"), bucket.url("two"), "-o", bucket.url("both"), "-f", "sobel")
    assert refused.code == 2
    assert "would both become" in refused.err


def test_an_input_that_changes_during_the_run_is_noticed(small, bucket, turnstile, command):
    bucket.put_tree(small, "in")
    name = "part 0/021.png"

    def turn(method, path):
        if method == "GET" and "021.png" in path:
            bucket.put(f"in/{name}", bucket.get("in/part 0/003.png") + b"longer")
        return 0

    turnstile.turn = turn
    result = run(command, bucket.url("in"), bucket.url("out"))
    assert counts(result) == {"done": 23, "skipped": 0, "failed": 1, "left": 0}
    assert result.json["failed"][0]["input"] == bucket.url(f"in/{name}")
    assert "has changed while the run was working" in result.json["failed"][0]["error"]


def test_job_files_tables_and_bad_objects(tmp_path, bucket, command):
    table = "".join(f"{n},{(n * 7) % 11}\n" for n in range(200))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "a.csv").write_text(f"n,value\n{table}")
    bucket.put_tree(tmp_path / "tables", "tables")
    bucket.put("pictures/broken.png", b"\x89PNG no more")
    job = tmp_path / "job.toml"
    job.write_text(
        f'[input]\nkind = "series"\npaths = ["{bucket.url("tables")}"]\n[[filter]]\nname = "mean"\nwindow = 5\n'
        f'[output]\npath = "{bucket.url("means")}"\n'
    )
    assert command("run", job).code == 0
    assert command("run", job, tmp_path / "tables", "-o", tmp_path / "means").code == 0
    assert bucket.tree("means") == tree(tmp_path / "means")
    failed = run(command, bucket.url("pictures"), bucket.url("out"))
    assert counts(failed) == {"done": 0, "skipped": 0, "failed": 1, "left": 0}
    # by its own name, not by that of the copy on this disk
    assert failed.json["failed"][0]["error"].startswith(bucket.url("pictures/broken.png") + ": ")
    assert str(tmp_path) not in failed.out + failed.err
    status = command("status", bucket.url("out"))
    assert status.code == 1
    assert "0 done, 1 failed" in status.out
    assert command("status", bucket.url("nothing")).code == 2


def test_workers_and_scheduler(small, tmp_path, bucket, process, command):
    from distributed import LocalCluster

    bucket.put_tree(small, "in")
    assert command("images", small, "-o", tmp_path / "local", "-f", "gaussian:sigma=1").code == 0
    local = process(
        "images", bucket.url("in"), "-o", bucket.url("two"), "-f", "gaussian:sigma=1", "--workers", 2
    )
    assert local.wait(120) == 0, local.stderr.read()
    assert bucket.tree("two") == tree(tmp_path / "local")
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address="127.0.0.1:0",
        local_directory=tmp_path / "dask",
    ) as cluster:
        far = ("-f", "gaussian:sigma=1", "--scheduler", cluster.scheduler_address)
        there = process("images", bucket.url("in"), "-o", bucket.url("far"), *far)
        assert there.wait(120) == 0, there.stderr.read()
        assert not list((tmp_path / "dask").rglob("*.png"))
    assert bucket.tree("far") == tree(tmp_path / "local")
