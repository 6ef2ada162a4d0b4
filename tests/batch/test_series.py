"""Tables through the batch: real files, real processes, against pandas and scipy."""

import datetime
import gzip
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
import zstandard
from scipy import ndimage

from filterworks.files.tables import plain, text
from tests.conftest import peak_of, tree


@pytest.fixture
def station(tmp_path):
    """A folder of measurements with gaps, notes and quotes."""
    rng = np.random.default_rng(5)
    base = tmp_path / "logs"
    (base / "north").mkdir(parents=True)
    for name, rows in (("a.csv", 500), ("north/b.csv", 300), ("north/c.tsv", 200)):
        times = pd.date_range("2024-03-01T00:00:00Z", periods=rows, freq="10s").strftime("%Y-%m-%dT%H:%M:%SZ")
        frame = pd.DataFrame(
            {"time": times, "temp": rng.normal(20, 3, rows).round(2), "note": "ok, all", "n": range(rows)}
        )
        frame.loc[::37, "temp"] = np.nan
        frame.to_csv(base / name, index=False, sep="\t" if name.endswith("tsv") else ",")
    (base / "readme.txt").write_text("no table\nis here, as it seems\n")
    return base


def column(path, name, **options):
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", **options)[name].to_numpy(float)


def rolling(values, window):
    """A centred mean that leaves missing values out, symmetric at the ends."""
    padded = np.pad(values, window // 2, mode="symmetric")
    means = pd.Series(padded).rolling(window, center=True, min_periods=1).mean().to_numpy()
    return np.where(np.isnan(values), np.nan, means[window // 2 : -(window // 2)])


def test_a_folder_keeps_its_tree_and_equals_pandas(station, tmp_path, command):
    result = command("series", station, "-o", tmp_path / "out", "-f", "mean:window=1min", "--json")
    assert result.code == 0, result.err
    report = result.json
    assert report["ignored"] == 1
    assert {entry["output"] for entry in report["done"]} == {
        str(tmp_path / "out" / name) for name in ("a.csv", "north/b.csv", "north/c.tsv")
    }
    for entry in report["done"]:
        source, output = type(tmp_path)(entry["input"]), type(tmp_path)(entry["output"])
        np.testing.assert_allclose(column(output, "temp"), rolling(column(source, "temp"), 7), rtol=1e-12)
        np.testing.assert_allclose(column(output, "n"), rolling(column(source, "n"), 7), rtol=1e-12)
        missing = int(np.isnan(column(source, "temp")).sum())
        assert entry["columns"]["temp"] == {"missing": missing, "filled": 0}
        assert entry["time"] == {
            "column": "time",
            "format": "%Y-%m-%dT%H:%M:%S%.fZ",
            "found": True,
            "regular": True,
            "step": 10.0,
        }
        untouched = [line.split(b",")[0] for line in source.read_bytes().splitlines()]
        assert (
            [line.split(b",")[0] for line in output.read_bytes().splitlines()] == untouched
            if source.suffix == ".csv"
            else True
        )
    assert set(os.listdir(tmp_path / "out")) == {"a.csv", "north", ".filterworks.sqlite"}


def test_text_files_are_tables_where_they_are_named(tmp_path, command):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("x y\n1 2\n")
    (tmp_path / "in" / "b.dat").write_text("x\n1\n")
    assert (
        "no tables here (2 other files)"
        in command("series", tmp_path / "in", "-o", tmp_path / "a", "-f", "mean:window=1").err
    )
    assert (
        command(
            "series",
            tmp_path / "in" / "a.txt",
            "-o",
            tmp_path / "a",
            "-f",
            "mean:window=1",
            "--delimiter",
            "space",
        ).code
        == 0
    )
    assert command("series", f"{tmp_path}/in/*.dat", "-o", tmp_path / "a", "-f", "mean:window=1").code == 0
    assert tree(tmp_path / "a") == {"a.txt": b"x y\n1.0 2.0\n", "b.dat": b"x\n1.0\n"}


def test_agreement_with_scipy_on_regular_data(tmp_path, command):
    rng = np.random.default_rng(0)
    x = rng.normal(size=3000)
    pd.DataFrame({"x": x}).to_csv(tmp_path / "a.csv", index=False)
    assert (
        command(
            "series",
            tmp_path / "a.csv",
            "-o",
            tmp_path / "b.csv",
            "-f",
            "gaussian:sigma=4 | mean:window=5",
            "--boundary",
            "mirror",
        ).code
        == 0
    )
    expected = ndimage.uniform_filter1d(ndimage.gaussian_filter1d(x, 4, mode="mirror"), 5, mode="mirror")
    np.testing.assert_allclose(column(tmp_path / "b.csv", "x"), expected, atol=1e-12)


@pytest.mark.parametrize("arguments", [
    ["-f", "median:window=5 | gaussian:sigma=40s", "--columns", "temp"],
    ["-f", "mean:window=9", "--suffix", "_smooth"],
    ["-f", "exponential:span=10", "--fill"],
    ["-f", "derivative:per=s", "--align", "past"],
])  # fmt: skip
def test_block_sizes_change_no_byte(station, tmp_path, command, monkeypatch, arguments):
    for table in station.rglob("*.?sv"):  # a block for each row is slow
        table.write_text("".join(table.read_text().splitlines(keepends=True)[:100]))
    made = []
    for number, size in enumerate((1 << 23, 1, 300, 1500)):
        monkeypatch.setattr(text, "BLOCK", size)
        out = tmp_path / str(number)
        assert command("series", station, "-o", out, *arguments).code == 0
        made.append(tree(out))
    assert all(one == made[0] for one in made[1:])


@pytest.mark.parametrize("loops", [True, False])
@pytest.mark.parametrize("content", [
    "a,t\n" + "   ,x\n" * 3000 + "1.5,y\n",
    "t,a\n" + "x,\t\n" * 1500 + "x,''\n".replace("''", "") * 1500 + "y,1.5\n",
    "a,t\r\n1.5,x\r\n3.5,y\r",
    "a,t\n1.5,x\n3.5,y\r",
    "t,a\r\nx,1.5\r\ny,3.5",
    't,a\r\n"x",1.5\r\n"y\n",3.5\r',
])  # fmt: skip
def test_blanks_and_a_last_line_that_breaks_off_stay(tmp_path, command, monkeypatch, content, loops):
    if not loops:
        monkeypatch.setattr(plain, "_loops", lambda: None)
    (tmp_path / "a.csv").write_bytes(content.encode())
    result = command(
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "b.csv",
        "-f",
        "median:window=1",
        "--columns",
        "a",
        "--no-time",
    )
    assert result.code == 0, result.err
    assert (tmp_path / "b.csv").read_bytes() == content.encode()


def test_the_same_command_again_does_nothing_twice(station, tmp_path, command):
    arguments = ("series", station, "-o", tmp_path / "out", "-f", "mean:window=5", "--json")
    assert len(command(*arguments).json["done"]) == 3
    before = tree(tmp_path / "out")
    assert len(command(*arguments).json["skipped"]) == 3
    (tmp_path / "out" / "a.csv").write_text("damaged")
    again = command(*arguments).json
    assert [entry["input"] for entry in again["done"]] == [str(station / "a.csv")]
    assert tree(tmp_path / "out") == before
    for changed in (["--align", "past"], ["--suffix", "_s"], ["--null", "NA"], ["--columns", "temp"]):
        assert len(command(*arguments, *changed).json["done"]) == 3


def test_a_changed_template_counts_as_another_chain(station, tmp_path, command):
    np.savetxt(tmp_path / "shape.txt", [0.0, 1, 3, 1])
    arguments = (
        "series",
        station,
        "-o",
        tmp_path / "out",
        "-f",
        f"matched:template={tmp_path}/shape.txt",
        "--json",
    )
    assert len(command(*arguments).json["done"]) == 3
    assert len(command(*arguments).json["skipped"]) == 3
    np.savetxt(tmp_path / "shape.txt", [0.0, 1, 2, 4])
    assert len(command(*arguments).json["done"]) == 3


def test_bad_tables_are_named_and_the_rest_goes_on(station, tmp_path, command):
    bad = {
        "ragged.csv": (b"time,x\n2024-01-01,1\n2024-01-02\n", "line 3: has 1 field"),
        "text.csv": (b"a,x\nq,1\nq,2\nq,many\n", "line 4, column 'x': 'many' is not a number"),
        "quote.csv": (b'a,x\n"q,1\n', "line 2: a quote opens here and never closes"),
        "twice.csv": (b"x,x\n1,2\n", "line 1: columns 1 and 2 are both named 'x'"),
        "empty.csv": (b"", "is empty (0 bytes)"),
        "latin.csv": (b"a,x\n\xe9,1\n", "line 2, column 'a': byte 0xe9 is not UTF-8"),
        "infinite.csv": (b"a,x\nq,1\nq,-inf\n", "line 3, column 'x': the value is infinite; --allow-infinite"),
        "words.csv": (b"a,b\nq,r\n", "no column here holds numbers"),
        "spaces.csv": (b"a b\n1 2\n3 4\n", "commas are taken to stand between its cells; --delimiter space"),
        "unsorted.csv": (b"time,x\n2024-01-02,1\n2024-01-01,2\n", "line 3, column 'time': 2024-01-01 is not after 2024-01-02 on line 2; --sort"),
        "again.csv": (b"time,x\n2024-01-02,1\n2024-01-02,2\n", "line 3, column 'time': 2024-01-02 is not after 2024-01-02 on line 2; --by"),
        "formats.csv": (b"time,x\n2024-01-02,1\n03/01/2024,2\n", "line 3, column 'time': '03/01/2024' does not have the format %Y-%m-%d"),
        "notime.csv": (b"time,x\n2024-01-02,1\n,2\n", "line 3, column 'time': the time is missing"),
        "not.parquet": (b"PAR1 and no more", "is damaged or no Parquet file"),
        "cut.csv.gz": (gzip.compress(b"a,x\n" + b"q,1\n" * 9000)[:-20], "its compressed data are damaged"),
    }  # fmt: skip
    for name, (data, _) in bad.items():
        (station / name).write_bytes(data)
    result = command("series", station, "-o", tmp_path / "out", "-f", "mean:window=3", "--json")
    assert result.code == 1
    report = result.json
    errors = {os.path.basename(entry["input"]): entry["error"] for entry in report["failed"]}
    assert set(errors) == set(bad)
    for name, (_, words) in bad.items():
        assert words in errors[name], errors[name]
        assert errors[name].startswith(str(station / name))
        assert "internal error" not in errors[name]
    assert len(report["done"]) == 3
    assert set(tree(tmp_path / "out")) == {"a.csv", "north/b.csv", "north/c.tsv"}


def test_small_tables(tmp_path, command):
    for name, data in {
        "header.csv": b"a,b\r\n",
        "bare.csv": b"a,b",
        "one.csv": b"a,b\n7,x\n",
        "end.csv": b"x\n1\n2",
    }.items():
        (tmp_path / name).write_bytes(data)
        result = command("series", tmp_path / name, "-o", tmp_path / "out" / name, "-f", "median:window=3")
        assert result.code == 0, result.err
        assert ("it has a header and no rows" in result.err) == (name in ("header.csv", "bare.csv"))
        assert (tmp_path / "out" / name).read_bytes() == {
            "one.csv": b"a,b\n7.0,x\n",
            "end.csv": b"x\n1.0\n2.0",
        }.get(name, data)


def test_a_window_longer_than_the_series_is_a_warning(tmp_path, command):
    (tmp_path / "a.csv").write_text("x\n1\n2\n4\n")
    result = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=11", "--json")
    assert result.code == 0
    (warning,) = result.json["done"][0]["warnings"]
    assert f"warning: {tmp_path}/a.csv: {warning}" in result.err
    assert warning == "mean: its window of 11 samples is longer than the series of 3"


@pytest.mark.parametrize("order", ["contiguous", "interleaved", "random"])
def test_groups_are_filtered_each_by_itself_and_come_back_in_row_order(tmp_path, command, order, monkeypatch):
    rng = np.random.default_rng(8)
    sensor = np.repeat(np.arange(4), 100) if order == "contiguous" else np.tile(np.arange(4), 100)
    if order == "random":
        rng.shuffle(sensor)
    counts = pd.Series(sensor).groupby(sensor).cumcount()
    frame = pd.DataFrame(
        {
            "time": counts * 2,
            "sensor": sensor,
            "note": [f"row {i}" for i in range(400)],
            "x": rng.normal(size=400),
        }
    )
    frame["sensor"] = "s" + frame["sensor"].astype(str)
    frame.to_csv(tmp_path / "a.csv", index=False)
    monkeypatch.setattr(text, "BLOCK", 777)
    arguments = ["-f", "gaussian:sigma=6s", "--by", "sensor", "--json"]
    result = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", *arguments)
    assert result.code == 0, result.err
    assert result.json["done"][0]["groups"] == 4
    expected = frame.groupby("sensor")["x"].transform(lambda x: ndimage.gaussian_filter1d(x, 3))
    got = pd.read_csv(tmp_path / "b.csv")
    np.testing.assert_allclose(got["x"], expected, atol=1e-12)
    assert (got[["time", "sensor", "note"]] == frame[["time", "sensor", "note"]]).all().all()


def test_an_error_in_a_group_names_its_line(tmp_path, command):
    rows = [f"s{i % 3},{i // 3},{i}" for i in range(300)]
    rows[200] = rows[200].rpartition(",")[0] + ",inf"
    (tmp_path / "a.csv").write_text("id,t,x\n" + "\n".join(rows) + "\n")
    result = command(
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "b.csv",
        "-f",
        "mean:window=5",
        "--by",
        "id",
        "--columns",
        "x",
    )
    assert "line 202, column 'x': the value is infinite" in result.err
    rows[200] = "s2,3,1"
    (tmp_path / "a.csv").write_text("id,t,x\n" + "\n".join(rows) + "\n")
    result = command(
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "b.csv",
        "-f",
        "mean:window=5",
        "--by",
        "id",
        "--columns",
        "x",
    )
    assert "line 202, column 't': 3 is not after 65 on line 199 in group s2" in result.err


@pytest.mark.parametrize(("times", "options", "step", "form"), [
    (["2024-01-01", "2024-01-02", "2024-01-03"], [], 86400.0, "%Y-%m-%d"),
    (["2024-01-01 00:00", "2024-01-01 00:01", "2024-01-01 00:02"], [], 60.0, "%Y-%m-%d %H:%M"),
    (["2024-01-01T00:00:00.5+02:00", "2024-01-01T00:00:01.0+02:00", "2024-01-01T00:00:01.5+02:00"], [], 0.5, "%Y-%m-%dT%H:%M:%S%.f%z"),
    (["1700000000", "1700000001", "1700000002"], [], 1.0, "epoch-s"),
    (["1700000000000", "1700000000250", "1700000000500"], [], 0.25, "epoch-ms"),
    (["1700000000000000", "1700000000001000", "1700000000002000"], [], 0.001, "epoch-us"),
    (["1700000000000000000", "1700000000000000500", "1700000000000001000"], [], 5e-7, "epoch-ns"),
    (["0.0", "0.1", "0.2"], [], 0.1, "epoch-s"),
    (["0", "20", "40"], ["--time-format", "epoch-ms"], 0.02, "epoch-ms"),
    (["31.12.2023 23:59:58", "31.12.2023 23:59:59", "01.01.2024 00:00:00"], ["--time-format", "%d.%m.%Y %H:%M:%S"], 1.0, "%d.%m.%Y %H:%M:%S"),
    (["12/31/1999 11:00 PM", "01/01/2000 12:00 AM", "01/01/2000 01:00 AM"], ["--time", "time", "--time-format", "%m/%d/%Y %I:%M %p"], 3600.0, "%m/%d/%Y %I:%M %p"),
    (["19991231", "20000101", "20000102"], [], 86400.0, "%Y%m%d"),
])  # fmt: skip
def test_times_in_every_format(tmp_path, command, times, options, step, form):
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(f"{t},{i * i}\n" for i, t in enumerate(times)))
    arguments = (
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "b.csv",
        "-f",
        "derivative:per=s",
        "--json",
        *options,
    )
    result = command(*arguments)
    assert result.code == 0, result.err
    entry = result.json["done"][0]
    assert entry["time"]["format"] == form
    assert entry["time"]["step"] == pytest.approx(step, rel=1e-9)
    got = (tmp_path / "b.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in got[1:]] == times
    np.testing.assert_allclose(
        [float(line.split(",")[1]) for line in got[1:]], np.gradient([0, 1, 4], step), rtol=1e-6
    )


def test_a_format_that_no_column_has_is_named(tmp_path, command):
    (tmp_path / "a.csv").write_text("Zeit;x\n31.12.2023 23:59:58;1\n31.12.2023 23:59:59;2\n")

    def refused(*options):
        result = command(
            "series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=5s", *options
        )
        assert result.code == 1
        return result.err

    assert "no column tells it; name it with --time" in refused()
    assert "no column tells it as %m/%d/%Y; name it with --time" in refused("--time-format", "%m/%d/%Y")
    unused = command(
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "c.csv",
        "-f",
        "mean:window=2",
        "--time-format",
        "%Y/%m",
    )
    assert unused.code == 0
    assert "a.csv: no column tells the time as %Y/%m, so rows count; --time names it" in unused.err
    given = refused("--time", "Zeit", "--time-format", "%d.%m.%Y")
    assert "line 2, column 'Zeit': '31.12.2023 23:59:58' does not have the format %d.%m.%Y; --time-" in given


def test_uneven_times_weigh_by_distance(tmp_path, command):
    rng = np.random.default_rng(4)
    seconds = np.cumsum(rng.uniform(0.2, 3, 300)).round(3)
    x = rng.normal(size=300)
    pd.DataFrame({"t": seconds, "x": x}).to_csv(tmp_path / "a.csv", index=False)
    result = command(
        "series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "gaussian:sigma=5s", "--json"
    )
    assert result.code == 0, result.err
    assert result.json["done"][0]["time"]["regular"] is False
    distance = seconds[:, None] - seconds[None, :]
    weights = np.exp(-(distance**2) / 50) * (np.abs(distance) <= 20)
    np.testing.assert_allclose(column(tmp_path / "b.csv", "x"), weights @ x / weights.sum(1), rtol=1e-9)


def test_which_column_is_the_time(tmp_path, command):
    (tmp_path / "a.csv").write_text("start,end,x\n2024-01-01,2024-01-02,1\n2024-01-02,2024-01-03,4\n")
    arguments = ("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f")
    result = command(*arguments, "mean:window=3d")
    assert "needs the time, and several columns may be it (start, end); name it with --time" in result.err
    assert command(*arguments, "mean:window=3d", "--time", "end").code == 0
    assert "did you mean 'start'" in command(*arguments, "mean:window=3", "--time", "strat").err
    (tmp_path / "a.csv").write_text("k,x\na,1\n")
    assert "needs the time, and no column tells it" in command(*arguments, "mean:window=3d").err
    assert "'a' tells no time" in command(*arguments, "mean:window=3", "--time", "k").err


def test_sorting_moves_whole_lines(tmp_path, command):
    rng = np.random.default_rng(6)
    order = rng.permutation(500)
    lines = [f'2024-01-01T00:{i // 60:02d}:{i % 60:02d}Z,"note\n{i}",{i}' for i in range(500)]
    (tmp_path / "sorted.csv").write_text("time,note,x\n" + "\n".join(lines) + "\n")
    (tmp_path / "mixed.csv").write_text("time,note,x\n" + "\n".join(lines[i] for i in order))
    arguments = ("-f", "mean:window=5s")
    assert command("series", tmp_path / "sorted.csv", "-o", tmp_path / "a.csv", *arguments).code == 0
    result = command("series", tmp_path / "mixed.csv", "-o", tmp_path / "b.csv", *arguments, "--sort")
    assert result.code == 0, result.err
    assert (tmp_path / "b.csv").read_bytes() + b"\n" == (tmp_path / "a.csv").read_bytes()
    (tmp_path / "mixed.csv").write_text("time,note,x\n2024-01-02,a,1\n2024-01-01,b,two\n")
    assert (
        "line 3, column 'x': 'two'"
        in command(
            "series",
            tmp_path / "mixed.csv",
            "-o",
            tmp_path / "b.csv",
            "--overwrite",
            "--columns",
            "x",
            *arguments,
            "--sort",
        ).err
    )


def test_resampling_makes_the_times_even(tmp_path, command):
    (tmp_path / "a.csv").write_text(
        "time;v;note\n2024-01-01T00:00:00Z;1;x\n2024-01-01T00:00:01Z;3;y\n2024-01-01T00:00:04Z;6;z\n"
    )
    arguments = (
        "series",
        tmp_path / "a.csv",
        "-o",
        "-",
        "-f",
        "mean:window=1",
        "--resample",
        "2s",
        "--method",
    )
    # standard output of the command in this process is text: a file shows the same bytes
    arguments = (*arguments[:3], tmp_path / "b.csv", *arguments[4:])
    assert command(*arguments, "mean").code == 0
    assert (
        tmp_path / "b.csv"
    ).read_text() == "time;v\n2024-01-01T00:00:00Z;2.0\n2024-01-01T00:00:02Z;\n2024-01-01T00:00:04Z;6.0\n"
    assert command(*arguments, "linear").code == 0
    assert (
        tmp_path / "b.csv"
    ).read_text() == "time;v\n2024-01-01T00:00:00Z;1.0\n2024-01-01T00:00:02Z;4.0\n2024-01-01T00:00:04Z;6.0\n"


def test_decimal_commas_everywhere(tmp_path, command):
    (tmp_path / "a.csv").write_text("time;v\n0,5;1,5\n1,5;2,5\n1,0;6,5\n")
    arguments = ("series", tmp_path / "a.csv", "-f", "mean:window=1", "--decimal", ",", "--sort")
    assert command(*arguments, "-o", tmp_path / "b.csv").code == 0
    assert (tmp_path / "b.csv").read_text() == "time;v\n0,5;1,5\n1,0;6,5\n1,5;2,5\n"
    assert command(*arguments, "-o", tmp_path / "c.csv", "--resample", "500ms").code == 0
    assert (tmp_path / "c.csv").read_text().splitlines()[1:] == ["0,5;1,5", "1,0;6,5", "1,5;2,5"]


def test_parquet_keeps_its_other_columns(tmp_path, command):
    rng = np.random.default_rng(7)
    rows = 1000
    frame = pl.DataFrame({
        "when": pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2025, 1, 1), "1h", eager=True, time_zone="Europe/Berlin")[:rows],
        "x": pl.Series(rng.normal(size=rows)).cast(pl.Float32), "n": range(rows), "s": ["é"] * rows, "l": [[1, 2]] * rows,
    })  # fmt: skip
    frame = frame.with_columns(pl.when(pl.col("n") % 9 == 4).then(None).otherwise(pl.col("x")).alias("x"))
    frame.write_parquet(tmp_path / "a.parquet", row_group_size=300)
    result = command(
        "series",
        tmp_path / "a.parquet",
        "-o",
        tmp_path / "b.parquet",
        "-f",
        "mean:window=5h",
        "--columns",
        "x",
        "--json",
    )
    assert result.code == 0, result.err
    got = pl.read_parquet(tmp_path / "b.parquet")
    assert got.columns == frame.columns
    assert got.drop("x").equals(frame.drop("x"))
    assert got["x"].dtype == pl.Float64
    np.testing.assert_allclose(
        got["x"].to_numpy(), rolling(frame["x"].cast(pl.Float64).to_numpy(), 5), rtol=1e-12
    )
    assert (
        command("series", tmp_path / "a.parquet", "-o", tmp_path / "c.csv", "-f", "mean:window=5").code == 1
    )


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst", ".parquet"])
def test_results_of_every_kind_are_intact_and_not_made_again(tmp_path, command, suffix):
    path = tmp_path / f"a{suffix}"
    frame = pl.DataFrame({"n": range(50), "x": [float(i * i) for i in range(50)]})
    data = frame.write_csv().encode()
    if suffix == ".parquet":
        frame.write_parquet(path)
    else:
        pack = {".csv": bytes, ".csv.gz": gzip.compress, ".csv.zst": zstandard.compress}[suffix]
        path.write_bytes(pack(data))
    arguments = ("series", path, "-o", tmp_path / "out", "-f", "mean:window=3", "--json")
    assert len(command(*arguments).json["done"]) == 1
    assert len(command(*arguments).json["skipped"]) == 1
    audited = command("audit", tmp_path / "out", "--sample", "100%", "--json")
    assert (audited.code, audited.json["intact"], audited.json["recomputed"]) == (0, 1, 1), audited.out


def test_standard_input_and_output(station, tmp_path):
    start = [sys.executable, "-m", "filterworks", "series"]
    data = (station / "a.csv").read_bytes()
    piped = subprocess.run(
        [*start, "-", "-o", "-", "-f", "mean:window=1min"], input=data, capture_output=True, check=True
    )
    assert piped.stderr == b""
    subprocess.run(
        [*start, station / "a.csv", "-o", tmp_path / "a.csv", "-f", "mean:window=1min", "-q"], check=True
    )
    assert piped.stdout == (tmp_path / "a.csv").read_bytes()
    packed = subprocess.run(
        [*start, "-", "-o", tmp_path / "b.csv.gz", "-f", "mean:window=1min"],
        input=gzip.compress(data),
        capture_output=True,
        check=True,
    )
    assert packed.stdout == b""
    assert gzip.decompress((tmp_path / "b.csv.gz").read_bytes()) == piped.stdout
    again = subprocess.run(
        [*start, "-", "-o", tmp_path / "b.csv.gz", "-f", "mean:window=1min"],
        input=data,
        capture_output=True,
        check=False,
    )
    assert again.returncode == 2
    assert b"exists; --overwrite replaces it" in again.stderr
    bad = subprocess.run(
        [*start, "-", "-o", tmp_path / "c.csv", "-f", "mean:window=3"],
        input=b"a\n1\n2\n3\nx\n",
        capture_output=True,
        check=False,
    )
    assert bad.returncode == 1
    assert bad.stderr.startswith(b"error: standard input: line 5, column 'a': 'x' is not a number")
    assert set(os.listdir(tmp_path)) == {"logs", "a.csv", "b.csv.gz", ".filterworks.sqlite"}


def test_a_local_cluster_gives_the_same_bytes(station, tmp_path, process):
    for name, options in (("threads", []), ("cluster", ["--workers", "2"])):
        child = process("series", station, "-o", tmp_path / name, "-f", "median:window=1min", *options)
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    assert tree(tmp_path / "threads") == tree(tmp_path / "cluster")


@pytest.fixture(scope="module")
def long_table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    rng = np.random.default_rng(9)
    block = "".join(
        f"{a:.3f},x{i % 7},{b:.4f}\n" for i, (a, b) in enumerate(rng.normal(size=(50_000, 2)))
    ).encode()
    for name in ("a.csv", "b.csv", "c.csv"):
        with (folder / name).open("wb") as file:
            file.write(b"p,k,q\n")
            for _ in range(8):
                file.write(block)
    return folder


def test_killed_at_any_moment_nothing_is_lost_or_half_written(long_table, tmp_path, process):
    arguments = ("series", long_table, "-o", tmp_path / "out", "-f", "gaussian:sigma=3")
    whole = process("series", long_table, "-o", tmp_path / "whole", "-f", "gaussian:sigma=3")
    start = time.monotonic()
    whole.communicate(timeout=120)
    span = time.monotonic() - start
    rng = random.Random(3)
    expected = tree(tmp_path / "whole")
    ends = []
    for how in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        child = process(*arguments)
        time.sleep(rng.uniform(0.4, 0.9) * span)
        os.killpg(child.pid, how)
        child.communicate(timeout=60)
        ends.append(child.returncode)
        visible = (
            {n: c for n, c in tree(tmp_path / "out").items() if not n.startswith(".")}
            if (tmp_path / "out").exists()
            else {}
        )
        assert all(expected[name] == content for name, content in visible.items())
    assert set(ends) & {-signal.SIGKILL, 130}, "all of them had ended before"
    last = process(*arguments)
    last.communicate(timeout=120)
    assert last.returncode == 0
    assert tree(tmp_path / "out") == expected


def test_memory_stays_flat_for_ten_times_the_rows(tmp_path, long_table):
    small, large = long_table / "a.csv", tmp_path / "large.csv"
    head, _, body = small.read_bytes().partition(b"\n")
    with large.open("wb") as file:
        file.write(head + b"\n")
        for _ in range(10):
            file.write(body)  # four million rows

    def peak(source, out, block):
        arguments = ("series", source, "-o", tmp_path / out, "-f", "mean:window=101", "-q")
        code, used = peak_of(
            *arguments, before=f"from filterworks.files.tables import text; text.BLOCK = {block}"
        )
        assert code == 0
        return used

    assert peak(large, "a.out.csv", text.BLOCK) < 600
    # In blocks so small that the short table too has more of them than are ever in flight.
    peaks = [peak(source, f"{n}.out.csv", 1 << 19) for n, source in enumerate((small, large))]
    assert peaks[1] < peaks[0] + 60


@pytest.mark.parametrize("rows", [4, 700_000])
def test_a_bad_value_in_parquet_ends_its_file_and_the_rest_goes_on(tmp_path, process, rows):
    base = tmp_path / "in"
    base.mkdir()
    values = np.arange(float(rows))
    values[-2] = np.inf
    pl.DataFrame({"x": values}).write_parquet(base / "a.parquet")
    pl.DataFrame({"x": [1.0, 4, 1]}).write_parquet(base / "b.parquet")
    run = process("series", base, "-o", tmp_path / "out", "-f", "median:window=3", "--json")
    err = run.communicate(timeout=120)[1]
    assert run.returncode == 1
    assert f"a.parquet: row {rows - 1}, column 'x': the value is infinite" in err
    assert pl.read_parquet(tmp_path / "out" / "b.parquet")["x"].to_list() == [1, 1, 1]
    assert not (tmp_path / "out" / "a.parquet").exists()


def test_groups_are_told_by_what_their_cells_say(tmp_path, command, monkeypatch):
    ids = ["a", '"a"', '"b,c"', "a", '"b,c"', '"a"', '"b\n""c"""', '"b,c"', '"b\n""c"""']
    x = [3.0, 5, 1, 4, 8, 9, 2, 6, 7]
    (tmp_path / "a.csv").write_text("id,x\n" + "".join(f"{i},{v}\n" for i, v in zip(ids, x, strict=True)))
    # In blocks of their own, what stands for a delimiter inside of quotes may be another sign.
    for number, size in enumerate((1 << 20, 1)):
        monkeypatch.setattr(text, "BLOCK", size)
        out = tmp_path / f"{number}.csv"
        assert command("series", tmp_path / "a.csv", "-o", out, "-f", "cumulative", "--by", "id").code == 0
        frame = pd.read_csv(tmp_path / "a.csv")
        assert column(out, "x").tolist() == frame.groupby("id")["x"].cumsum().tolist()
        assert [line.rpartition(",")[0] for line in out.read_text().splitlines()[1:]] == [
            line.rpartition(",")[0] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]
        ]


@pytest.mark.parametrize("times", ["whole", "broken"])
@pytest.mark.parametrize("method", ["mean", "linear"])
def test_even_times_do_not_depend_on_blocks(tmp_path, command, monkeypatch, method, times):
    rng = np.random.default_rng(2)
    seconds = np.sort(rng.choice(180, 40, replace=False)) + (0.5 if times == "broken" else 0)
    groups = rng.integers(0, 3, 40)
    written = [f"{t:g}" if times == "whole" else f"{t:.1f}" for t in seconds]
    rows = "".join(f'{t},"g,{g}",{g * 100 + float(t)}\n' for t, g in zip(written, groups, strict=True))
    (tmp_path / "a.csv").write_text("t,id,x\n" + rows)
    made = []
    for number, size in enumerate((1 << 20, 1, 200)):
        monkeypatch.setattr(text, "BLOCK", size)
        out = tmp_path / f"{number}.csv"
        arguments = ("-f", "median:window=1", "--by", "id", "--columns", "x", "--resample", "4s")
        run = command("series", tmp_path / "a.csv", "-o", out, *arguments, "--method", method)
        assert run.code == 0, run.err
        made.append(out.read_bytes())
    assert made[1:] == made[:1] * 2
    frame = pd.read_csv(tmp_path / "0.csv", dtype={"t": str})
    assert frame["id"].drop_duplicates().tolist() == [f"g,{g}" for g in dict.fromkeys(groups.tolist())]
    assert frame["t"].str.contains(".", regex=False).all() == (times == "broken")
    for name, part in frame.groupby("id", sort=False):
        first = seconds[groups == int(name[2:])][0]
        np.testing.assert_array_equal(part["t"].astype(float), first + 4.0 * np.arange(len(part)))
        if method == "linear":
            np.testing.assert_allclose(part["x"], int(name[2:]) * 100 + part["t"].astype(float))


def test_nanoseconds_since_1970_stay_exact_on_even_times(tmp_path, command):
    start = 1_700_000_000_000_000_001
    (tmp_path / "a.csv").write_text("t,x\n" + "".join(f"{start + 100 * n},{n}\n" for n in range(5)))
    arguments = ("-f", "mean:window=1", "--resample", "200ns", "--time", "t", "--method", "nearest")
    assert command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", *arguments).code == 0
    times = [int(line.split(",")[0]) for line in (tmp_path / "b.csv").read_text().splitlines()[1:]]
    assert times == [start, start + 200, start + 400]


def test_whole_times_in_parquet_may_get_a_broken_step(tmp_path, command):
    pl.DataFrame({"t": [0, 2, 4], "x": [0.0, 1, 2]}).write_parquet(tmp_path / "a.parquet")
    arguments = ("-f", "median:window=1", "--time", "t", "--method", "linear", "--resample")
    for step, dtype, count in (("0.5s", pl.Float64, 9), ("1s", pl.Int64, 5)):
        out = tmp_path / f"{step}.parquet"
        run = command("series", tmp_path / "a.parquet", "-o", out, *arguments, step)
        assert run.code == 0, run.err
        got = pl.read_parquet(out)
        assert got["t"].dtype == dtype
        assert got["t"].to_list() == np.linspace(0, 4, count).tolist()
        assert got["x"].to_list() == np.linspace(0, 2, count).tolist()


def test_a_result_that_is_missing_keeps_the_quotes_of_its_value(tmp_path, command, monkeypatch):
    (tmp_path / "a.csv").write_text('x\n"1"\nNaN\n"3"\n5\n"7"\n""\n')
    for number, size in enumerate((1 << 20, 1)):
        monkeypatch.setattr(text, "BLOCK", size)
        out = tmp_path / f"{number}.csv"
        run = command("series", tmp_path / "a.csv", "-o", out, "-f", "difference")
        assert run.code == 0, run.err
        assert out.read_text() == 'x\n""\nNaN\n""\n2.0\n"2.0"\n""\n'


@pytest.mark.parametrize(("options", "words"), [
    (["--method", "linear"], "[series] method: says how to resample; it needs resample too"),
    (["--method", "linear", "--resample", "3"], "`step` must be a time such as 30s (ns, us, ms, s, min, h, d); got '3'"),
])  # fmt: skip
def test_a_method_needs_the_step_to_resample_to(tmp_path, command, options, words):
    (tmp_path / "a.csv").write_text("t,x\n0,1\n1,2\n")
    run = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=3", *options)
    assert run.code == 2
    assert words in run.err
    assert "needs resample" in run.err or run.err.count("\n") == 1


def test_one_row_has_no_rate(tmp_path, command):
    (tmp_path / "a.csv").write_text("time,x\n2024-01-01,1\n")
    run = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "lowpass:cutoff=0.1Hz")
    assert run.code == 1
    assert "a.csv: lowpass: a cut-off frequency needs at least two samples: one alone has no step" in run.err


def test_spans_and_times_of_the_day_in_parquet(tmp_path, command):
    spans = [datetime.timedelta(hours=2 * hour) for hour in range(3)]
    clocks = [datetime.time(2 * hour, 0, 0, 1) for hour in range(3)]
    for times in (spans, clocks):
        pl.DataFrame({"at": times, "x": [0.0, 2, 8]}).write_parquet(tmp_path / "a.parquet")
        out = tmp_path / "b.parquet"
        arguments = ("series", tmp_path / "a.parquet", "-o", out, "--overwrite", "--force", "-f")
        run = command(*arguments, "derivative:per=h")
        assert run.code == 0, run.err
        assert pl.read_parquet(out)["x"].to_list() == [1, 2, 3]
        assert pl.read_parquet(out)["at"].to_list() == times
        run = command(*arguments, "median:window=1", "--resample", "4h", "--method", "nearest")
        assert run.code == 0, run.err
        assert pl.read_parquet(out).rows() == [(times[0], 0.0), (times[2], 8.0)]
    pl.DataFrame({"at": clocks[::-1], "x": [0.0, 2, 8]}).write_parquet(tmp_path / "a.parquet")
    run = command(*arguments, "mean:window=3")
    assert "a.parquet: row 2, column 'at': 02:00:00.000001 is not after 04:00:00.000001 on row 1;" in run.err


@pytest.mark.parametrize("ends", [("\n", "\n"), ("\n", "\r\n"), ("\r\n", "\n")], ids=repr)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_without_quotes_a_quote_is_a_letter_whatever_the_line_ends(
    tmp_path, command, monkeypatch, ends, size
):
    monkeypatch.setattr(text, "BLOCK", size)
    lines = ["id,x", "a,1", '"a",10', "a,1", '"a",10', '"1",1']
    (tmp_path / "a.csv").write_bytes("".join(line + ends[i % 2] for i, line in enumerate(lines)).encode())
    arguments = ("series", tmp_path / "a.csv", "-o", tmp_path / "o.csv", "-f", "cumulative", "--no-quotes")
    result = command(*arguments, "--by", "id")
    assert result.code == 0, result.err
    expected = ["id,x", "a,1.0", '"a",10.0', "a,2.0", '"a",20.0', '"1",1.0']
    assert (tmp_path / "o.csv").read_text().split() == expected


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_quotes_that_are_letters_stay_when_times_are_made_even(tmp_path, command, ends):
    (tmp_path / "a.csv").write_bytes(ends.join(["t;id;x", '0;"a;1', '2;"a;3', ""]).encode())
    arguments = ("--by", "id", "--no-quotes", "--time", "t", "--resample", "1s", "--method", "linear")
    result = command(
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "o.csv",
        "-f",
        "mean:window=1",
        "--delimiter",
        ";",
        *arguments,
    )
    assert result.code == 0, result.err
    assert (tmp_path / "o.csv").read_text().split() == ["t;id;x", '0;"a;1.0', '1;"a;2.0', '2;"a;3.0']


@pytest.mark.parametrize("chain", [
    "gaussian:sigma=1", "gaussian:sigma=200", "binomial:window=5", "kernel:taps=1/2/-4/3", "savgol:window=51",
    "lowpass:cutoff=0.01,taps=2001",
])  # fmt: skip
def test_a_column_of_a_table_is_filtered_as_if_it_were_alone(tmp_path, command, chain):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 17))
    x[100:103, 16], x[1500, 1] = np.nan, 1e9
    names = [f"c{n}" for n in range(17)]
    pd.DataFrame(x, columns=names).to_csv(tmp_path / "in.csv", index=False)
    assert command("series", tmp_path / "in.csv", "-o", tmp_path / "all.csv", "-f", chain).code == 0
    together = pd.read_csv(tmp_path / "all.csv", dtype=str, keep_default_na=False)
    for name in ("c0", "c1", "c16"):
        out = tmp_path / f"{name}.csv"
        assert command("series", tmp_path / "in.csv", "-o", out, "-f", chain, "--columns", name).code == 0
        assert pd.read_csv(out, dtype=str, keep_default_na=False)[name].tolist() == together[name].tolist()


def test_numbers_with_a_comma_that_are_not_read_are_told(tmp_path, command):
    (tmp_path / "a.csv").write_text("t;a;b;c\n1;0,5;7;x,1\n2;;8;y,2\n3;1,5;9;z,3\n")
    result = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=1")
    assert result.code == 0
    assert "warning: " in result.err
    assert "taken for text: a; --decimal , reads numbers with a comma" in result.err
    read = command(
        "series", tmp_path / "a.csv", "-o", tmp_path / "c.csv", "-f", "mean:window=1", "--decimal", ","
    )
    assert (read.code, "warning" in read.err) == (0, False)
    (tmp_path / "d.csv").write_text("a;c\n0,5;x\n1,5;y\n")
    none = command("series", tmp_path / "d.csv", "-o", tmp_path / "e.csv", "-f", "mean:window=1")
    assert none.code == 1
    assert "no column here holds numbers" in none.err
    assert "taken for text: a; --decimal ," in none.err
    (tmp_path / "f.csv").write_text('a,b\n"1,000",1\n"2,000",2\n')
    thousands = command("series", tmp_path / "f.csv", "-o", tmp_path / "g.csv", "-f", "mean:window=1")
    assert (thousands.code, "warning" in thousands.err) == (0, False)


def test_a_second_that_repeats_in_another_spelling_needs_no_sorting(tmp_path, command):
    """A leap second is the first of the next minute for whoever counts from 1970."""
    (tmp_path / "a.csv").write_text(
        "time,x\n2016-12-31T23:59:59Z,1\n2016-12-31T23:59:60Z,2\n2017-01-01T00:00:00Z,3\n"
    )
    result = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "derivative")
    assert result.code == 1
    assert (
        "line 4, column 'time': 2017-01-01T00:00:00Z is not after 2016-12-31T23:59:60Z on line 3"
        in result.err
    )
    assert "--by tells series apart that share their times" in result.err
    assert "--sort" not in result.err


def test_parquet_goes_through_pipes(tmp_path):
    pl.DataFrame({"x": [1.0, 3.0, None, 8.0], "n": ["a", "b", "c", "d"]}).write_parquet(
        tmp_path / "a.parquet"
    )
    start = [sys.executable, "-m", "filterworks", "series"]
    data = (tmp_path / "a.parquet").read_bytes()
    for source, given in (("-", data), (tmp_path / "a.parquet", None)):
        done = subprocess.run(
            [*start, source, "-o", "-", "-f", "mean:window=2"], input=given, capture_output=True, check=True
        )
        assert done.stderr == b""
        (tmp_path / "b.parquet").write_bytes(done.stdout)
        made = pl.read_parquet(tmp_path / "b.parquet")
        assert made.to_dict(as_series=False) == {"x": [1.0, 2.0, None, 8.0], "n": ["a", "b", "c", "d"]}


@pytest.mark.parametrize(("times", "options", "step", "expected"), [
    (["2024-01-01", "2024-01-02"], [], "12h", ["2024-01-01T00:00", "2024-01-01T12:00", "2024-01-02T00:00"]),
    (["2024/01/01", "2024/01/02"], [], "8h", [f"2024/01/0{1 + h // 24}T{h % 24:02d}:00" for h in (0, 8, 16, 24)]),
    (["2024-01-01", "2024-01-03"], [], "2d", ["2024-01-01", "2024-01-03"]),
    (["2024-01-01 10:00Z", "2024-01-01 10:01Z"], [], "30s",
     ["2024-01-01 10:00:00Z", "2024-01-01 10:00:30Z", "2024-01-01 10:01:00Z"]),
    (["2024-01-01T10:00+0200", "2024-01-01T10:01+0200"], [], "1min", ["2024-01-01T10:00+0200", "2024-01-01T10:01+0200"]),
    (["2024-01-01T10:00:00", "2024-01-01T10:00:01"], [], "500ms",
     ["2024-01-01T10:00:00", "2024-01-01T10:00:00.500", "2024-01-01T10:00:01"]),
    (["01.02.2024 10", "01.02.2024 12"], ["--time-format", "%d.%m.%Y %H"], "1h", ["01.02.2024 10", "01.02.2024 11", "01.02.2024 12"]),
])  # fmt: skip
def test_even_times_are_written_as_finely_as_they_lie(tmp_path, command, times, options, step, expected):
    (tmp_path / "a.csv").write_text(f"when;x\n{times[0]};1\n{times[1]};2\n")
    out = tmp_path / "b.csv"
    result = command(
        "series",
        tmp_path / "a.csv",
        "-o",
        out,
        "-f",
        "mean:window=1",
        "--resample",
        step,
        "--method",
        "linear",
        *options,
    )
    assert result.code == 0, result.err
    rows = [row.split(";") for row in out.read_text().splitlines()[1:]]
    assert [time for time, _ in rows] == expected
    np.testing.assert_allclose([float(x) for _, x in rows], np.linspace(1, 2, len(rows)))


def test_days_in_parquet_get_times_where_there_are_some_between(tmp_path, command):
    days = [datetime.date(2024, 1, day) for day in (1, 2, 3)]
    pl.DataFrame({"d": days, "x": [1.0, 2.0, 3.0]}).write_parquet(tmp_path / "a.parquet")
    for step, dtype in (("12h", pl.Datetime("us")), ("2d", pl.Date())):
        out = tmp_path / f"{step}.parquet"
        given = ["-f", "mean:window=1", "--resample", step, "--method", "linear"]
        assert command("series", tmp_path / "a.parquet", "-o", out, *given).code == 0
        assert pl.read_parquet(out)["d"].dtype == dtype
        assert pl.read_parquet(out)["d"].n_unique() == {"12h": 5, "2d": 2}[step]


def test_a_format_that_cannot_tell_the_even_times_apart_is_refused(tmp_path, command):
    (tmp_path / "a.csv").write_text("when;x\n01.02.2024;1\n02.02.2024;2\n")
    result = command(
        "series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=1", "--resample", "6h",
        "--time-format", "%d.%m.%Y",
    )  # fmt: skip
    assert result.code == 1
    assert (
        "--resample 6h: times written as %d.%m.%Y cannot tell 21600 s apart; take a longer step" in result.err
    )
    assert not (tmp_path / "b.csv").exists()


@pytest.mark.parametrize(("times", "form"), [
    (['"Jan 01, 2024 10:00"', '"Jan 01, 2024 10:01"', '"Jan 01, 2024 10:02"'], "%b %d, %Y %H:%M"),
    (['"2024-01-01T10:00:00,5"', '"2024-01-01T10:01:00,5"', '"2024-01-01T10:02:00,5"'], None),
    (['"2024-01-01 10:00:00,250"', '"2024-01-01 10:01:00,250"', '"2024-01-01 10:02:00,250"'], "%Y-%m-%d %H:%M:%S,%f"),
])  # fmt: skip
def test_times_that_hold_the_delimiter_in_quotes(tmp_path, command, times, form):
    rows = list(zip(times, (1, 2, 4), strict=True))
    (tmp_path / "a.csv").write_text("when,x\n" + "".join(f"{time},{x}\n" for time, x in rows))
    options = ["-f", "derivative:per=min", *(["--time-format", form] if form else [])]
    for named in ([], ["--time", "when"]):
        out = tmp_path / f"{len(named)}.csv"
        result = command("series", tmp_path / "a.csv", "-o", out, *options, *named)
        assert result.code == 0, result.err
        got = out.read_text().splitlines()[1:]
        assert got == [f"{time},{slope}" for time, slope in zip(times, (1.0, 1.5, 2.0), strict=True)]
    (tmp_path / "a.csv").write_text("when,x\n" + "".join(f"{time},{x}\n" for time, x in rows[::-1]))
    result = command("series", tmp_path / "a.csv", "-o", tmp_path / "c.csv", *options)
    bare = [time.strip('"') for time in times]
    assert f"line 3, column 'when': {bare[1]} is not after {bare[2]} on line 2" in result.err


def test_decimal_commas_where_commas_separate(tmp_path, command):
    """As some programs write them: numbers that need it stand in quotes, whole ones do not."""
    (tmp_path / "a.csv").write_text('a,b,n\n1,"0,5",x\n2,,y\n"3,5","9,25",z\n')
    given = ["-f", "mean:window=2,nan_policy=omit", "--decimal", ","]
    assert command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", *given).code == 0
    assert (tmp_path / "b.csv").read_text() == 'a,b,n\n"1,0","0,5",x\n"1,5",,y\n"2,75","9,25",z\n'
    assert command("series", tmp_path / "a.csv", "-o", tmp_path / "c.csv", *given, "--suffix", "_s").code == 0
    lines = (tmp_path / "c.csv").read_text().splitlines()
    assert lines[:2] == ["a,b,n,a_s,b_s", '1,"0,5",x,"1,0","0,5"']
    (tmp_path / "d.csv").write_text("a,b\n1,2\n3,4\n")
    assert command("series", tmp_path / "d.csv", "-o", tmp_path / "e.csv", *given).code == 0
    assert (tmp_path / "e.csv").read_text() == 'a,b\n"1,0","2,0"\n"2,0","3,0"\n'
    refused = command("series", tmp_path / "d.csv", "-o", tmp_path / "f.csv", *given, "--no-quotes")
    assert refused.code == 1
    assert "a , cannot separate columns and stand before decimals without quotes" in refused.err
    (tmp_path / "g.csv").write_text("x\n1,5\n2,5\n")
    assert command("series", tmp_path / "g.csv", "-o", tmp_path / "h.csv", *given).code == 0
    assert (tmp_path / "h.csv").read_text() == "x\n1,5\n2,0\n"


@pytest.mark.parametrize("size", [64, 1 << 20])
def test_peaks_tell_their_lines_and_those_hold_their_scores(tmp_path, command, monkeypatch, size):
    """Whatever the groups, and where a later filter holds results back."""
    monkeypatch.setattr(text, "BLOCK", size)
    rng = np.random.default_rng(0)
    rows = [
        (rng.choice(list("abc")), rng.normal(), "two\nlines" if i % 50 == 9 else "one") for i in range(900)
    ]
    body = "".join(f'{group},{x:.4f},"{note}"\n' for group, x, note in rows)
    (tmp_path / "a.csv").write_text("g,x,note\n" + body)
    for chain in (
        "matched:taps=0/1/4/2,threshold=0.9",
        "matched:taps=0/1/4/2,threshold=0.9 | median:window=1",
    ):
        result = command(
            "series",
            tmp_path / "a.csv",
            "-o",
            tmp_path / "b.csv",
            "-f",
            chain,
            "--by",
            "g",
            "--json",
            "--overwrite",
        )
        (done,) = result.json["done"]
        lines = (tmp_path / "b.csv").read_text().splitlines()
        assert len(done["peaks"]) == done["peaks_total"] > 20
        for peak in done["peaks"]:
            group, score, _ = lines[peak["line"] - 1].split(",")
            assert [group] == peak["group"]
            assert float(score) == pytest.approx(peak["score"], abs=1e-6)
            assert peak["row"] == sum(line.startswith(f"{group},") for line in lines[: peak["line"]])


def centuries(first, last, step=1):
    return [f"{year}-01-01T00:00:00" for year in range(first, last + 1, step)]


def test_times_of_centuries_are_told_apart(tmp_path, command):
    times = [time for time in centuries(1700, 2020) if time[:4] != "1850"]  # the jitter would even them out
    lines = [f"{time},{number}" for number, time in enumerate(times)]
    mixed = [lines[place] for place in np.random.default_rng(0).permutation(len(lines))]
    seconds = pd.to_datetime(pd.Series(times)).to_numpy("M8[s]").astype(float)
    (tmp_path / "a.csv").write_text("\n".join(["time,x", *lines, ""]))
    (tmp_path / "mixed.csv").write_text("\n".join(["time,x", *mixed, ""]))
    frame = pl.DataFrame({"time": times, "x": np.arange(320.0)}).with_columns(
        pl.col("time").str.to_datetime()
    )
    frame.write_parquet(tmp_path / "a.parquet")
    for name, *options in (("a.csv",), ("mixed.csv", "--sort"), ("a.parquet",)):
        out = tmp_path / f"out-{name}"
        run = command("series", tmp_path / name, "-o", out, "-f", "derivative", *options)
        assert run.code == 0, run.err
        got = (pl.read_parquet if out.suffix == ".parquet" else pl.read_csv)(out)
        np.testing.assert_allclose(got["x"].to_numpy(), np.gradient(np.arange(320.0), seconds), rtol=1e-9)
        if out.suffix == ".csv":
            assert got["time"].to_list() == times


@pytest.mark.parametrize("first", [1, 1500, 1900, 2500, 9000])
def test_times_far_from_ours_are_brought_to_even_ones(tmp_path, command, first):
    times = (
        centuries(first, first + 900, 100) if first > 999 else [f"{y:04d}-01-01T00:00:00" for y in (1, 2000)]
    )
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(f"{time}Z,{n}\n" for n, time in enumerate(times)))
    frame = pl.DataFrame({"time": times, "x": np.arange(len(times)) * 1.0})
    frame = frame.with_columns(pl.col("time").str.to_datetime("%Y-%m-%dT%H:%M:%S"))
    frame.write_parquet(tmp_path / "a.parquet")
    expected = frame["time"][0], frame["time"][0] + datetime.timedelta(days=300 * 365)
    arguments = ("-f", "median:window=1", "--resample", f"{300 * 365}d", "--method", "previous")
    for name in ("a.csv", "a.parquet"):
        out = tmp_path / f"out-{name}"
        run = command("series", tmp_path / name, "-o", out, *arguments)
        assert run.code == 0, run.err
    got = pl.read_parquet(tmp_path / "out-a.parquet")
    assert got.schema == frame.schema
    assert tuple(got["time"][:2]) == expected
    written = (tmp_path / "out-a.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in written[1:3]] == [
        f"{moment:%Y-%m-%dT%H:%M:%SZ}".zfill(20) for moment in expected
    ]


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us"), pl.Datetime("us", "UTC")])
@pytest.mark.parametrize("first", [1066, 2500])
def test_dates_beyond_nanoseconds_in_parquet(tmp_path, command, dtype, first):
    days = [datetime.date(first + 100 * n + 20 * n * n, 1, 1) for n in range(6)]
    times = pl.Series(days).cast(dtype)
    pl.DataFrame({"at": times, "x": np.arange(6.0)}).write_parquet(tmp_path / "a.parquet")
    run = command("series", tmp_path / "a.parquet", "-o", tmp_path / "b.parquet", "-f", "derivative:per=d")
    assert run.code == 0, run.err
    got = pl.read_parquet(tmp_path / "b.parquet")
    assert got["at"].equals(times)
    np.testing.assert_allclose(got["x"], np.gradient(np.arange(6.0), [day.toordinal() for day in days]))


def test_spans_of_centuries_in_parquet(tmp_path, command):
    spans = [datetime.timedelta(days=150_000 * n) for n in range(5)]
    frame = pl.DataFrame({"at": spans, "x": [0.0, 1, 2, 3, 4]})
    frame.write_parquet(tmp_path / "a.parquet")
    arguments = ("-f", "median:window=1", "--resample", "300000d", "--method", "nearest")
    run = command("series", tmp_path / "a.parquet", "-o", tmp_path / "b.parquet", *arguments)
    assert run.code == 0, run.err
    assert pl.read_parquet(tmp_path / "b.parquet").rows() == frame.rows()[::2]


@pytest.mark.parametrize("sign", ".,")
def test_nanoseconds_beside_centuries(tmp_path, command, sign):
    fine = [f"1960-01-01T00:00:00{sign}{n:09d}" for n in (1, 2, 3, 999_999_999)]
    lines = [f'"{time}"\t{n}\n' for n, time in enumerate([*fine, f"2300-01-01T00:00:00{sign}5"])]
    (tmp_path / "a.tsv").write_text("time\tx\n" + "".join(lines))
    (tmp_path / "b.tsv").write_text("time\tx\n" + "".join(lines[place] for place in (4, 2, 0, 3, 1)))
    run = command(
        "series", tmp_path / "a.tsv", "-o", tmp_path / "out.tsv", "-f", "derivative:align=past,per=ns"
    )
    assert run.code == 0, run.err
    slopes = pl.read_csv(tmp_path / "out.tsv", separator="\t")["x"].to_list()
    np.testing.assert_allclose(slopes[1:], [1, 1, 1 / 999_999_996, 1 / (340 * 365.2425 * 86400e9)], rtol=1e-2)
    run = command(
        "series", tmp_path / "b.tsv", "-o", tmp_path / "b-out.tsv", "-f", "median:window=1", "--sort"
    )
    assert "repeats" not in run.err


def test_counts_of_nanoseconds_may_be_more_than_292_years_apart(tmp_path, command):
    counts = [-(2**63) + 2 + n * 2**62 for n in range(4)]
    (tmp_path / "a.csv").write_text("t,x\n" + "".join(f"{count},{n}\n" for n, count in enumerate(counts)))
    arguments = ("-f", "derivative:per=ns", "--time", "t", "--time-format", "epoch-ns")
    run = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", *arguments)
    assert run.code == 0, run.err
    np.testing.assert_allclose(pl.read_csv(tmp_path / "b.csv")["x"], 2.0**-62)


@pytest.mark.parametrize("zone", ["", "Z", "+02:00"])
def test_even_times_of_years_are_whole_and_those_of_nanoseconds_fine(tmp_path, command, zone):
    lines = [f"{year}-01-01T00:00:00.1{zone},{year}\n" for year in (2000, 2003)]
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(lines))
    arguments = (
        "series",
        tmp_path / "a.csv",
        "-o",
        tmp_path / "b.csv",
        "--overwrite",
        "-f",
        "median:window=1",
    )
    run = command(*arguments, "--resample", "100000.7s", "--method", "previous")
    assert run.code == 0, run.err
    written = [
        line.split(",")[0].removesuffix(zone) for line in (tmp_path / "b.csv").read_text().splitlines()
    ]
    start, step = datetime.datetime(2000, 1, 1, 0, 0, 0, 100_000), datetime.timedelta(seconds=100_000.7)
    assert [datetime.datetime.fromisoformat(time) for time in written[1:]] == [
        start + n * step for n in range(len(written) - 1)
    ]
    assert max(map(len, written)) == len("2000-01-01T00:00:00.100")
    lines = [f"2000-01-01T00:00:00.{n:09d}{zone},{n}\n" for n in (1, 201, 401)]
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(lines))
    run = command(*arguments, "--force", "--resample", "200ns", "--method", "nearest")
    assert run.code == 0, run.err
    assert [line.split(",")[0] for line in (tmp_path / "b.csv").read_text().splitlines()[1:]] == [
        line.split(",")[0] for line in lines
    ]


def test_even_times_in_nanoseconds_beyond_their_reach_are_refused(tmp_path, command):
    lines = [f"1600-01-01T00:00:00.{n:09d},{n}\n" for n in (0, 200, 400)]
    (tmp_path / "a.csv").write_text("time,x\n" + "".join(lines))
    arguments = ("-f", "median:window=1", "--method", "nearest", "--resample", "200ns")
    run = command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", *arguments)
    assert run.code == 1
    assert "--resample 200ns: nanoseconds of times before 1679 or after 2261 cannot be written" in run.err
    assert not (tmp_path / "b.csv").exists()
