"""The compiler's cache, and life without a compiler."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

import filterworks as fw
from filterworks.engine import ENGINES
from filterworks.machine import compiler
from filterworks.machine.code import Function

ADD = """
import sys
{before}
import numpy as np, filterworks as fw
x = np.arange(12.0).reshape(3, 4)
y = fw.correlate(x, [[1, 2, 0], [0, 3, 1]], method="{method}")
print(float(y.sum()), "direct" in fw.plan(x, [[1, 2], [3, 5]]).estimates)
"""


def run(cache, method="direct", before="", **environment):
    code = ADD.format(before=before, method=method)
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
    )


def expected():
    x = np.arange(12.0).reshape(3, 4)
    return float(fw.correlate(x, [[1, 2, 0], [0, 3, 1]], method="plain").sum())


def cached(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    assert run(tmp_path).stdout == f"{expected()} True\n"
    files = cached(tmp_path)
    times = [path.stat().st_mtime_ns for path in files]
    assert len(files) == 2  # one loop stages, one adds up
    assert run(tmp_path).stdout == f"{expected()} True\n"
    assert [path.stat().st_mtime_ns for path in cached(tmp_path)] == times


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000])
def test_a_damaged_cache_is_compiled_anew(tmp_path, damage):
    run(tmp_path)
    for path in cached(tmp_path):
        path.write_bytes(damage)
    assert run(tmp_path).stdout == f"{expected()} True\n"
    assert all(path.read_bytes() != damage for path in cached(tmp_path))


def test_a_flipped_bit_in_the_cache_is_noticed(tmp_path):
    run(tmp_path)
    for path in cached(tmp_path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert run(tmp_path).stdout == f"{expected()} True\n"


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    file = tmp_path / "a file where the folder would be"
    file.write_text("")
    result = run(file)
    assert (result.stdout, result.stderr) == (f"{expected()} True\n", "")


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes where it likes")
def test_a_read_only_cache_is_done_without(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    assert run(tmp_path).stdout == f"{expected()} True\n"


@pytest.mark.parametrize(("before", "environment", "reason"), [
    ("sys.modules['llvmlite'] = None", {}, "llvmlite is not installed"),
    ("", {"FILTERWORKS_COMPILE": "0"}, "FILTERWORKS_COMPILE is 0"),
])  # fmt: skip
def test_without_a_compiler_the_other_engines_do_it_all(tmp_path, before, environment, reason):
    result = run(tmp_path, "auto", before, **environment)
    assert (result.stdout, result.stderr) == (f"{expected()} False\n", "")
    refused = run(tmp_path, "direct", before, **environment)
    assert reason in refused.stderr
    assert "method='auto' finds one that can" in refused.stderr
    assert cached(tmp_path) == []


def test_explain_says_once_what_is_missing(tmp_path, photos):
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "filterworks",
            "explain",
            photos / "face.jpg",
            "-f",
            "mean:size=9",
            "-f",
            "sobel",
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "FILTERWORKS_COMPILE": "0"},
    )
    assert result.returncode == 0
    assert result.stdout.count("compiled engines (direct, separable) are left out") == 1


def test_a_compiler_that_fails_is_left_out_from_then_on(monkeypatch):
    monkeypatch.setattr(compiler, "_FAILURES", [])

    def fail(function):
        raise compiler.CompilerError("llvmlite could not compile: too new a processor")

    monkeypatch.setattr(compiler, "_compiler", lambda: type("Broken", (), {"compile": staticmethod(fail)}))
    x = np.random.default_rng(0).random((611, 733)).astype(np.float32)
    kernel = np.random.default_rng(1).random((11, 13))  # a shape that no other test has loops for
    ENGINES["direct"].prepare.__globals__["_direct"].cache_clear()
    from filterworks.machine import loops

    for loop in (loops.stage, loops.correlate):
        loop.cache_clear()
    from filterworks import planner

    try:
        planner.forget_estimates()
        with planner.expecting_many():
            got = fw.correlate(x, kernel)
        np.testing.assert_allclose(got, fw.correlate(x, kernel, method="plain"), rtol=1e-5)
        with pytest.raises(fw.errors.EngineError, match="too new a processor"):
            fw.correlate(x, kernel, method="direct")
    finally:
        planner.forget_estimates()


def test_the_text_of_a_function_is_checked_before_it_runs():
    code = Function("nonsense", ("p_out",), ())
    code.emit("this is no instruction")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "_FAILURES", [])
        with pytest.raises(compiler.CompilerError, match="could not compile nonsense"):
            compiler.compiled(code)
        assert "nonsense" in compiler.obstacle()
