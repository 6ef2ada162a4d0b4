"""The commands on tables, as people type them: usage, plots, lists."""

import subprocess
import sys

import numpy as np
import pytest

from filterworks.drawing import plots

TABLE = "time,temp,wind,note\n" + "".join(
    f"2024-01-01T00:{i:02d}:00Z,{20 + i % 5},{i * 0.5},n{i}\n" for i in range(60)
)


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text(TABLE)
    return tmp_path / "a.csv"


@pytest.mark.parametrize(("arguments", "words"), [
    (["-o", "b.csv"], "Missing option '-f'"),
    (["-f", "mean:window=3"], "Missing option '-o'"),
    (["-o", "b.csv", "-f", "mea:window=3"], "unknown filter 'mea': did you mean 'mean'"),
    (["-o", "b.csv", "-f", "mean:windw=3"], "did you mean 'window'"),
    (["-o", "b.csv", "-f", "mean"], "mean needs a value for `window`"),
    (["-o", "b.csv", "-f", "mean:window=-1"], "window"),
    (["-o", "b.csv", "-f", "mean:window=3", "--boundary", "reflect"], "[series] boundary: "),
    (["-o", "b.csv", "-f", "mean:window=3", "--delimiter", ";;"], "[input] delimiter: `delimiter` must be one character"),
    (["-o", "b.csv", "-f", "mean:window=3", "--time-format", "isoo"], "did you mean 'iso'"),
    (["-o", "b.csv", "-f", "mean:window=3", "--time-format", "%Y-%m-%d %Z"], "names of zones do not tell the offset"),
    (["-o", "b.csv", "-f", "mean:window=3", "--resample", "2x"], "[series] resample: "),
    (["-o", "b.csv", "-f", "mean:window=3", "--align", "left"], "center"),
    (["-o", "b.png", "-f", "mean:window=3"], "none of the tables has the suffix .png; accepted are .csv"),
    (["b.csv", "-o", "-", "-f", "mean:window=3"], "takes one INPUT"),
    (["-o", "-", "-f", "mean:window=3", "--json"], "standard output is the table's already"),
    (["-o", "a.csv", "-f", "mean:window=3"], "is an input; results never replace inputs"),
])  # fmt: skip
def test_wrong_usage_exits_2_in_few_lines(table, command, arguments, words):
    result = command("series", "a.csv", *arguments)
    assert result.code == 2
    assert words in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert sorted(path.name for path in table.parent.iterdir()) == ["a.csv"]


def test_all_problems_of_the_filters_are_told_at_once(table, command):
    result = command("series", table, "-o", "b.csv", "-f", "savgol:window=4", "-f", "gaussian:sigma=-1")
    assert result.code == 2
    assert len(result.err.splitlines()) == 2
    assert "savgol" in result.err


@pytest.mark.parametrize(("arguments", "words"), [
    (["--columns", "tmp"], "a.csv: unknown column 'tmp': did you mean 'temp'"),
    (["--columns", "note"], "line 2, column 'note': 'n0' is not a number"),
    (["--time", "tim"], "unknown column 'tim': did you mean 'time'"),
    (["--by", "nte"], "unknown column 'nte': did you mean 'note'"),
    (["--time", "time", "--columns", "temp,time"], "column 'time' is time or group and cannot be filtered as well"),
    (["--suffix", ""], "must be text, not empty"),
    (["--nan-policy", "raise", "--null", "21"], "line 3, column 'temp': the value is missing, which nan_policy raise forbids"),
    (["-f", "lowpass:cutoff=5"], "Nyquist"),
])  # fmt: skip
def test_what_does_not_fit_a_table_is_named(table, command, arguments, words):
    result = command(
        "series",
        table,
        "-o",
        "b.csv",
        *([] if "-f" in arguments else ["-f", "mean:window=3"]),
        "--columns",
        "temp",
        *arguments,
    )
    assert result.code in (1, 2)
    assert words in result.err
    assert "Traceback" not in result.err
    assert not (table.parent / "b.csv").exists()


def test_dry_run_quiet_and_verbose(table, command):
    shown = command("series", table, "-o", "b.csv", "-f", "mean:window=3", "--dry-run")
    assert (shown.code, shown.out) == (0, f"{table} -> b.csv\n")
    assert not (table.parent / "b.csv").exists()
    assert command("series", table, "-o", "b.csv", "-f", "mean:window=3", "-q").err == ""
    assert "skipped: " in command("series", table, "-o", "b.csv", "-f", "mean:window=3", "-v").err
    status = command("status", "b.csv")
    assert "1 done, 0 failed" in status.out
    assert "mean:window=3" in status.out


def test_the_report_tells_the_time_and_what_was_missing(table, command):
    told = command(
        "series", table, "-o", "b.csv", "-f", "mean:window=3min", "--null", "21", "--fill", "-v"
    ).err
    assert (
        "time: column 'time' (found by itself), format %Y-%m-%dT%H:%M:%S%.fZ, even, a row every 60 s" in told
    )
    assert "column 'temp': 12 missing, 12 of them filled" in told


def test_a_job_file_and_the_command_line_are_two_spellings(table, command):
    (table.parent / "job.toml").write_text(
        '[input]\npaths = ["a.csv"]\ncolumns = ["temp"]\nnull = ["21"]\n[[filter]]\nname = "mean"\nwindow = "3min"\n'
        '[output]\npath = "b.csv"\nsuffix = "_s"\n[series]\nalign = "past"\nfill = true\n'
    )
    assert command("run", "job.toml").code == 0
    typed = ["--columns", "temp", "--null", "21", "--suffix", "_s", "--align", "past", "--fill"]
    assert command("series", table, "-o", "c.csv", "-f", "mean:window=3min", *typed).code == 0
    assert (table.parent / "b.csv").read_bytes() == (table.parent / "c.csv").read_bytes()
    again = command("series", table, "-o", "b.csv", "-f", "mean:window=3min", *typed, "--json")
    assert len(again.json["skipped"]) == 1


def test_a_bad_job_file_names_every_problem_with_its_key(table, command):
    (table.parent / "job.toml").write_text(
        '[input]\nkind = "series"\npaths = ["a.csv"]\ncolums = ["x"]\n[[filter]]\nname = "mean"\n[[filter]]\nname = "savgol"\nwindow = 4\n'
        '[output]\npath = "b"\nrange = "clip"\n[series]\nalign = "left"\n'
    )
    result = command("run", "job.toml")
    assert result.code == 2
    for words in (
        "[input] colums: unknown key 'colums': did you mean 'columns'", "[[filter]] 1: mean needs a value for `window`",
        "[[filter]] 2: savgol", "[output] range: unknown key 'range'", "[series] align",
    ):  # fmt: skip
        assert words in result.err, words
    (table.parent / "job.toml").write_text('[input]\nkind = "serie"\npaths = ["a.csv"]\n')
    assert "unknown kind 'serie': did you mean 'series'" in command("run", "job.toml").err


def test_the_filters_of_series_are_listed(command):
    from filterworks.timeseries import SERIES_OPERATIONS

    listed = command("filters", "--series").out
    assert all(f"\n{name} " in "\n" + listed for name in SERIES_OPERATIONS)
    assert "pandas" in command("filters", "--series", "exponential").out
    assert "did you mean 'savgol'" in command("filters", "--series", "savgl").err


@pytest.fixture
def drawn(monkeypatch):
    """What was given to matplotlib."""
    seen = []
    for name in ("plot_series", "plot_response"):
        original = getattr(plots, name)
        monkeypatch.setattr(plots, name, lambda *given, call=original: (seen.append(given), call(*given)))
    return seen


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_a_plot_before_and_after(table, command, drawn, suffix):
    rows = TABLE.splitlines()
    rows[30:33] = [row.replace(f",{row.split(',')[1]},", ",,") for row in rows[30:33]]
    table.write_text("\n".join(rows) + "\n")
    command("series", table, "-o", "b.csv", "-f", "mean:window=5", "--suffix", "_smooth")
    result = command("plot", table, "b.csv", "--columns", "t*p,wind", "-o", f"p.{suffix}")
    assert (result.code, result.err) == (0, "")
    path, _, axis, pairs = drawn[0]
    assert axis == "time"
    assert [name for name, _, _ in pairs] == ["temp", "wind"]
    before, after = pairs[0][1:]
    assert len(before.x) == 60
    assert before.gaps == [(np.datetime64("2024-01-01T00:28"), np.datetime64("2024-01-01T00:32"))]
    assert after.y[10] == pytest.approx(np.mean([float(row.split(",")[1]) for row in rows[9:14]]))
    assert path.stat().st_size > 5000
    assert command("plot", table, "b.csv", "-o", f"p.{suffix}").code == 2
    again = path.read_bytes()
    assert (
        command("plot", table, "b.csv", "--columns", "t*p,wind", "-o", f"p.{suffix}", "--overwrite").code == 0
    )
    if suffix == "png":
        assert path.read_bytes() == again


@pytest.mark.parametrize("suffix", [[], ["--suffix", "_s"]])
@pytest.mark.parametrize("names", ["x,x2,x2_max", "x2_max,x2,x"])
def test_a_plot_takes_columns_for_what_they_come_from(tmp_path, command, drawn, names, suffix):
    """Names that begin alike belong together only if one was added for the other."""
    rows = "".join(f"{i},{i + 100},{i + 200}\n" for i in range(20))
    (tmp_path / "a.csv").write_text(f"{names}\n{rows}")
    command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=1", *suffix)
    for columns in ([], ["--columns", "x"], ["--columns", "x2"]):
        out = tmp_path / f"{len(drawn)}.png"
        assert (
            command("plot", tmp_path / "a.csv", tmp_path / "b.csv", *columns, "--no-time", "-o", out).code
            == 0
        )
        for _, before, after in drawn[-1][3]:
            np.testing.assert_array_equal(before.y, after.y)


def test_a_plot_reads_both_tables_with_the_delimiter_that_was_given(tmp_path, command, drawn):
    (tmp_path / "a.csv").write_text("a#b\n" + "".join(f"{i}#{i * i}\n" for i in range(9)))
    given = ["--delimiter", "#"]
    assert (
        command("series", tmp_path / "a.csv", "-o", tmp_path / "b.csv", "-f", "mean:window=3", *given).code
        == 0
    )
    assert command("plot", tmp_path / "a.csv", tmp_path / "b.csv", "-o", tmp_path / "p.png", *given).code == 0
    assert [name for name, _, _ in drawn[0][3]] == ["a", "b"]


def test_a_long_table_is_thinned_out_without_losing_extremes(tmp_path, command, drawn, monkeypatch):
    rng = np.random.default_rng(0)
    values = rng.normal(size=50_000)
    values[[123, 40_001]] = 99.0, -77.0
    values[2000:2010] = np.nan
    (tmp_path / "a.csv").write_text(
        "x\n" + "\n".join("" if np.isnan(v) else repr(float(v)) for v in values) + "\n"
    )
    assert command("plot", tmp_path / "a.csv", tmp_path / "a.csv", "-o", tmp_path / "p.png").code == 0
    curve = drawn[0][3][0][1]
    assert len(curve.y) < 10_000
    assert np.nanmax(curve.y) == 99.0
    assert np.nanmin(curve.y) == -77.0
    assert len(curve.gaps) == 1
    low, high = curve.gaps[0]
    assert low <= 2001
    assert high >= 2010


def test_a_plot_of_a_response(tmp_path, command, drawn):
    assert (
        command(
            "plot",
            "--response",
            "-f",
            "lowpass:cutoff=2,transition=1",
            "--rate",
            "50",
            "-o",
            tmp_path / "r.png",
        ).code
        == 0
    )
    response = drawn[0][2]
    assert response.frequencies[-1] == pytest.approx(25)
    assert response.decibels[0] == pytest.approx(0, abs=0.1)
    assert response.decibels[response.frequencies > 3].max() < -50
    assert np.interp(2.0, response.frequencies, response.decibels) == pytest.approx(-6, abs=0.1)
    assert command("plot", "--response", "-f", "kernel:taps=1/2/4", "-o", tmp_path / "k.svg").code == 0
    np.testing.assert_allclose(drawn[1][2].impulse[drawn[1][2].impulse != 0], [4, 2, 1], atol=1e-12)
    assert command("plot", "--response", "-f", "exponential:alpha=0.5", "-o", tmp_path / "e.png").code == 0
    np.testing.assert_allclose(drawn[2][2].decibels[-1], 20 * np.log10(1 / 3), atol=1e-6)


@pytest.mark.parametrize(("arguments", "words"), [
    (["a.csv", "-o", "p.png"], "give two tables"),
    (["a.csv", "a.csv", "-o", "p.gif"], "unknown plot suffix '.gif'"),
    (["a.csv", "a.csv", "--columns", "tmp", "-o", "p.png"], "did you mean 'temp'"),
    (["a.csv", "other.csv", "--columns", "wind", "-o", "p.png"], "other.csv: unknown column 'wind': did you mean 'wand'"),
    (["a.csv", "none.csv", "-o", "p.png"], "none.csv: cannot be read"),
    (["header.csv", "header.csv", "-o", "p.png"], "header.csv: there are no numbers to draw"),
    (["a.csv", "a.csv", "-o", "no/p.png"], "its folder does not exist"),
    (["--response", "-o", "p.png"], "give it with -f"),
    (["--response", "-f", "median:window=3", "-o", "p.png"], "is not linear"),
    (["--response", "-f", "mean:window=2s", "-o", "p.png"], "--rate"),
    (["--response", "-f", "mean:window=3", "--rate", "0", "-o", "p.png"], "above 0"),
])  # fmt: skip
def test_what_cannot_be_plotted_is_told(table, command, arguments, words):
    (table.parent / "other.csv").write_text("time,wand\n2024-01-01T00:00Z,1\n2024-01-01T00:01Z,2\n")
    (table.parent / "header.csv").write_text("time,temp\n")
    result = command("plot", *arguments)
    assert result.code in (1, 2)
    assert words in result.err
    assert not (table.parent / "p.png").exists()


def test_without_matplotlib_its_extra_is_named(table):
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.argv = ['filterworks', 'plot', 'a.csv', 'a.csv', '-o', 'p.png']\n"
        "from filterworks.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "error: plots need matplotlib, which is not installed: pip install 'filterworks[plot]'\n"
    )


def test_tables_load_only_what_they_need(table):
    code = (
        "import sys; sys.argv = ['filterworks', 'series', 'a.csv', '-o', 'b.csv', '-f', 'mean:window=3', '-q']\n"
        "from filterworks.cli import main\n"
        "try: main()\n"
        "except SystemExit: print(sorted({'pandas', 'matplotlib', 'scipy.signal', 'zstandard', 'distributed', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("offset", "hours"), [("+02:00", "10"), ("-0530", "10"), ("+05", "23"), ("Z", "10"), ("", "10")]
)
def test_even_times_keep_the_offset_and_say_what_is_left_out(tmp_path, command, offset, hours):
    source = tmp_path / "a.csv"
    rows = [f"2024-05-01T{hours}:59:{second}{offset},{value},n" for second, value in (("58", 1), ("59", 2))]
    rows.append(f"2024-05-{2 if hours == '23' else 1:02d}T{(int(hours) + 1) % 24:02d}:00:01{offset},4,n")
    source.write_text("\n".join(["time,x,note", *rows]) + "\n")
    given = (
        source,
        "-o",
        tmp_path / "b.csv",
        "-f",
        "mean:window=1",
        "--resample",
        "1s",
        "--method",
        "linear",
    )
    result = command("series", *given)
    assert result.code == 0
    assert "--resample leaves out what is not filtered: note" in result.err
    lines = (tmp_path / "b.csv").read_text().splitlines()
    assert lines[1:3] == [row.removesuffix(",n") + ".0" for row in rows[:2]]
    assert lines[4] == rows[2].removesuffix(",n") + ".0"
    assert lines[3].endswith(f":00:00{offset},3.0")


def test_a_pipe_tells_of_warnings(table):
    arguments = ["series", table, "-o", "-", "-f", "mean:window=99", "--columns", "temp"]
    done = subprocess.run(
        [sys.executable, "-m", "filterworks", *arguments], capture_output=True, text=True, check=True
    )
    assert done.stderr.startswith("warning: ")
    assert "longer than the series of 60" in done.stderr
    assert len(done.stdout.splitlines()) == 61


def test_a_table_of_numbers_needs_neither_polars_nor_opencv(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2.5\n3,4\n5,6\n")
    code = (
        "import sys; sys.argv = ['filterworks', 'series', 'a.csv', '-o', 'b.csv', '-f', 'mean:window=3']\n"
        "from filterworks.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "print([name for name in ('polars', 'cv2', 'numba', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert (tmp_path / "b.csv").read_text().startswith("a,b\n1.66")
