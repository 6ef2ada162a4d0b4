import datetime

import numpy as np
import pandas as pd
import polars as pl
import pytest

import filterworks as fw
from filterworks.errors import ArgumentError, ArgumentTypeError, FilterworksError
from filterworks.timeseries import OrderError, SampleError, Sampling, SeriesChain

CHAIN = "kernel:taps=1/2/-4/3"


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    start = datetime.datetime(2024, 3, 1, tzinfo=datetime.UTC)
    return {
        "when": [start + datetime.timedelta(seconds=i // 2 * 0.5) for i in range(40)],
        "sensor": ["a", "b"] * 20,
        "level": rng.normal(size=40).tolist(),
        "count": rng.integers(0, 100, size=40).tolist(),
        "good": [True, False] * 20,
    }


@pytest.mark.parametrize("shape", [(50,), (50, 3), (0,), (0, 2), (7, 0)])
def test_arrays_are_filtered_along_their_first_axis(shape):
    x = np.random.default_rng(0).normal(size=shape)
    got = fw.series(x, CHAIN)
    assert got.shape == shape
    assert type(got) is np.ndarray
    if x.size:
        np.testing.assert_array_equal(got, SeriesChain.parse(CHAIN)(x))
    assert SeriesChain.parse(CHAIN)(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        ("float32", "float32"),
        ("int16", "float32"),
        ("uint8", "float32"),
        ("int32", "float64"),
        ("float64", "float64"),
    ],
)
def test_the_dtype_rule_is_that_of_the_package(dtype, result):
    x = np.arange(9, dtype=dtype)
    assert fw.series(x, "mean:window=3").dtype == result
    assert fw.convolve(x, [1, 2]).dtype == result
    assert fw.series(pl.Series(x), "mean:window=3").to_numpy().dtype == result
    assert fw.series(pd.Series(x), "mean:window=3").dtype == result


def test_times_of_arrays(table):
    x = np.arange(6.0) ** 2
    expected = np.gradient(x, 0.5)
    for time in (np.arange(6) * 0.5, np.datetime64("2024-01-01") + np.arange(6) * np.timedelta64(500, "ms")):
        np.testing.assert_allclose(fw.series(x, "derivative", time=time), expected)
    uneven = np.array([0, 1, 2, 4, 8, 16.0])
    np.testing.assert_allclose(fw.series(x, "derivative", time=uneven), np.gradient(x, uneven))


def frames(table):
    return pl.DataFrame(table), pd.DataFrame(table)


def test_frames_keep_their_type_and_other_columns(table):
    for frame in frames(table):
        got = fw.series(frame, "mean:window=3", by="sensor")
        assert type(got) is type(frame)
        assert list(got.columns) == list(frame.columns)
        for name in ("when", "sensor", "good"):
            assert got[name].equals(frame[name])
        for name in ("level", "count"):
            for group in range(2):
                x = np.array(table[name], dtype=float)[group::2]
                np.testing.assert_array_equal(
                    got[name].to_numpy()[group::2], SeriesChain.parse("mean:window=3")(x)
                )
        assert frame["level"].to_list() == table["level"]


def test_chosen_columns_and_suffixes(table):
    for frame in frames(table):
        got = fw.series(frame, "mean:window=3", by=["sensor"], columns="count", suffix="_smooth")
        assert list(got.columns) == [*frame.columns, "count_smooth"]
        assert got["count"].to_list() == table["count"]
        assert got["level"].to_list() == table["level"]


def test_the_only_column_of_dates_is_the_time(table):
    for frame in frames(table):
        got = fw.series(frame, "derivative", by="sensor", columns=["level"])
        expected = np.gradient(np.array(table["level"])[::2], 0.5)
        np.testing.assert_allclose(got["level"].to_numpy()[::2], expected)
        named = fw.series(frame, "derivative", by="sensor", columns=["level"], time="when")
        assert named["level"].to_list() == got["level"].to_list()


def test_a_pandas_index_stays_and_tells_the_time(table):
    index = pd.date_range("2024-01-01", periods=40, freq="500ms", tz="Europe/Berlin")
    frame = pd.DataFrame({"level": table["level"]}, index=index)
    got = fw.series(frame, "derivative")
    pd.testing.assert_index_equal(got.index, index)
    np.testing.assert_allclose(got["level"], np.gradient(table["level"], 0.5))
    column = fw.series(frame["level"], "mean:window=2s", align="past", boundary="omit")
    pd.testing.assert_series_equal(column, frame["level"].rolling("2s").mean())


def test_series_keep_their_name(table):
    x = table["level"]
    expected = SeriesChain.parse(CHAIN)(np.array(x))
    for column in (pl.Series("level", x), pd.Series(x, name="level", index=range(5, 45))):
        got = fw.series(column, CHAIN)
        assert type(got) is type(column)
        assert got.name == "level"
        np.testing.assert_array_equal(got.to_numpy(), expected)
        assert fw.series(column, CHAIN, suffix="_x").name == "level_x"
    assert fw.series(pd.Series(x), CHAIN).name is None
    times = np.arange(40) * 0.1
    got = fw.series(pl.Series(x), "gaussian:sigma=0.3s", time=times)
    np.testing.assert_array_equal(
        got.to_numpy(), SeriesChain.parse("gaussian:sigma=0.3s")(np.array(x), sampling=Sampling(step=0.1))
    )


def test_gaps_stay_what_they_were():
    with_null = fw.series(pl.DataFrame({"x": [1.0, None, 3, 5], "n": [1, 2, None, 4]}), "mean:window=3")
    assert with_null["x"].to_list() == [1.0, None, 4.0, 13 / 3]
    assert with_null["n"].null_count() == 1
    with_nan = fw.series(pl.DataFrame({"x": [1.0, float("nan"), 3, 5]}), "mean:window=3")
    assert with_nan["x"].null_count() == 0
    assert np.isnan(with_nan["x"].to_list()[1])
    assert fw.series(pl.DataFrame({"n": [1, 2]}), "difference")["n"].to_list() == [None, 1.0]
    nullable = pd.Series([1, None, 3, 5], dtype="Int64")
    assert fw.series(nullable, "mean:window=3").dtype == "Float64"
    assert fw.series(nullable, "mean:window=3").isna().to_list() == [False, True, False, False]
    arrow = pd.Series([1.0, None, 3, 5], dtype="double[pyarrow]")
    assert fw.series(arrow, "mean:window=3").dtype == "double[pyarrow]"
    filled = fw.series(pl.Series([1.0, None, 3, 5]), "mean:window=3", fill=True)
    assert filled.to_list() == [1.0, 2.0, 4.0, 13 / 3]


def test_interleaved_groups_are_series_of_their_own():
    x = np.random.default_rng(0).normal(size=90)
    keys = np.random.default_rng(1).integers(0, 3, size=90)
    for frame in (pl.DataFrame({"k": keys, "x": x}), pd.DataFrame({"k": keys, "x": x})):
        got = fw.series(frame, "exponential:alpha=0.5", by="k")["x"].to_numpy()
        for key in range(3):
            expected = pd.Series(x[keys == key]).ewm(alpha=0.5).mean().to_numpy()
            np.testing.assert_allclose(got[keys == key], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [pl.DataFrame, pd.DataFrame])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "wen"}, "unknown column 'wen': did you mean 'when'"),
        ({"columns": ["levl"]}, "unknown column 'levl': did you mean 'level'"),
        ({"by": "sensr"}, "unknown column 'sensr': did you mean 'sensor'"),
        ({"columns": "good"}, "column 'good' holds no numbers"),
        ({"columns": "sensor"}, "column 'sensor' holds no numbers"),
        ({"columns": "level", "by": "level"}, "column 'level' is time or group and cannot be filtered as well"),
        ({"columns": ["level", "level"]}, "`columns` must be distinct names"),
        ({"columns": []}, "`columns` must be distinct names"),
        ({"by": ["level", "count"], "time": "when"}, "no column holds numbers"),
        ({"by": "sensor", "suffix": ""}, "there is a column 'level' already; choose another `suffix`"),
        ({}, "column 'when': the time of row 1 repeats that of the sample before it; sort the data first, or tell its series apart with `by`"),
        ({"by": "sensor", "chain": "lowpass:cutoff=2"}, "lowpass: `cutoff` must be below the Nyquist frequency, 1 Hz"),
        ({"time": [1, 2, 3]}, r"`time` must be one time for each of the 40 samples; got 'shape \(3,\)'"),
        ({"time": "sensor"}, "`time` must be dates, spans of time, or numbers that are seconds; got"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(table, kind, options, message):
    options = {"chain": "mean:window=3", **options}
    with pytest.raises(ArgumentError, match=message):
        fw.series(kind(table), **options)


def test_places_of_bad_samples_are_those_of_the_frame(table):
    table["level"][13] = np.inf
    for frame in frames(table):
        with pytest.raises(
            SampleError, match="column 'level', row 13 is infinite, which only allow_inf"
        ) as caught:
            fw.series(frame, "mean:window=3", by="sensor")
        assert caught.value.index == 13
    table["when"][20] = table["when"][4]
    with pytest.raises(OrderError, match="column 'when': the time of row 20 is earlier than") as misplaced:
        fw.series(pl.DataFrame(table), "mean:window=3", by="sensor")
    assert misplaced.value.index == 20
    table["when"][20] = None
    for frame in frames(table):
        with pytest.raises(OrderError, match=r"column 'when': the time of row 20 is missing$"):
            fw.series(frame, "mean:window=3", by="sensor")


def test_other_refusals(table):
    with pytest.raises(ArgumentError, match="`columns` needs a frame with named columns"):
        fw.series([1.0, 2], "mean:window=3", columns="a")
    with pytest.raises(ArgumentError, match="`suffix` needs a frame"):
        fw.series([1.0, 2], "mean:window=3", suffix="_a")
    with pytest.raises(ArgumentError, match="`time` must be one time per sample for an array; got 'a'"):
        fw.series([1.0, 2], "mean:window=3", time="a")
    with pytest.raises(ArgumentError, match="`time` must be one time per sample for a series; got 'a'"):
        fw.series(pl.Series([1.0, 2]), "mean:window=3", time="a")
    with pytest.raises(ArgumentError, match="`data` must be real, of one or two axes"):
        fw.series(np.zeros((2, 2, 2)), "mean:window=3")
    with pytest.raises(ArgumentError, match="`data` must be real"):
        fw.series([1j], "mean:window=3")
    with pytest.raises(ArgumentError, match="`data` is a lazy frame; collect it first"):
        fw.series(pl.LazyFrame(table), "mean:window=3")
    with pytest.raises(ArgumentError, match="two columns are named 'a'"):
        fw.series(pd.DataFrame([[1, 2]], columns=["a", "a"]), "mean:window=3")
    with pytest.raises(
        ArgumentError, match="`chain` must be text such as mean:window=5, or a SeriesChain; got 3"
    ):
        fw.series([1.0], 3)
    with pytest.raises(SampleError, match="row 1 of column 0 is missing"):
        fw.series([1, np.nan], "mean:window=3", nan_policy="raise")


def test_empty_frames_stay_empty(table):
    for frame in frames({name: column[:0] for name, column in table.items()}):
        frame = (
            frame.assign(level=frame["level"].astype(float))
            if isinstance(frame, pd.DataFrame)
            else frame.cast({"level": pl.Float64})
        )
        got = fw.series(frame, "mean:window=3", by="sensor", columns="level")
        assert got.shape == frame.shape


def test_many_new_columns_of_pandas_come_at_once():
    frame = pd.DataFrame(np.arange(600.0).reshape(3, 200), index=[1, 1, 2])
    frame.attrs["origin"] = "here"
    result = fw.series(frame, "mean:window=1", suffix="_smooth")  # pandas warns if they come one by one
    assert list(result.columns) == [*range(200), *(f"{n}_smooth" for n in range(200))]
    assert result.attrs == frame.attrs
    assert list(result.index) == [1, 1, 2]
    np.testing.assert_array_equal(result.to_numpy()[:, 200:], frame.to_numpy())


def test_the_name_of_the_columns_stays():
    columns = pd.Index(["a", "b"], name="sensor")
    result = fw.series(pd.DataFrame(np.eye(2), columns=columns), "mean:window=1", suffix="_s")
    assert result.columns.name == "sensor"
    assert list(result.columns) == ["a", "b", "a_s", "b_s"]


def test_names_in_several_levels_get_the_suffix_in_the_last():
    columns = pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")], names=["place", "what"])
    result = fw.series(pd.DataFrame(np.eye(2), columns=columns), "mean:window=1", suffix="_s")
    assert list(result.columns) == [("a", "x"), ("a", "y"), ("a", "x_s"), ("a", "y_s")]
    assert list(result.columns.names) == ["place", "what"]


@pytest.mark.parametrize("times", [
    [datetime.datetime(2024, 1, 1, hour) for hour in range(3)],
    [datetime.datetime(2024, 1, 1, 2 + hour, tzinfo=datetime.timezone(datetime.timedelta(hours=2))) for hour in range(3)],
    pd.date_range("2024-01-01", periods=3, freq="h", tz="Europe/Berlin"),
    pd.period_range("2024-01-01", periods=3, freq="h"),
    pl.Series([datetime.time(hour) for hour in range(3)]).cast(pl.Duration("ns")),
])  # fmt: skip
def test_times_of_an_array_come_in_every_type(times):
    np.testing.assert_allclose(fw.series([0.0, 1, 4], "derivative:per=h", time=times), [1, 2, 3])


HOURS = [datetime.timedelta(hours=hour) for hour in range(3)]


@pytest.mark.parametrize("times", [
    HOURS,
    np.arange(3).astype("timedelta64[h]"),
    [np.timedelta64(hour * 60, "m") for hour in range(3)],
    [pd.Timedelta(span) for span in HOURS],
    pd.to_timedelta(HOURS),
    pd.Series(HOURS, dtype=object),
    pl.Series(HOURS),
    [datetime.time(hour) for hour in range(3)],
    pl.Series([datetime.time(hour) for hour in range(3)]),
])  # fmt: skip
def test_spans_of_time_are_times_of_an_array(times):
    np.testing.assert_array_equal(fw.series([0.0, 1, 4], "derivative:per=h", time=times), [1, 2, 3])


def test_times_of_pandas_keep_their_nanoseconds_in_a_list():
    for first in (pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-01", tz="Asia/Tokyo"), pd.Timedelta(0)):
        times = [first + pd.Timedelta(n, "ns") for n in (0, 1, 3)]
        result = fw.series([0.0, 1, 5], "derivative:per=ns,align=past", time=times)
        np.testing.assert_allclose(result[1:], [1, 2])


@pytest.mark.parametrize("nothing", [None, pd.NaT, float("nan")])
@pytest.mark.parametrize("times", [HOURS, list(pd.date_range("2024-01-01", periods=3))])
def test_a_time_of_a_list_that_is_missing_is_named(times, nothing):
    with pytest.raises(FilterworksError, match="the time of sample 1 is missing"):
        fw.series([0.0, 1, 4], "derivative", time=[times[0], nothing, times[2]])


def test_times_with_and_without_a_zone_are_not_mixed():
    times = [datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 2, tzinfo=datetime.UTC)]
    with pytest.raises(FilterworksError, match="have a zone with times that have none"):
        fw.series([0.0, 1], "derivative", time=times)


def test_periods_and_times_of_the_day_are_times():
    values = pd.Series([0.0, 1, 4], index=pd.period_range("2024-01-01", periods=3, freq="D"))
    result = fw.series(values, "derivative:per=d")
    assert result.tolist() == [1, 2, 3]
    assert result.index.equals(values.index)
    frame = pl.DataFrame({"at": [datetime.time(hour) for hour in range(3)], "x": [0.0, 1, 4]})
    assert fw.series(frame, "derivative:per=h")["x"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_samples_have_no_step_and_need_none(count):
    index = pd.date_range("2024-01-01", periods=count, freq="h", tz="UTC")
    frame = pd.DataFrame({"x": np.ones(count)}, index=index)
    for chain in ("mean:window=3h", "gaussian:sigma=1h", "median:window=1h", "exponential:halflife=1h"):
        assert fw.series(frame, chain).equals(frame)


@pytest.mark.parametrize(
    "data", [pd.Index([1.0, 2.0]), pd.date_range("2024-01-01", periods=3), pd.Timestamp("2024-01-01")]
)
def test_what_is_neither_series_nor_frame_is_refused(data):
    with pytest.raises(ArgumentError, match="`data` must be an array, or a series or frame; got"):
        fw.series(data, "mean:window=3")


CENTURIES = np.arange("1700", "2020", dtype="M8[Y]")


@pytest.mark.parametrize("times", [
    CENTURIES,
    CENTURIES.astype("M8[us]"),
    CENTURIES.astype("M8[ns]"),
    list(CENTURIES.astype("M8[us]")),
    CENTURIES.astype("M8[us]").tolist(),
    pd.Series(CENTURIES.astype("M8[us]")),
    pd.Series(CENTURIES.astype("M8[ns]")),
    pd.DatetimeIndex(CENTURIES.astype("M8[us]"), tz="UTC"),
    pd.period_range("1700", periods=320, freq="Y"),
    pd.Series(CENTURIES.astype("M8[us]")).astype("timestamp[us][pyarrow]"),
    pd.Series(CENTURIES.astype("M8[us]")).astype("date32[pyarrow]"),
    pl.Series(CENTURIES.astype("M8[us]")),
    CENTURIES.astype("M8[s]") - CENTURIES[:1].astype("M8[s]"),
    pd.TimedeltaIndex(CENTURIES.astype("M8[s]") - CENTURIES[:1].astype("M8[s]")),
], ids=lambda times: f"{type(times).__module__}.{getattr(times, 'dtype', type(times).__name__)}")  # fmt: skip
def test_times_may_be_centuries_apart(times):
    x = np.arange(320.0) ** 2
    expected = np.gradient(x, CENTURIES.astype("M8[D]").astype(float))
    np.testing.assert_allclose(fw.series(x, "derivative:per=d", time=times, jitter=0), expected, rtol=1e-9)
    if isinstance(times, pd.Series | pd.Index):
        for frame in (pd.DataFrame({"x": x, "at": times}), pd.DataFrame({"x": x}, index=pd.Index(times))):
            np.testing.assert_allclose(
                fw.series(frame, "derivative:per=d", jitter=0)["x"], expected, rtol=1e-9
            )


def test_times_that_differ_by_more_than_their_unit_can_count_stay_exact():
    times = np.array([-(2**63) + 1, -(2**63) + 4, 0, 2**63 - 2], "m8[ns]")
    got = fw.series(np.arange(4.0), "derivative:per=ns,align=past", time=times)
    np.testing.assert_allclose(got[1:], 1 / np.array([3, 2.0**63, 2.0**63]), rtol=1e-9)


def test_months_are_times_as_dates_but_not_as_spans():
    x = np.arange(12.0) ** 2
    months = np.arange("2020-01", "2021-01", dtype="M8[M]")
    expected = np.gradient(x, months.astype("M8[D]").astype(float))
    for times in (months, list(months), months.astype(object), [*months[:6], *months[6:].astype("M8[D]")]):
        np.testing.assert_allclose(
            fw.series(x, "derivative:per=d", time=times, jitter=0), expected, rtol=1e-12
        )
    for unit in "MY":
        spans = np.arange(12).astype(f"m8[{unit}]")
        for times in (spans, list(spans), np.array([*spans, None], object)[:12]):
            with pytest.raises(ArgumentTypeError, match="months or years, which have no fixed length"):
                fw.series(x, "derivative", time=times)


def test_dates_of_numpy_may_stand_in_a_list():
    moments = np.datetime64("2024-01-01", "ns") + np.arange(4) * np.timedelta64(1, "h")
    objects = np.empty(4, object)
    objects[:] = list(moments)
    mixed = [
        moments[0].astype("M8[D]"),
        datetime.datetime(2024, 1, 1, 1),
        moments[2],
        pd.Timestamp(moments[3]),
    ]
    for times in (objects, list(objects), mixed):
        got = fw.series([0.0, 1, 4, 9], "derivative:per=h", time=times)
        np.testing.assert_array_equal(got, np.gradient([0.0, 1, 4, 9]))
    objects[2] = np.datetime64("NaT")
    with pytest.raises(OrderError, match="the time of sample 2 is missing"):
        fw.series([0.0, 1, 4, 9], "derivative", time=objects)


def test_a_date_that_the_finest_unit_of_a_list_does_not_reach_is_refused():
    times = np.empty(2, object)
    times[:] = [np.datetime64("1500-01-01"), np.datetime64("2024-01-01T00:00:00.000000001")]
    with pytest.raises(ArgumentError, match="`time` mixes 1500-01-01 with times in ns, which do not reach"):
        fw.series([0.0, 1], "derivative", time=times)


@pytest.mark.parametrize("nothing", [None, pd.NaT, np.datetime64("NaT"), np.timedelta64("NaT"), float("nan")])
def test_times_that_are_all_missing_are_named(nothing):
    times = np.empty(6, object)
    times[:] = [nothing] * 6
    for given in (times, [nothing] * 6):
        with pytest.raises(OrderError, match="the time of sample 0 is missing"):
            fw.series(np.arange(6.0), "derivative", time=given)
