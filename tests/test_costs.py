"""The cost model: fitted constants, where they are kept, and what the planner makes of them."""

import json
import math

import numpy as np
import pytest

import filterworks as fw
from filterworks import calibration, convolution, costs, planner
from filterworks.engine import ENGINES
from filterworks.request import DEFAULTS, make_request


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    costs.current.cache_clear()
    planner.forget_estimates()
    yield tmp_path
    monkeypatch.undo()
    costs.current.cache_clear()
    planner.forget_estimates()


def problem(shape=(300, 400), size=(5, 5), dtype="float32", **options):
    x = np.zeros(shape, dtype)
    kernel = np.random.default_rng(0).random(size)
    return make_request(x, kernel, False, {**DEFAULTS, **options})[0].problem


@pytest.mark.parametrize("case", [
    problem(), problem((5000,), (33,), "float64"), problem((20, 30, 40), (3, 3, 3)), problem(stride=2, dilation=3),
    problem((40, 50, 3), axes=(0, 1), dtype="uint8"), problem((70, 5), (9,), axes=0),
])  # fmt: skip
def test_every_kind_of_work_has_a_cost(case):
    for name, engine in ENGINES.items():
        if engine.refusal(case) is None:
            work = engine.work(case)
            assert set(work) <= set(costs.SHIPPED[name])
            assert all(amount >= 0 and math.isfinite(amount) for amount in work.values())
            assert costs.seconds(name, work) > 0
    assert costs.SHIPPED.keys() == ENGINES.keys()


def test_constants_are_kept_for_this_machine_and_forgotten(cache):
    assert costs.current() == costs.SHIPPED
    mine = {name: {key: 2 * value for key, value in table.items()} for name, table in costs.SHIPPED.items()}
    path = costs.keep(mine)
    assert path.is_relative_to(cache)
    assert [p.name for p in path.parent.iterdir()] == ["costs.json"]
    assert costs.current() == mine
    assert costs.seconds("plain", {"call": 3.0}) == 6 * costs.SHIPPED["plain"]["call"]
    assert costs.forget() is True
    assert costs.forget() is False
    assert costs.current() == costs.SHIPPED


@pytest.mark.parametrize("damage", [
    lambda c: "", lambda c: "[]", lambda c: "{nonsense", lambda c: json.dumps({**c, "machine": "another"}),
    lambda c: json.dumps({**c, "version": 0}), lambda c: json.dumps({**c, "costs": {"plain": {}}}),
    lambda c: json.dumps({**c, "costs": None}),
    lambda c: json.dumps({**c, "costs": {**c["costs"], "plain": {**c["costs"]["plain"], "call": -1.0}}}),
    lambda c: json.dumps({**c, "costs": {**c["costs"], "plain": {**c["costs"]["plain"], "call": math.nan}}}),
    lambda c: json.dumps({**c, "costs": {**c["costs"], "plain": {**c["costs"]["plain"], "call": "fast"}}}),
])  # fmt: skip
def test_unusable_constants_are_ignored(cache, damage):
    path = costs.keep(costs.SHIPPED)
    assert costs.calibrated() == costs.SHIPPED
    path.write_text(damage(json.loads(path.read_text())))
    costs.current.cache_clear()
    assert costs.calibrated() is None
    assert costs.current() is costs.SHIPPED


def test_constants_that_cannot_be_kept_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        costs.keep(costs.SHIPPED)
    assert costs.current() == costs.SHIPPED


def synthetic(truth):
    """Samples whose times are exactly what some constants say."""
    cases = [
        problem((n, n + 7), (k, k), t)
        for n in (50, 300, 900)
        for k in (3, 9, 25)
        for t in ("float32", "float64")
    ]
    cases += [problem((n,), (k,), t) for n in (10**4, 10**6) for k in (5, 65) for t in ("float32", "float64")]
    cases += [problem((n, n, 3), (k, k), "uint8", axes=(0, 1)) for n in (60, 500) for k in (3, 7)]
    samples = []
    for case in cases:
        times = {
            name: sum(truth[name][key] * amount for key, amount in engine.work(case).items())
            for name, engine in ENGINES.items()
            if engine.refusal(case) is None
        }
        samples.append(calibration.Sample("synthetic", case, times))
    return samples


def test_a_fit_finds_the_constants_that_made_the_times():
    rng = np.random.default_rng(3)
    truth = {
        name: {key: value * rng.uniform(0.5, 2) for key, value in table.items()}
        for name, table in costs.SHIPPED.items()
    }
    samples = synthetic(truth)
    fitted = calibration.fit(samples)
    assert fitted.keys() == truth.keys()
    for ratio, _, _ in calibration.regret(samples, fitted):
        assert ratio == pytest.approx(1, abs=0.02)
    worse = calibration.regret(
        samples, {**costs.SHIPPED, "direct": dict.fromkeys(costs.SHIPPED["direct"], 0.0)}
    )
    assert worse[0][0] > 1.5
    assert [r for r, _, _ in worse] == sorted((r for r, _, _ in worse), reverse=True)
    assert calibration.mean_regret(worse) > calibration.mean_regret(calibration.regret(samples, truth)) == 1.0


def test_the_planner_follows_the_constants(cache):
    case = problem()
    x = np.zeros(case.shape, np.float32)
    with planner.expecting_many():
        for favourite in ("opencv", "direct", "plain"):
            mine = {
                name: {key: value * (1e-6 if name == favourite else 1.0) for key, value in table.items()}
                for name, table in costs.SHIPPED.items()
            }
            costs.keep(mine)
            planner.forget_estimates()
            plan = planner.choose(case, "auto", lambda: x)
            assert plan.engine == favourite
            assert plan.estimates[favourite] == min(plan.estimates.values())


def test_an_engine_is_started_once_it_would_have_paid(monkeypatch):
    starts = {"direct": 0.1, "separable": 0.1}
    for name in starts:
        monkeypatch.setattr(ENGINES[name], "start_seconds", lambda: 0.1)
    monkeypatch.setattr(planner, "_STARTING", planner._Starting())
    case = problem((400, 600), (11, 11))
    saving = sorted(planner._estimates_of(case).values())
    saving = planner._estimates_of(case)["opencv"] - saving[0]
    chosen = [planner.choose(case, "auto").engine for _ in range(int(0.1 / saving) + 3)]
    first = chosen.index("direct")
    assert set(chosen[:first]) == {"opencv"}
    assert set(chosen[first:]) == {"direct"}
    assert first == pytest.approx(0.1 / saving, abs=1)
    with planner.expecting_many():
        monkeypatch.setattr(planner, "_STARTING", planner._Starting())
        assert planner.choose(case, "auto").engine == "direct"


def test_one_large_problem_starts_an_engine_at_once(monkeypatch):
    monkeypatch.setattr(ENGINES["direct"], "start_seconds", lambda: 0.01)
    monkeypatch.setattr(planner, "_STARTING", planner._Starting())
    assert planner.choose(problem((4000, 5000), (15, 15)), "auto").engine == "direct"


def test_a_repeated_call_is_remembered_but_not_its_mistakes():
    x, kernel = np.ones((20, 30), np.float32), np.arange(6.0).reshape(2, 3)
    first = fw.correlate(x, kernel, boundary="mirror")
    before = convolution._recall.cache_info().hits
    np.testing.assert_array_equal(fw.correlate(2 * x, kernel, boundary="mirror"), 2 * first)
    assert convolution._recall.cache_info().hits == before + 1
    fw.correlate(x, kernel, stride=1, origin=0)
    for wrong in (
        {"origin": False},
        {"stride": True},
        {"stride": 1.0},
        {"mode": "Same"},
        {"boundary": "reflect"},
    ):
        for _ in range(2):
            with pytest.raises((ValueError, TypeError)):
                fw.correlate(x, kernel, **wrong)
