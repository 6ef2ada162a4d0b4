"""The README is run: its commands as a user would type them, its Python as doctests."""

import doctest
import re
import shlex
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("filterworks ")
]


def test_the_python_of_the_readme():
    test = doctest.DocTestParser().get_doctest(README, {}, "README", "README.md", 0)
    assert len(test.examples) >= 10
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0


def test_the_commands_of_the_readme(tmp_path, command, monkeypatch):
    for folder in ("data", "jobs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) > 6
    for line in COMMANDS:
        done = command(*shlex.split(line)[1:])
        assert done.code == 0, (line, done.err)
    assert (tmp_path / "out" / "rocket.png").exists()


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README))
def test_what_the_readme_shows_is_there(link):
    assert (ROOT / link).exists()


def test_ci_runs_the_readmes_test_command():
    line = next(line for line in README.splitlines() if ".[test]" in line)
    assert line.startswith("python3 -m venv .venv && ")
    assert "pytest" in line
    assert r"pip install .*\[test\]" in (ROOT / ".ci" / "run").read_text()


def test_the_job_in_the_readme_is_a_job_of_ours():
    import tomllib

    shown = tomllib.loads(re.search(r"```toml\n(.*?)```", README, re.S)[1])
    assert shown == tomllib.loads((ROOT / "jobs" / "edges.toml").read_text())
