"""The frames of polars and pandas, seen alike: columns by name, groups of rows, times.

Neither library is imported unless one of its frames comes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from filterworks.arguments import Array, compute_dtype
from filterworks.errors import ArgumentError


class Frame(Protocol):
    """A frame of either library.

    Attributes
    ----------
    names
        Of its columns, in order.
    """

    names: list[Any]

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers; truth values are none."""

    def is_temporal(self, name: str) -> bool:
        """Return whether a column holds times."""

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column's numbers, NaN where they are missing."""

    def times(self, name: str | None) -> Array | None:
        """Return a column's times; None: those of the index, if it has any."""

    def groups(self, by: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each row's group."""

    def replaced(self, results: Mapping[str, tuple[str, NDArray[np.float64]]]) -> Any:
        """Return a frame of the same kind with new columns: name → source column and values."""


def library(data: object) -> str:
    """Return which library `data` belongs to.

    Examples
    --------
    >>> library(np.zeros(3))
    'numpy'
    """
    return type(data).__module__.partition(".")[0]


class PolarsFrame:
    """A polars DataFrame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names: list[Any] = frame.columns

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers."""
        return bool(self._frame.schema[name].is_numeric())

    def is_temporal(self, name: str) -> bool:
        """Return whether a column holds times."""
        return bool(self._frame.schema[name].is_temporal())

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column's numbers, NaN where they are missing."""
        import polars  # its frames come from there

        return np.asarray(self._frame[name].cast(polars.Float64).to_numpy())

    def times(self, name: str | None) -> Array | None:
        """Return a column's times."""
        import polars

        if name is None:
            return None
        column = self._frame[name]
        if column.dtype == polars.Time:  # of which NumPy knows nothing
            column = column.cast(polars.Duration("ns"))
        return np.asarray(column.to_numpy())

    def groups(self, by: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each row's group."""
        import polars

        ranks = self._frame.select(polars.struct(by).rank("dense"))
        return np.asarray(ranks.to_series().to_numpy(), dtype=np.int64)

    def replaced(self, results: Mapping[str, tuple[str, NDArray[np.float64]]]) -> Any:
        """Return a frame with new columns; a gap is null unless the source marks gaps by NaN."""
        import polars

        columns = []
        for name, (source, values) in results.items():
            old = self._frame[source]
            marks_by_nan = old.dtype.is_float() and not old.null_count()
            column = polars.Series(name, values)
            if not marks_by_nan:
                column = column.fill_nan(None)
            columns.append(column.cast(_polars_dtype(old.dtype)))
        return self._frame.with_columns(columns)


def _polars_dtype(dtype: Any) -> Any:
    import polars

    small = (polars.Float32, polars.Int8, polars.UInt8, polars.Int16, polars.UInt16)
    return polars.Float32 if dtype in small else polars.Float64


class PandasFrame:
    """A pandas DataFrame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame
        self.names: list[Any] = list(frame.columns)
        counts = Counter(self.names)
        for name in self.names:
            if counts[name] > 1:
                raise ArgumentError(f"two columns are named {name!r}; rename one of them")

    def is_numeric(self, name: str) -> bool:
        """Return whether a column holds numbers."""
        import pandas

        dtype = self._frame[name].dtype
        types = pandas.api.types
        return bool(
            types.is_numeric_dtype(dtype)
            and not types.is_bool_dtype(dtype)
            and not types.is_complex_dtype(dtype)
        )

    def is_temporal(self, name: str) -> bool:
        """Return whether a column holds times."""
        return _is_pandas_time(self._frame[name].dtype)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Return a column's numbers, NaN where they are missing."""
        return np.asarray(self._frame[name].to_numpy(dtype=np.float64, na_value=np.nan))

    def times(self, name: str | None) -> Array | None:
        """Return a column's times; None: those of the index, if it has any."""
        column = self._frame.index if name is None else self._frame[name]
        if name is None and not _is_pandas_time(column.dtype):
            return None
        return pandas_times(column)

    def groups(self, by: Sequence[str]) -> NDArray[np.int64]:
        """Return the number of each row's group."""
        return np.asarray(self._frame.groupby(list(by), sort=False, dropna=False).ngroup(), dtype=np.int64)

    def replaced(self, results: Mapping[str, tuple[str, NDArray[np.float64]]]) -> Any:
        """Return a frame with new columns, nullable where their source is."""
        import pandas

        frame, added = self._frame.copy(), {}
        for name, (source, values) in results.items():
            column = _pandas_column(values, self._frame[source])
            if source == name:
                frame[name] = column
            else:
                added[name] = column
        if not added:
            return frame
        # All at once: one by one pandas makes a piece of memory for each, and warns.
        more = pandas.concat(list(added.values()), axis=1)
        more.columns = list(added)
        both = pandas.concat([frame, more], axis=1).__finalize__(frame)
        both.columns.names = frame.columns.names
        return both


def pandas_times(column: Any) -> Array:
    """Return times of pandas in their own unit, dates as ``datetime64`` whatever their zone."""
    import pandas

    if isinstance(column.dtype, pandas.PeriodDtype):
        try:
            column = pandas.PeriodIndex(column).to_timestamp()
        except pandas.errors.OutOfBoundsDatetime as error:
            raise ArgumentError(f"a period is too far from 1970 to be a time: {error}") from None
    if _is_pandas_time(column.dtype):
        return np.asarray(column.to_numpy(dtype=f"{column.dtype.kind}8[{_pandas_unit(column.dtype)}]"))
    return np.asarray(column.to_numpy())


def _pandas_unit(dtype: Any) -> str:
    """Return the unit of times: of a dtype of NumPy, of Arrow, or of dates that have a zone."""
    if isinstance(dtype, np.dtype):
        return np.datetime_data(dtype)[0]
    inner = getattr(dtype, "pyarrow_dtype", dtype)
    # Arrow's dates alone have none, and are days, or milliseconds that are whole days.
    return str(getattr(inner, "unit", "D"))


def _is_pandas_time(dtype: Any) -> bool:
    import pandas

    types = pandas.api.types
    return bool(
        types.is_datetime64_any_dtype(dtype)
        or types.is_timedelta64_dtype(dtype)
        or isinstance(dtype, pandas.PeriodDtype)
    )


def _pandas_column(values: NDArray[np.float64], source: Any) -> Any:
    import pandas

    column = pandas.Series(values, index=source.index)
    if isinstance(source.dtype, np.dtype):
        return column.astype(compute_dtype(source.dtype))
    arrow = isinstance(source.dtype, pandas.ArrowDtype)
    return column.astype("double[pyarrow]" if arrow else "Float64")
