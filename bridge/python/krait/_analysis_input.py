"""What krait.analysis accepts, turned into plain float64 columns, times and durations, or refused with a reason.

Everything here reads its input only: an array may be memory a C program lends for one call, so nothing is written to
it and nothing is remembered after the call. What comes out may still be the caller's memory; results must not be.
It refuses text, complex numbers and times where numbers are wanted, ragged rows, empty data, NaT and unsorted times.
"""

import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Data: TypeAlias = Any
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Ints: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]
Bools: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]

_FLOAT64 = np.dtype(np.float64)

# Own names for units of time: pandas has renamed its aliases (M and H against ME and h).
_UNITS = {"ns": "ns", "us": "us", "ms": "ms", "s": "s", "min": "m", "h": "h", "D": "D", "W": "W", "M": "M"}
_TIME_UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns")
_FREQUENCY = re.compile(r"\s*(\d*)\s*([A-Za-z]+)\s*")


def as_columns(data: Data, name: str = "data") -> tuple[Floats, int]:
    """Columns of `data` as C-contiguous float64 (columns, rows), and the dimensions `data` had: 1 or 2.

    Column-major because every statistic here runs along a column: contiguous, it is three times faster and numpy sums
    it pairwise. The array may share memory with `data`: read it, never write to it.
    """
    values = data if type(data) is np.ndarray and data.dtype == _FLOAT64 else _as_floats(data, name)
    if values.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {values.ndim} dimensions, shape {values.shape}; expected 2 (rows x columns) or 1 (one column)"
        )
    if values.size == 0:
        raise ValueError(f"{name} is empty, shape {values.shape}; expected at least one row and one column")
    return (np.ascontiguousarray(values.T) if values.ndim == 2 else np.ascontiguousarray(values)[None, :]), values.ndim


def as_vector(data: Data, name: str, rows: int | None = None) -> Floats:
    """One column of numbers as float64; a matrix with one column counts. May share memory with `data`."""
    columns, _ = as_columns(data, name)
    if len(columns) != 1:
        raise ValueError(f"{name} has {len(columns)} columns; expected one column of numbers")
    if rows is not None:
        same_length(name, columns.shape[1], rows)
    vector: Floats = columns[0]
    return vector


def as_table(data: Data, name: str = "data") -> dict[str, Array] | None:
    """Named columns of a DataFrame, a mapping of arrays or a structured array; None when `data` has no names."""
    if isinstance(data, Mapping):
        table = {str(key): _column(value, f"{name}[{str(key)!r}]") for key, value in data.items()}
    elif isinstance(data, np.ndarray) and data.dtype.names is not None:
        table = {field: _column(data[field], f"{name}[{field!r}]") for field in data.dtype.names}
    elif _is_frame(data):
        labels = [str(label) for label in data.columns]
        if len(set(labels)) != len(labels):
            raise ValueError(f"{name} has columns of the same name among {labels}; expected different names")
        table = {label: _plain(data.iloc[:, at]) for at, label in enumerate(labels)}
    else:
        return None
    if not table:
        raise ValueError(f"{name} has no columns; expected at least one")
    rows = len(next(iter(table.values())))
    for key, column in table.items():
        same_length(f"{name}[{key!r}]", len(column), rows)
    return table


def as_keys(keys: Data, rows: int, name: str = "by") -> Array:
    """One key per row, of any dtype."""
    column = _column(keys, name)
    same_length(name, len(column), rows)
    return column


def as_times(times: Data, name: str = "time", rows: int | None = None) -> Array:
    """Sorted times as one-dimensional datetime64 in the unit they came in; times with a zone become UTC instants."""
    array = _plain(times)
    if array.dtype.kind == "O":
        array = _from_datetimes(array, name)
    if array.dtype.kind != "M" or np.datetime_data(array.dtype)[0] not in _TIME_UNITS:
        raise TypeError(f"{name} is {array.dtype}; expected datetime64 with a unit from years to nanoseconds")
    if array.ndim != 1:
        raise ValueError(f"{name} has {array.ndim} dimensions, shape {array.shape}; expected 1")
    if array.size == 0:
        raise ValueError(f"{name} is empty; expected at least one time")
    if rows is not None:
        same_length(name, array.size, rows)
    _check_order(array, name)
    return array


def as_ticks(times: Array, unit: str) -> tuple[Ints, str]:
    """Times as whole numbers since 1970, in `unit` or their own if that is finer, and the name of that unit."""
    finer = np.datetime_data(np.result_type(times.dtype, np.dtype(f"datetime64[{unit}]")))[0]
    try:
        exact = times.astype(f"datetime64[{finer}]", copy=False)
        fits = (exact[[0, -1]].astype(times.dtype) == times[[0, -1]]).all()  # sorted: if the ends fit, all do
    except OverflowError:  # numpy 2.5; older ones wrap round in silence
        fits = False
    if not fits:
        raise ValueError(f"times from {times[0]} to {times[-1]} do not fit 64 bits in unit {finer!r}")
    return exact.view(np.int64), finer


def ticks_in(count: int, unit: str, finer: str) -> int:
    """How many ticks of `finer` a duration has."""
    ticks = count * int(np.timedelta64(1, unit).astype(f"timedelta64[{finer}]").astype(np.int64))  # type: ignore
    if ticks >= 2**62:
        raise ValueError(f"a duration of {count} {unit} does not fit 64 bits in unit {finer!r}")
    return ticks


def as_duration(window: Any) -> tuple[int, str]:
    """A positive duration from text such as '60s', numpy.timedelta64 or datetime.timedelta: a count and its unit."""
    if isinstance(window, str):
        count, unit = parse_frequency(window, "window")
    else:
        try:
            duration = np.timedelta64(window)
        except (TypeError, ValueError):
            raise TypeError(f"window is {_show(window)}; expected rows, or a duration such as '60s'") from None
        unit, multiple = np.datetime_data(duration.dtype)
        count = int(duration.astype(np.int64)) * multiple
    if count < 1 or unit in ("M", "Y") or unit not in _TIME_UNITS:
        raise ValueError(f"window is {_show(window)}; expected a positive duration of fixed length, as in '60s', '30D'")
    return count, unit


def parse_frequency(text: str, name: str = "frequency") -> tuple[int, str]:
    """('5min') -> (5, 'm'): a count and numpy's name of the unit. Weeks end on Sunday, 'M' is calendar months."""
    if not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}; expected text such as '5min'")
    match = _FREQUENCY.fullmatch(text)
    unit = _UNITS.get(match[2]) if match else None
    count = int((match and match[1]) or 1)
    if unit is None or not 1 <= count < 2**31:
        raise ValueError(
            f"{name} {text!r} is not known; expected a count from 1 and one of {', '.join(_UNITS)}, as in '5min', '1W'"
        )
    return count, unit


def whole(value: Any, name: str, low: int) -> int:
    """`value` as an int that is at least `low`; a float, even 2.0, is refused."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {_show(value)}; expected a whole number, at least {low}") from None
    if number < low:
        raise ValueError(f"{name} is {number}; expected at least {low}")
    return number


def names(value: str | Sequence[str], name: str) -> list[str]:
    """One name, several separated by commas, or a sequence of names."""
    listed = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
    if not listed or not all(isinstance(part, str) and part for part in listed):
        raise ValueError(f"{name} is {_show(value)}; expected one or more names")
    if len(set(listed)) != len(listed):
        raise ValueError(f"{name} is {_show(value)}; a name stands there twice")
    return [str(part) for part in listed]


def same_length(name: str, got: int, expected: int) -> None:
    """Refuse columns that do not belong together."""
    if got != expected:
        raise ValueError(f"{name} has {got} rows, the other data has {expected}; all must have the same length")


def _column(data: Data, name: str) -> Array:
    column = _plain(data)
    if column.ndim != 1:
        raise ValueError(f"{name} has {column.ndim} dimensions, shape {column.shape}; a column must have 1")
    return column


def _plain(data: Data) -> Array:
    """A numpy array of `data`, whatever its type; missing values of nullable and masked arrays become NaN or NaT."""
    dtype = getattr(data, "dtype", None)
    if hasattr(data, "to_numpy") and not isinstance(dtype, np.dtype):  # pandas' own dtypes
        kind = getattr(dtype, "kind", "O")
        if kind in "iufb":
            return np.asarray(data.to_numpy(dtype=_FLOAT64, na_value=np.nan))
        if kind == "M":  # with a zone: the stored instants, which are UTC
            unit = getattr(dtype, "unit", "ns")
            return np.asarray(data.to_numpy(dtype=np.dtype(f"datetime64[{unit}]")))
        return np.asarray(data.to_numpy(dtype=object))
    if isinstance(dtype, np.dtype) and hasattr(data, "filled"):  # a masked array: asarray would uncover what it hides
        return np.asarray(data.astype(_FLOAT64).filled(np.nan) if dtype.kind in "iufb" else data.filled())
    return np.asarray(data)


def _is_frame(data: Data) -> bool:
    return hasattr(data, "columns") and hasattr(data, "iloc")


def _as_floats(data: Data, name: str) -> Floats:
    """Any accepted data as float64 (rows, columns) or (rows,)."""
    if _is_frame(data):
        values = np.asarray(data.to_numpy())
        if values.dtype.kind in "iufb":  # the usual frame: one block, no detour by its columns
            return values.astype(_FLOAT64, copy=False)
    table = as_table(data, name)
    if table is not None:
        return _stack(table, name)
    try:
        array = _plain(data)
    except ValueError:
        raise ValueError(f"{name} {_ragged(data)}; expected rows of the same length") from None
    return _to_floats(array, name)


def _to_floats(array: Array, name: str) -> Floats:
    if array.dtype.kind in "iufb":
        return array.astype(_FLOAT64, copy=False)
    if array.dtype.kind != "O":
        raise TypeError(f"{name} is {array.dtype}; expected numbers")
    flat = [_number(value, name) for value in array.ravel().tolist()]
    return np.array(flat, dtype=_FLOAT64).reshape(array.shape)


def _number(value: Any, name: str) -> float:
    """One object as a float. None and pandas' NA are missing; text is not read as a number, however it looks."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return float("nan")
    if isinstance(value, (str, bytes)) or not (hasattr(value, "__float__") or hasattr(value, "__index__")):
        raise TypeError(f"{name} holds {_show(value)}; expected numbers")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} holds {_show(value)}; expected numbers") from None


def _stack(table: dict[str, Array], name: str) -> Floats:
    """The columns of a table as (rows, columns), laid out column-major so that no second copy follows."""
    columns = np.empty((len(table), len(next(iter(table.values())))))
    for at, (key, column) in enumerate(table.items()):
        columns[at] = _to_floats(column, f"{name}[{key!r}]")
    return columns.T


def _from_datetimes(array: Array, name: str) -> Array:
    """Python's datetime and date objects as microseconds; those with a zone become UTC."""
    moments = [m.replace(tzinfo=None) - m.utcoffset() if getattr(m, "tzinfo", None) else m for m in array.ravel()]
    if not all(hasattr(moment, "toordinal") for moment in moments):
        wrong = next(moment for moment in moments if not hasattr(moment, "toordinal"))
        raise TypeError(f"{name} holds {_show(wrong)}; expected datetime64 values")
    return np.array(moments, dtype="datetime64[us]").reshape(array.shape)


def _check_order(times: Array, name: str) -> None:
    missing = np.isnat(times)
    if missing.any():
        raise ValueError(f"{name} is NaT (not a time) in row {int(missing.argmax())}; drop such rows first")
    back = times[1:] < times[:-1]
    if back.any():
        row = int(back.argmax()) + 1
        raise ValueError(f"{name} is not sorted: row {row} ({times[row]}) is before row {row - 1} ({times[row - 1]})")


def _ragged(data: Data) -> str:
    """Say which row of a list of rows is the odd one."""
    lengths = [len(row) if hasattr(row, "__len__") and not isinstance(row, str) else -1 for row in data]
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            of_row, of_first = ("no" if n < 0 else str(n) for n in (length, lengths[0]))
            return f"is ragged: row {row} has {of_row} values, row 0 has {of_first}"
    return "is not a matrix: its rows hold sequences of different lengths"


def _show(value: Any) -> str:
    text = repr(value)
    return f"{text if len(text) <= 60 else text[:57] + '...'} ({type(value).__name__})"
