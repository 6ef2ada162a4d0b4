"""One call for what is in memory already: arrays, and the frames of polars and pandas."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from filterworks.arguments import Array, NanPolicy, as_number, as_signal, compute_dtype
from filterworks.distances import distances
from filterworks.errors import ArgumentError, ArgumentTypeError, must, unknown
from filterworks.timeseries.adapters import Frame, PandasFrame, PolarsFrame, library, pandas_times
from filterworks.timeseries.chain import SeriesChain
from filterworks.timeseries.options import Align, Options
from filterworks.timeseries.sampling import JITTER, OrderError, Sampling, recognise
from filterworks.timeseries.stream import SampleError

Names = str | Sequence[str] | None
_NO_LENGTH = "`time` counts months or years, which have no fixed length; give days or seconds, or dates"


def series(
    data: Any,
    chain: str | SeriesChain,
    *,
    time: str | ArrayLike | None = None,
    columns: Names = None,
    by: Names = None,
    align: Align = "center",
    boundary: str = "symmetric",
    nan_policy: NanPolicy | None = None,
    fill: bool = False,
    suffix: str | None = None,
    allow_infinite: bool = False,
    jitter: float = JITTER,
) -> Any:
    """Filter along time and return the same type: an array, or a frame or series of polars or pandas.

    Parameters
    ----------
    data
        Array (sample,) or (sample, column), or a frame.
    chain
        Filters such as ``"mean:window=5min | derivative"``; their names are in `SERIES_OPERATIONS`.
    time
        The column of the time, or one time per sample: dates, spans of time, or numbers that are
        seconds. A frame's only column of dates is taken unless another is named, or pandas' index of
        dates.
    columns
        The columns to filter; all that hold numbers, but for `time` and `by`, unless named.
    by
        Columns whose values tell several series apart; each is filtered by itself.
    align
        ``center``: windows lie around the sample; ``past``: they end there (causal).
    boundary
        What lies outside; names in :mod:`filterworks.boundaries`.
    nan_policy
        None: filters that average omit missing samples, the others propagate them; or ``omit``,
        ``propagate``, ``raise``.
    fill
        Whether missing samples get the value of a filter that omits them.
    suffix
        Adds columns whose names end so, rather than replacing those that are filtered.
    allow_infinite
        Whether infinities are data; otherwise they are an error.
    jitter
        Share of a step by which the distance of two samples may differ in an even series.

    Returns
    -------
    same as `data`
        Floats: single precision for float32 and integers of 8 and 16 bits, double otherwise.

    Raises
    ------
    ArgumentError
        An argument is out of range, unknown or inconsistent with another.
    OrderError
        A time that is missing, repeated or earlier than the one before it.
    SampleError
        A sample that is infinite or missing where that is not allowed.

    Examples
    --------
    >>> series([1.0, 2, 6, np.nan, 9], "mean:window=3")
    array([1.33333333, 3.        , 4.        ,        nan, 9.        ])
    >>> series(np.array([0.0, 1, 4, 9]), "derivative", time=[0, 0.5, 1, 1.5], align="past")
    array([nan,  2.,  6., 10.])
    """
    parsed = chain if isinstance(chain, SeriesChain) else SeriesChain.parse(_as_text(chain))
    options = Options(align, boundary, nan_policy, fill, allow_infinite)
    as_number("jitter", jitter, 0, 1)
    kind = library(data)
    if kind not in ("polars", "pandas"):
        _check_none(columns=columns, by=by, suffix=suffix)
        return _array(data, parsed, options, time, jitter)
    if hasattr(data, "collect"):
        raise ArgumentTypeError("`data` is a lazy frame; collect it first")
    if not hasattr(data, "columns"):
        if not hasattr(data, "to_frame") or (kind == "pandas" and not hasattr(data, "index")):
            raise ArgumentTypeError(must("data", "an array, or a series or frame", type(data).__name__))
        _check_none(columns=columns, by=by)
        return _single(data, parsed, options, time, suffix, jitter)
    frame: Frame = PolarsFrame(data) if kind == "polars" else PandasFrame(data)
    return _frame(
        frame, parsed, options, (time, _listed("by", by), _listed("columns", columns)), suffix, jitter
    )


def _as_text(chain: object) -> str:
    if not isinstance(chain, str):
        raise ArgumentTypeError(must("chain", "text such as mean:window=5, or a SeriesChain", chain))
    return chain


def _check_none(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ArgumentError(f"`{name}` needs a frame with named columns; got {value!r}")


def _listed(name: str, names: Names) -> list[str] | None:
    if names is None or isinstance(names, str):
        return None if names is None else [names]
    listed = list(names)
    if not listed or len(set(listed)) != len(listed):
        raise ArgumentError(must(name, "distinct names, at least one", names))
    return listed


def _array(data: ArrayLike, chain: SeriesChain, options: Options, time: Any, jitter: float) -> Array:
    array = as_signal(data, "data")
    if array.ndim > 2 or array.dtype.kind == "c":
        raise ArgumentError(must("data", "real, of one or two axes", f"{array.dtype} of shape {array.shape}"))
    if isinstance(time, str):
        raise ArgumentError(must("time", "one time per sample for an array", time))
    rows = array.reshape(len(array), array.shape[1] if array.ndim == 2 else 1).astype(np.float64, copy=False)
    if not rows.shape[1]:
        return rows.astype(compute_dtype(array.dtype))
    seconds, sampling = _sampled(_as_seconds(time, len(rows)), jitter)
    result = _whole(chain, options, rows, seconds, sampling)
    return result.reshape(array.shape).astype(compute_dtype(array.dtype), copy=False)


def _single(
    data: Any, chain: SeriesChain, options: Options, time: Any, suffix: str | None, jitter: float
) -> Any:
    """Filter a series of polars or pandas by way of a frame of one column."""
    name = "values" if data.name is None else data.name
    frame: Frame
    if library(data) == "polars":
        frame = PolarsFrame(data.to_frame())
        name = data.name
    else:
        frame = PandasFrame(data.to_frame(name))
    if isinstance(time, str):
        raise ArgumentError(must("time", "one time per sample for a series", time))
    result = _frame(frame, chain, options, (time, None, [name]), None, jitter)[name]
    return result.rename(data.name if suffix is None else f"{data.name}{suffix}")


def _frame(
    frame: Frame,
    chain: SeriesChain,
    options: Options,
    roles: tuple[Any, list[str] | None, list[str] | None],
    suffix: str | None,
    jitter: float,
) -> Any:
    time, by, columns = roles
    name, times = _find_time(frame, time, [*(by or []), *(columns or [])])
    chosen = _choose(frame, columns, by or [], name)
    names = {one if suffix is None else _suffixed(one, suffix): one for one in chosen}
    if suffix is not None:
        for new in names:
            if new in frame.names:
                raise ArgumentError(f"there is a column {new!r} already; choose another `suffix`")
    rows = np.stack([frame.numbers(one) for one in chosen]).T
    seconds = _as_seconds(times, len(rows))
    results = np.empty_like(rows)
    for members in _members(frame, by, len(rows)):
        try:
            when, sampling = _sampled(None if seconds is None else seconds[members], jitter)
            results[members] = _whole(chain, options, rows[members], when, sampling)
        except OrderError as error:
            raise _placed(error, name, int(members[error.index])) from None
        except SampleError as error:
            row = int(members[error.index])
            message = f"column {chosen[error.column]!r}, row {row} {error.why}"
            raise SampleError(message, row, error.column, error.why) from None
    return frame.replaced({new: (old, results[:, k]) for k, (new, old) in enumerate(names.items())})


def _suffixed(name: Any, suffix: str) -> Any:
    """Return the name of a new column; of pandas' names in several levels the last one tells it."""
    return (*name[:-1], f"{name[-1]}{suffix}") if isinstance(name, tuple) else f"{name}{suffix}"


def _find_time(frame: Frame, time: Any, taken: list[str]) -> tuple[str | None, Any]:
    """Return the time's column, if it is one, and the times."""
    if isinstance(time, str):
        if time not in frame.names:
            raise ArgumentError(unknown("column", time, map(str, frame.names)))
        return time, frame.times(time)
    if time is not None:
        return None, time
    index = frame.times(None)
    if index is not None:
        return None, index
    found = [name for name in frame.names if name not in taken and frame.is_temporal(name)]
    return (found[0], frame.times(found[0])) if len(found) == 1 else (None, None)


def _choose(frame: Frame, columns: list[str] | None, by: list[str], time: str | None) -> list[str]:
    for name in [*by, *(columns or [])]:
        if name not in frame.names:
            raise ArgumentError(unknown("column", str(name), map(str, frame.names)))
    if columns is None:
        columns = [name for name in frame.names if name not in (*by, time) and frame.is_numeric(name)]
        if not columns:
            raise ArgumentError("no column holds numbers; name those to filter with `columns`")
    for name in columns:
        if name in (*by, time):
            raise ArgumentError(f"column {name!r} is time or group and cannot be filtered as well")
        if not frame.is_numeric(name):
            raise ArgumentError(f"column {name!r} holds no numbers")
    return columns


def _members(frame: Frame, by: list[str] | None, count: int) -> list[NDArray[np.intp]]:
    """Return the rows of each group."""
    if by is None or not count:
        return [np.arange(count)]
    numbers = frame.groups(by)
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _as_seconds(times: Any, count: int) -> NDArray[np.float64] | None:
    """Return times as seconds from the first; NaN where one is missing."""
    if times is None:
        return None
    array = pandas_times(times) if library(times) == "pandas" else np.asarray(times)
    if array.dtype.kind == "O" and array.ndim == 1:
        array = _from_objects(array)
    if array.shape != (count,):
        raise ArgumentError(must("time", f"one time for each of the {count} samples", f"shape {array.shape}"))
    if array.dtype.kind in "mM":
        return _since_first(array)
    if array.dtype.kind not in "iuf":
        raise ArgumentTypeError(
            must("time", "dates, spans of time, or numbers that are seconds", array.dtype.name)
        )
    return array.astype(np.float64)


def _since_first(times: Array) -> NDArray[np.float64]:
    """Return dates or spans of time as seconds from the first of them that is there."""
    is_date, unit = times.dtype.kind == "M", np.datetime_data(times.dtype)[0]
    if unit in ("Y", "M"):
        if not is_date:
            raise ArgumentTypeError(_NO_LENGTH)
        times = times.astype("datetime64[s]")
    absent = np.isnat(times)
    counts = times.view(np.int64)[~absent]
    seconds = np.full(times.shape, np.nan)
    if counts.size:
        # Seconds of a unit, or units of a second: whichever of them is whole.
        one, second = np.ones(1, times.dtype.str.replace("M", "m"))[0], np.timedelta64(1, "s")
        apart = distances(counts, int(counts[0]))
        seconds[~absent] = apart * (one / second) if one > second else apart / (second / one)
    return seconds


def _from_objects(array: Array) -> Array:
    """Return Python's dates, or spans of time, or times of the day, as NumPy's; other objects as they are."""
    absent = [one is None or one != one for one in array]  # NaT is not equal to itself
    there = [one for one, is_absent in zip(array, absent, strict=True) if not is_absent]
    convert: Callable[[Any], np.generic]
    if not there:
        return np.full(array.shape, np.nan)
    if all(isinstance(one, datetime.date | np.datetime64) for one in there):
        if len({getattr(one, "tzinfo", None) is None for one in there}) > 1:
            raise ArgumentError("`time` mixes times that have a zone with times that have none")
        convert = _moment
    elif all(isinstance(one, datetime.timedelta | np.timedelta64) for one in there):
        convert = _span
    elif all(isinstance(one, datetime.time) for one in there):
        convert = _since_midnight
    else:
        return array
    moments = [convert(one) for one in there]
    unit = np.result_type(*{moment.dtype for moment in moments})  # the finest of theirs
    found = np.full(array.shape, "NaT", unit)
    found[~np.array(absent)] = [_in_unit(moment, unit) for moment in moments]
    return found


def _in_unit(moment: np.generic, unit: np.dtype[Any]) -> np.generic:
    """Return a moment, or a span of time, in a finer unit."""
    if moment.dtype == unit:
        return moment
    try:
        found: np.generic | None = moment.astype(unit)
    except OverflowError:
        found = None
    # Older versions of NumPy do not tell.
    if found is None or found.astype(moment.dtype) != moment:
        raise ArgumentError(
            f"`time` mixes {moment} with times in {np.datetime_data(unit)[0]}, which do not reach that far; "
            "give all of them in a coarser unit"
        )
    return found


def _since_midnight(time: datetime.time) -> np.timedelta64:
    """Return a time of the day as a span of time."""
    naive = time.replace(tzinfo=None)
    return _span(datetime.datetime.combine(datetime.date.min, naive) - datetime.datetime.min)


def _moment(moment: datetime.date | np.datetime64) -> np.datetime64:
    """Return a moment in UTC where it has a zone; pandas' with its nanoseconds."""
    if isinstance(moment, np.datetime64):
        return moment.astype("datetime64[s]") if np.datetime_data(moment.dtype)[0] in ("Y", "M") else moment
    if hasattr(moment, "to_datetime64"):
        return cast("np.datetime64", moment.to_datetime64())
    if isinstance(moment, datetime.datetime) and moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "us")


def _span(span: datetime.timedelta | np.timedelta64) -> np.timedelta64:
    """Return a span of time; pandas' with its nanoseconds."""
    if hasattr(span, "to_timedelta64"):
        return cast("np.timedelta64", span.to_timedelta64())
    if not isinstance(span, np.timedelta64):
        return np.timedelta64(span, "us")
    if np.datetime_data(span.dtype)[0] in ("Y", "M"):
        raise ArgumentTypeError(_NO_LENGTH)
    return span


def _sampled(
    seconds: NDArray[np.float64] | None, jitter: float
) -> tuple[NDArray[np.float64] | None, Sampling]:
    return (None, Sampling()) if seconds is None else (seconds, recognise(seconds, jitter))


def _placed(error: OrderError, name: str | None, row: int) -> OrderError:
    where = "the time" if name is None else f"column {name!r}: the time"
    _, _, what = str(error).partition(f"of sample {error.index} ")
    advice = "" if "missing" in what else "; sort the data first, or tell its series apart with `by`"
    return OrderError(f"{where} of row {row} {what}{advice}", row)


def _whole(
    chain: SeriesChain,
    options: Options,
    rows: NDArray[np.float64],
    seconds: NDArray[np.float64] | None,
    sampling: Sampling,
) -> NDArray[np.float64]:
    if seconds is not None:
        sampling = chain.known(sampling)
    return chain.stream(rows.shape[1], sampling, options).whole(rows, seconds)
