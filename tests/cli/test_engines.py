import math
import re

import pytest

from filterworks import calibration, costs, planner


@pytest.fixture
def few(monkeypatch, tmp_path):
    """A cache of our own, and the three smallest problems instead of all."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cases = sorted(calibration._cases(), key=lambda case: math.prod(case[1]) * math.prod(case[4]))
    monkeypatch.setattr(calibration, "_cases", lambda: iter(cases[:3]))
    costs.current.cache_clear()
    yield tmp_path / "cache"
    monkeypatch.undo()
    costs.current.cache_clear()
    planner.forget_estimates()


def test_calibrate_keeps_constants_that_explain_uses(few, command, photos):
    shown = command("calibrate")
    assert shown.code == 0
    assert re.search(r"^before: .* on the mean, \d\.\d\d at worst", shown.out, re.M)
    assert re.search(r"^after: ", shown.out, re.M)
    assert shown.err.count(" ms by ") == 3
    kept = list(few.rglob("costs.json"))
    assert f"kept in {kept[0]}" in shown.out
    explained = command("explain", photos / "face.jpg", "-f", "sobel")
    assert "in one pass" in explained.out
    for image, other in (("face.jpg", "gaussian:sigma=1"), ("cells/float.tiff", "sobel")):
        assert "in one pass" not in command("explain", photos / image, "-f", other).out
    assert f"constants of the estimates: from {kept[0]}" in explained.out
    assert "back to the shipped" in command("calibrate", "--reset").out
    assert "nothing was calibrated" in command("calibrate", "--reset").out
    assert list(few.rglob("costs.json")) == []


def test_calibrate_can_only_look(few, command):
    assert command("calibrate", "--dry-run").code == 0
    assert list(few.rglob("costs.json")) == []


def test_calibrate_says_when_it_cannot_keep(few, command):
    few.write_text("a file where the folder would be")
    shown = command("calibrate")
    assert shown.code == 1
    assert "error: the constants cannot be kept" in shown.err
    assert "Traceback" not in shown.err


def test_explain_warns_where_the_planner_chose_wrong(command, photos, monkeypatch):
    shown = command("explain", photos / "face.jpg", "-f", "gaussian:sigma=3")
    assert re.search(r"separable +\d+\.\d{3} ms estimated +\d+\.\d{3} ms measured", shown.out)
    # All in reach of each other, and the slowest made out to be the fastest.
    wrong = {name: {**dict.fromkeys(table, 0.0), "call": 2e-3} for name, table in costs.SHIPPED.items()}
    wrong["plain"]["call"] = 1e-3
    monkeypatch.setattr(costs, "current", lambda: wrong)
    planner.forget_estimates()
    try:
        shown = command("explain", photos / "face.jpg", "-f", "gaussian:sigma=3")
    finally:
        monkeypatch.undo()
        planner.forget_estimates()
    assert "engine: plain" in shown.out
    assert re.search(r"warning: \w+ was \d+\.\d times faster; try `filterworks calibrate`", shown.out)
