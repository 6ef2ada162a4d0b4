"""A stream's results do not depend on how the series is cut."""

import pickle
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import filterworks as fw
from filterworks.boundaries import BOUNDARIES
from filterworks.timeseries import SERIES_OPERATIONS, Options, Sampling, SeriesChain, stages

CHAINS = [
    "mean:window=5",
    "mean:window=40,boundary=mirror,nan_policy=propagate",
    "mean:window=6s,boundary=omit",
    "mean:window=3,boundary=constant | difference:lag=2",
    "gaussian:sigma=3s | mean:window=4",
    "gaussian:sigma=2,align=past,boundary=nearest",
    "triangular:window=9s,align=past",
    "binomial:window=4,boundary=wrap | median:window=30",
    "median:window=5s | kernel:taps=1/2/-4/3",
    "savgol:window=7s,order=2 | derivative",
    "savgol:window=11,order=3,boundary=omit",
    "exponential:halflife=3s | exponential:alpha=0.3,adjust=false",
    "exponential:span=4,nan_policy=propagate",
    "cumulative:function=mean | laplacian",
    "cumulative:function=sum,nan_policy=propagate",
    "derivative:per=min,align=past | cumulative:function=min",
    "matched:taps=0/2/5/1,threshold=0.5,nan_policy=omit",
]
EVEN_CHAINS = [
    "lowpass:cutoff=0.2Hz,boundary=mirror",
    "highpass:cutoff=1/4s,taps=9 | dog",
    "savgol:window=5,derivative=1",
]


def pushed(stream, values, cuts, seconds=None):
    """The result of pushing `values` cut at `cuts`."""
    edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    parts = [stream.push(values[a:b], None if seconds is None else seconds[a:b]) for a, b in pairwise(edges)]
    return np.concatenate([*parts, stream.finish()])


def series(size, seed, regular=True):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.normal(size=(size, 2)), axis=0)
    x[rng.random(x.shape) < 0.1] = np.nan
    steps = np.ones(size) if regular else rng.exponential(size=size) + 1e-3
    return x, np.cumsum(steps), Sampling(regular, 1.0)


@pytest.mark.parametrize(
    ("chain", "regular"),
    [*((chain, regular) for chain in CHAINS for regular in (True, False)), *((c, True) for c in EVEN_CHAINS)],
)
@settings(deadline=None, max_examples=25)
@given(size=st.integers(0, 90), seed=st.integers(0, 9), cuts=st.lists(st.integers(0, 90), max_size=12))
def test_any_partition_gives_identical_bits(chain, regular, size, seed, cuts):
    x, seconds, sampling = series(size, seed, regular)
    parsed, answers = SeriesChain.parse(chain), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "BLOCK", 8)
        patch.setattr(stages, "_LONG", seed)  # blocks of half a window, or of a whole one
        for places in ([], cuts, range(size)):
            stream = parsed.stream(2, sampling, Options(fill=seed % 2 == 0))
            answers.append((pushed(stream, x, places, seconds), stream.report))
    whole, report = answers[0]
    assert whole.shape == x.shape
    for parts, other in answers[1:]:
        assert parts.tobytes() == whole.tobytes()
        assert other == report


@pytest.mark.parametrize("chain", [*CHAINS, *EVEN_CHAINS])
def test_the_whole_series_at_once_is_the_same_but_for_rounding(chain, monkeypatch):
    x, seconds, sampling = series(500, 3)
    whole = pushed(SeriesChain.parse(chain).stream(2, sampling), x, [], seconds)
    monkeypatch.setattr(stages, "BLOCK", 8)
    monkeypatch.setattr(stages, "_LONG", 4)
    blocks = pushed(SeriesChain.parse(chain).stream(2, sampling), x, range(0, 500, 7), seconds)
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-11 * np.nanmax(np.abs(whole)))


@pytest.mark.parametrize(
    "chain",
    [
        "mean:window=1001",
        "gaussian:sigma=300",
        "median:window=9 | exponential:alpha=0.01",
        "median:window=1000",
    ],
)
def test_real_blocks_are_cut_alike(chain):
    x = np.random.default_rng(0).normal(size=(150_000, 2))
    x[70_000:70_010, 1] = np.nan
    parsed = SeriesChain.parse(chain)
    whole = pushed(parsed.stream(2), x, [])
    parts = pushed(parsed.stream(2), x, [1, 2, 65_535, 65_536, 66_000, 131_072, 149_999])
    assert whole.tobytes() == parts.tobytes()


def test_results_come_as_soon_as_they_are_determined(monkeypatch):
    monkeypatch.setattr(stages, "BLOCK", 8)
    stream = SeriesChain.parse("mean:window=5").stream(1)
    sizes = [len(stream.push([[float(i)]])) for i in range(20)]
    assert sizes == [0] * 9 + [8] + [0] * 7 + [8, 0, 0]
    assert len(stream.finish()) == 4


def test_memory_stays_flat():
    stream = SeriesChain.parse("mean:window=101 | gaussian:sigma=25").stream(1)
    for _ in range(60):
        stream.push(np.ones((50_000, 1)))
        held = sum(stage._history.count - stage._history.base for _, stage in stream._stages)
        assert held < 400_000


def test_the_caller_may_use_its_array_again():
    x = np.arange(10.0)[:, None]
    stream = SeriesChain.parse("mean:window=1").stream(1)
    stream.push(x)
    x[:] = -1
    np.testing.assert_array_equal(stream.finish()[:, 0], np.arange(10.0))


def test_the_report_counts_what_is_missing_and_filled():
    x = np.ones((20, 3))
    x[5, 0] = x[6, 0] = x[10:, 1] = np.nan
    stream = SeriesChain.parse("mean:window=3").stream(3, options=Options(fill=True))
    pushed(stream, x, [4, 6, 11])
    assert (stream.report.samples, stream.report.missing) == (20, [2, 10, 0])
    assert stream.report.filled == [2, 1, 0]
    kept = SeriesChain.parse("mean:window=3").stream(3)
    pushed(kept, x, [4, 6, 11])
    assert kept.report.filled == [0, 0, 0]


@pytest.mark.parametrize(
    ("chain", "sampling", "message"),
    [
        ("difference | mean:window=6", Sampling(), "mean: its window of 6 samples is longer than the series of 5"),
        ("mean:window=9s", Sampling(False, 1.0), "mean: its window of 9 s is longer than the series, which lasts 8 s"),
        ("mean:window=5 | exponential:span=99", Sampling(), None),
    ],
)  # fmt: skip
def test_windows_longer_than_the_series_are_reported(chain, sampling, message):
    stream = SeriesChain.parse(chain).stream(1, sampling)
    pushed(stream, np.ones((5, 1)), [3], np.array([0, 1, 3, 4, 8.0]))
    assert stream.report.short == message


def test_an_empty_series_has_an_empty_result():
    for chain in (*CHAINS, *EVEN_CHAINS):
        stream = SeriesChain.parse(chain).stream(2, Sampling(step=1.0))
        assert stream.push(np.empty((0, 2)), []).shape == (0, 2)
        assert stream.finish().shape == (0, 2)
        assert stream.report.short is None


def test_chains_are_written_as_they_are_read():
    for chain in (*CHAINS, *EVEN_CHAINS):
        parsed = SeriesChain.parse(chain)
        assert str(parsed) == chain
        assert SeriesChain.parse(str(parsed)) == parsed
        tables = [{"name": step.name, **dict(step.parameters)} for step in parsed.steps]
        assert SeriesChain.from_steps(tables) == parsed
        travelled = pickle.loads(pickle.dumps(parsed))
        assert travelled == parsed
        assert travelled.needs_time == parsed.needs_time
    assert SeriesChain.of(["mean:window=3", "median:window=5 | derivative"]).steps[2].name == "derivative"


@pytest.mark.parametrize(
    ("chain", "needs", "uses"),
    [
        ("mean:window=5", False, False),
        ("mean:window=5s", True, True),
        ("mean:window=5 | lowpass:cutoff=0.1", False, True),
        ("lowpass:cutoff=0.1Hz", True, True),
        ("lowpass:cutoff=0.1,transition=1mHz", True, True),
        ("derivative", False, True),
        ("derivative:per=sample", False, False),
        ("derivative:per=s", True, True),
        ("savgol:window=5", False, False),
        ("savgol:window=5,derivative=1", False, True),
        ("savgol:window=5,derivative=1,per=sample", False, False),
        ("savgol:window=5,derivative=1,per=s", True, True),
        ("exponential:halflife=3", False, False),
        ("exponential:halflife=3s", True, True),
    ],
)
def test_needs_and_uses_time(chain, needs, uses):
    parsed = SeriesChain.parse(chain)
    assert (parsed.needs_time, parsed.uses_time) == (needs, uses)


def test_every_filter_says_what_it_does():
    for name, operation in SERIES_OPERATIONS.items():
        assert operation.summary.endswith("."), name
        assert len(operation.summary) < 110, name


@pytest.mark.parametrize("chain", CHAINS)
def test_blocks_may_be_smaller_where_many_series_are_at_work(chain):
    x, seconds, sampling = series(300, 1, regular=False)
    parsed = SeriesChain.parse(chain)
    expected = pushed(parsed.stream(2, sampling), x, [], seconds)
    whole = pushed(parsed.stream(2, sampling, block=16), x, [], seconds)
    parts = pushed(parsed.stream(2, sampling, block=16), x, range(0, 300, 5), seconds)
    assert whole.tobytes() == parts.tobytes()
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-11 * np.nanmax(np.abs(expected)))


@settings(deadline=None, max_examples=150)
@given(
    taps=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    size=st.integers(1, 40),
    seed=st.integers(0, 99),
    boundary=st.sampled_from(BOUNDARIES),
    policy=st.sampled_from(["omit", "propagate"]),
    past=st.booleans(),
)
def test_a_kernel_means_what_correlate_means(taps, size, seed, boundary, policy, past):
    x, _, _ = series(size, seed)
    origin = (len(taps) - 1) // 2 if past else 0
    expected = fw.correlate(x, taps, axes=0, mode="same", boundary=boundary, nan_policy=policy, origin=origin)
    options = Options("past" if past else "center", boundary, policy, fill=True)
    chain = SeriesChain.from_steps([{"name": "kernel", "taps": taps}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "BLOCK", 8)
        got = pushed(chain.stream(2, options=options), x, range(0, size, 3))
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


def test_bits_do_not_depend_on_what_the_process_did_before():
    code = (
        "import numpy as np, sys\n"
        "if sys.argv[1] == 'warm': import scipy.fft\n"
        "from filterworks.timeseries import SeriesChain\n"
        "x = np.random.default_rng(0).normal(size=(70_000, 1))\n"
        "sys.stdout.buffer.write(SeriesChain.parse('gaussian:sigma=300')(x).tobytes())"
    )
    cold, warm = (
        subprocess.run([sys.executable, "-c", code, start], capture_output=True, check=True).stdout
        for start in ("cold", "warm")
    )
    assert len(cold) == 8 * 70_000
    assert cold == warm


LINEAR = [
    "mean:window=5",
    "gaussian:sigma=1",
    "gaussian:sigma=25,boundary=omit",
    "gaussian:sigma=200",
    "gaussian:sigma=30,order=1",
    "binomial:window=5,nan_policy=propagate",
    "triangular:window=31",
    "savgol:window=51,order=3",
    "savgol:window=101,derivative=1",
    "lowpass:cutoff=0.01,taps=2001",
    "bandpass:low=0.05,high=0.1",
    "kernel:taps=1/2/-4/3",
    "kernel:taps=1/2/-4/3,nan_policy=omit",
    "laplacian",
    "difference",
    "derivative",
    "exponential:alpha=0.1",
]


@pytest.mark.parametrize("chain", LINEAR)
@pytest.mark.parametrize(("rows", "columns"), [(37, 5), (1000, 17), (5000, 3)])
def test_a_column_is_filtered_as_if_it_were_alone(chain, rows, columns):
    """Neither the number of columns nor what stands in the others decides its last bit."""
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, columns))
    x[rng.random(rows) < 0.05, -1] = np.nan
    x[rows // 2, 1] = 1e9  # large values rule engines out
    together = fw.series(x, chain)
    for column in range(columns):
        alone = fw.series(x[:, column], chain)
        np.testing.assert_array_equal(together[:, column], alone, strict=True)


@pytest.mark.parametrize("rows", [1, 90, 700])
@pytest.mark.parametrize("chain", [
    "mean:window=5", "mean:window=51", "gaussian:sigma=3", "gaussian:sigma=60,boundary=omit", "binomial:window=5",
    "kernel:taps=1/2/-4/3,nan_policy=omit", "kernel:taps=1/1/1/1/1/1/1/1/1/1/1/1/1/1", "savgol:window=7",
])  # fmt: skip
def test_one_of_many_short_columns_is_filtered_as_if_it_were_alone(chain, rows):
    """Columns are filtered in groups, which share neither what is missing nor what is infinite."""
    rng = np.random.default_rng(rows)
    x = rng.normal(size=(rows, 1201))
    x[rng.random(x.shape) < 0.005] = np.nan
    x[rng.random(x.shape) < 0.001] = np.inf
    x[rng.random(x.shape) < 0.001] = -1.7e308
    together = fw.series(x, chain, allow_infinite=True)
    for column in (*range(0, 1200, 60), *range(360, 370), 1200):
        alone = fw.series(x[:, column], chain, allow_infinite=True)
        np.testing.assert_array_equal(together[:, column], alone, strict=True)
