"""Tables of a C program as pandas DataFrames; lib/frame_in.c calls it.

The arrays handed in lie over the C program's memory. Numbers, bools and times in a unit that pandas has are taken as
they are; docs/types.md tells what else is copied. Private to libkrait.
"""

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from krait import Error

# KRAIT_COLUMN_..., and a column whose rows C has made objects of
_ARRAY, _TEXT, _CATEGORY, _OBJECTS = 1, 2, 4, 7
# The kind, the name, and what else the function takes that makes this kind: see _MAKERS
Column: TypeAlias = tuple[Any, ...]
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

_MAJOR = int(pd.__version__.partition(".")[0])
_NAT = np.iinfo(np.int64).min
_MOST = np.iinfo(np.int64).max

# Ticks of a second, seconds of a unit, months of a unit.
_FINE = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_COARSE = {"W": 7 * 86400, "D": 86400, "h": 3600, "m": 60}
_CALENDAR = {"Y": 12, "M": 1}
# What pandas keeps; the first is for those that are coarser.
UNITS = ("s", "ms", "us", "ns") if _MAJOR >= 2 else ("ns",)
UNIT_BITS = sum(1 << {"s": 7, "ms": 8, "us": 9, "ns": 10}[unit] for unit in UNITS)  # KRAIT_S, KRAIT_MS, ...

MISSING_TEXT = np.nan  # as read_csv and pandas' `str` have it


def arrow_text() -> bool:
    """Whether pandas itself keeps text as Arrow arrays, which can lie over other memory."""
    return _MAJOR >= 3 and pd.StringDtype(na_value=np.nan).storage == "pyarrow"


def frame(columns: tuple[Column, ...], levels: tuple[Column, ...], rows: int) -> pd.DataFrame:
    """A frame of any columns; those that are plain arrays with distinct names need not come here."""
    index = _index(levels) if levels else None if columns else pd.RangeIndex(rows)
    names = [column[1] for column in columns]
    distinct = len(set(names)) == len(names)
    keys = names if distinct else range(len(names))
    made = pd.DataFrame({key: _values(column) for key, column in zip(keys, columns, strict=True)}, index, copy=False)
    if not distinct:
        made.columns = pd.Index(names)
    return made


def _index(levels: tuple[Column, ...]) -> pd.Index:
    values = [_level(level) for level in levels]
    names = [level[1] or None for level in levels]
    if len(levels) > 1:
        return pd.MultiIndex.from_arrays(values, names=names)
    return _labels(values[0], names[0])


def _labels(values: Any, name: str | None) -> pd.Index:
    objects = values.dtype == object  # not to be guessed at
    return pd.Index(values, name=name, copy=False, dtype=object if objects else None)


def _level(level: Column) -> Any:
    values = _values(level)
    return values.astype(np.float32) if values.dtype == np.float16 else values  # pandas has no index of float16


def _values(column: Column) -> Any:
    return _MAKERS[column[0]](*column[1:])


def _objects(name: str, values: Array, text: bool) -> Any:
    """Objects made in C; texts only where there is no Arrow."""
    if text and _MAJOR >= 3:
        return pd.array(values, dtype=pd.StringDtype("python", na_value=np.nan), copy=False)
    return values


def _text(name: str, rows: int, offsets: Array, data: Array, bits: Array | None) -> Any:
    import pyarrow as pa  # pandas has imported it

    kind = pa.string() if offsets.dtype == np.int32 else pa.large_string()
    buffers = [None if bits is None else pa.py_buffer(bits), pa.py_buffer(offsets), pa.py_buffer(data)]
    # Of 32-bit offsets pandas makes 64-bit ones; the text itself stays where it is.
    return _arrow_dtype().__from_arrow__(pa.Array.from_buffers(kind, rows, buffers))


@functools.cache
def _arrow_dtype() -> pd.StringDtype:
    return pd.StringDtype("pyarrow", na_value=np.nan)


def _category(name: str, codes: Array, mask: Array | None, dictionary: Column, ordered: bool) -> Any:
    codes = _native(codes)
    if mask is not None and mask.any():
        codes = codes.copy()
        codes[mask] = -1
    categories = _labels(_level(dictionary), None)
    if not categories.is_unique or categories.hasnans:  # Arrow allows both, pandas neither
        place, categories = pd.factorize(categories)
        codes = np.append(place, -1)[codes]
    return pd.Categorical.from_codes(codes, categories=categories, ordered=ordered)


def _array(name: str, values: Array, mask: Array | None, zone: str | None) -> Any:
    values = _native(values)
    kind = values.dtype.kind
    if kind in "mM":
        return _times(name, _filled(values, mask, np.array("NaT", values.dtype)), zone)
    if mask is None:
        return values
    if kind in "iu":
        return pd.arrays.IntegerArray(values, mask, copy=False)
    if kind == "b":
        return pd.arrays.BooleanArray(values, mask, copy=False)
    if values.dtype in (np.float32, np.float64):
        return pd.arrays.FloatingArray(values, mask, copy=False)
    return _filled(values, mask, np.nan)  # float16, complex: pandas has no masked arrays of them


def _native(values: Array) -> Array:
    """A copy where the bytes stand in the other order, or an element at an odd address: most of pandas refuses both."""
    if values.dtype.isnative and values.flags.aligned:
        return values
    return values.astype(values.dtype.newbyteorder("="))


def _filled(values: Array, mask: Array | None, missing: Any) -> Array:
    if mask is None or not mask.any():
        return values
    values = values.copy()
    values[mask] = missing
    return values


def _times(name: str, values: Array, zone: str | None) -> Any:
    unit, count = np.datetime_data(values.dtype)
    if count != 1 or unit not in UNITS:
        values = _rescaled(name, values, unit, count)
    return values if zone is None or values.dtype.kind == "m" else _zoned(name, values, zone)


def _zoned(name: str, values: Array, zone: str) -> Any:
    try:
        dtype = pd.DatetimeTZDtype(np.datetime_data(values.dtype)[0], zone)
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise Error(f"column '{name}': there is no time zone '{zone}'", "KRAIT_E_ARGUMENT") from error
    return pd.array(values.view(np.int64), dtype=dtype, copy=False)  # numbers are taken for UTC


def _rescaled(name: str, values: Array, unit: str, count: int) -> Array:
    """The same times in a unit that pandas has. numpy's own casts wrap around in silence."""
    target = unit if unit in UNITS else UNITS[0]
    dtype = f"{values.dtype.kind}8[{target}]"
    ticks, bad = values.view(np.int64), np.zeros(len(values), bool)
    if unit in _CALENDAR and values.dtype.kind == "M":
        ticks, bad = _days(ticks, _CALENDAR[unit] * count)
        unit, count = "D", 1
    if unit in _FINE:
        factor = count * _FINE[target] // _FINE[unit]
    elif unit in _COARSE:
        factor = count * _COARSE[unit] * _FINE[target]
    else:
        cure = "years and months have no fixed length: give days" if unit in _CALENDAR else "its finest unit is ns"
        raise Error(f"column '{name}': pandas has no {values.dtype}: {cure}", "KRAIT_E_UNSUPPORTED")
    ticks, beyond = _scaled(ticks, factor, _MOST)
    bad |= beyond
    if bad.any():
        row = int(bad.argmax())
        got = f"{values.view(np.int64)[row]} of {values.dtype}"
        raise Error(f"column '{name}', row {row}: {got} is beyond {dtype}, which pandas needs", "KRAIT_E_RANGE")
    return ticks.view(dtype)


def _days(ticks: Array, months: int) -> tuple[Array, Array]:
    """Days since 1970 of dates that count so many months, and which rows are far beyond what days can tell."""
    scaled, bad = _scaled(ticks, months, 10**13)  # numpy's calendar is exact up to there
    return scaled.view("M8[M]").astype("M8[D]").view(np.int64), bad


def _scaled(ticks: Array, factor: int, most: int) -> tuple[Array, Array]:
    """Ticks times factor, NaT kept, and which rows would be beyond `most`."""
    nat = ticks == _NAT
    limit = most // factor
    bad = ((ticks > limit) | (ticks < -limit)) & ~nat
    scaled = ticks * np.int64(min(factor, _MOST))  # beyond that only 0 is good
    scaled[nat] = _NAT
    return scaled, bad


_MAKERS: dict[int, Callable[..., Any]] = {_ARRAY: _array, _TEXT: _text, _CATEGORY: _category, _OBJECTS: _objects}
