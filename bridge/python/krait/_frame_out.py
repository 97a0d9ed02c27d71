"""Frames, Series, Indexes and Arrow data taken apart into what lib/frame_out.c reads.

The values are handed over as they lie: numpy arrays, masks, codes, Arrow streams. What is read of pandas beyond its
public face (_values, _ndarray, _data, _mask, _iter_column_arrays) is the same from 1.5 to 3.1: the public ways copy, or
cost more than the whole conversion. Private to libkrait.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

# What a split value is, and how the values of a part lie; as in lib/frame_out.c.
_PARTS, _STREAM, _PAIR = range(3)
_PLAIN, _MASKED, _ZONED, _OBJECTS, _STRINGS, _ARROW, _CATEGORY, _REFUSED = range(8)

Part = tuple[str, int, Any, Any]  # name, how, values, what else belongs to them
Split = tuple[Any, ...]
_LIMIT = 1000  # types remembered: some programs make classes anew again and again


def _known(cache: dict[type, Any], kind: type, find: Callable[[type], Any]) -> Any:
    if len(cache) >= _LIMIT:
        cache.clear()
    found = cache[kind] = find(kind)
    return found


def _bases(kind: type, package: str) -> Iterator[str]:
    return (base.__name__ for base in kind.__mro__ if base.__module__.partition(".")[0] == package)


# ---- one column -----------------------------------------------------------------------------------------------------


def _numpy(name: str, values: Any) -> Part:
    kind = values.dtype.kind
    if kind in "biufcmM":
        return name, _PLAIN, values, None
    if kind == "O":
        return name, _OBJECTS, values, None
    if kind == "T":
        return name, _STRINGS, values, None
    return _refused(name, values, "convert it with .astype(object)")


def _wrapped(name: str, values: Any) -> Part:
    import numpy

    return _numpy(name, numpy.asarray(values))


def _times(name: str, values: Any) -> Part:
    zone = getattr(values, "tz", None)
    if zone is None:
        return name, _PLAIN, values._ndarray, None
    return name, _ZONED, values._ndarray, _zone(zone)


def _zone(zone: Any) -> str:
    name = getattr(zone, "key", None) or getattr(zone, "zone", None)  # of zoneinfo, of pytz
    if name:
        return str(name)
    offset = zone.utcoffset(None)
    if offset is None:
        return str(zone)
    import datetime

    return str(datetime.timezone(offset))


def _masked(name: str, values: Any) -> Part:
    return name, _MASKED, values._data, values._mask


def _arrow_column(name: str, values: Any) -> Part:
    chunks = values.__arrow_array__()
    table = sys.modules["pyarrow"].Table.from_arrays([chunks], names=[name])  # of a name, and of no struct's fields
    if not hasattr(table, "__arrow_c_stream__"):
        return _refused(name, values, "that needs pyarrow 14 or later")
    return name, _ARROW, table.__arrow_c_stream__(), chunks


def _category(name: str, values: Any) -> Part:
    categories = values.categories
    return name, _CATEGORY, values.codes, (bool(values.ordered), len(categories), _part(name, categories._values))


def _refused(name: str, values: Any, cure: str) -> Part:
    return name, _REFUSED, f"is of dtype {values.dtype}, which krait has no column for: {cure}", None


def _period(name: str, values: Any) -> Part:
    return _refused(name, values, "make instants of it with .dt.to_timestamp() (an index: .to_timestamp())")


def _interval(name: str, values: Any) -> Part:
    cure = "take .array.left and .array.right, or make text of it (pandas.cut: labels=..., .cat.rename_categories(str))"
    return _refused(name, values, cure)


def _sparse(name: str, values: Any) -> Part:
    return _refused(name, values, "make it dense with .sparse.to_dense() (an index: .astype of the plain dtype)")


def _foreign(name: str, values: Any) -> Part:
    return _refused(name, values, "convert it with .astype to a dtype of numpy or pandas")


# By the first of these among the bases of the array's type.
_MAKERS: dict[str, Callable[[str, Any], Part]] = {
    "ndarray": _numpy,
    "NumpyExtensionArray": _wrapped,  # and text kept as objects
    "PandasArray": _wrapped,  # its name before pandas 2.1
    "DatetimeArray": _times,
    "TimedeltaArray": _times,
    "BaseMaskedArray": _masked,
    "ArrowExtensionArray": _arrow_column,
    "ArrowStringArray": _arrow_column,
    "Categorical": _category,
    "PeriodArray": _period,
    "IntervalArray": _interval,
    "SparseArray": _sparse,
}
_makers: dict[type, Callable[[str, Any], Part]] = {}


def _maker(kind: type) -> Callable[[str, Any], Part]:
    package = "numpy" if "ndarray" in _bases(kind, "numpy") else "pandas"
    return next((_MAKERS[base] for base in _bases(kind, package) if base in _MAKERS), _foreign)


def _part(name: str, values: Any) -> Part:
    make = _makers.get(type(values)) or _known(_makers, type(values), _maker)
    return make(name, values)  # type: ignore[no-any-return]


# ---- names and the index --------------------------------------------------------------------------------------------


def _name(label: Any) -> str:
    """As pyarrow names a column of that label."""
    if isinstance(label, bytes):
        return label.decode("utf-8", "backslashreplace")
    return str(tuple(map(_inner, label))) if isinstance(label, tuple) else str(label)


def _inner(label: Any) -> Any:
    return label if label is None or label != label else _name(label)


def _own(name: Any) -> str:
    """Of a Series, an Index, a level: these may have none."""
    return name if type(name) is str else "" if name is None else _name(name)


def _counts(index: Any) -> bool:
    """Whether the index holds 0, 1, 2, ... and nothing else."""
    import numpy

    if index.dtype.kind not in "iu" or index.hasnans:
        return False
    values, size = index.to_numpy(), len(index)
    if size == 0:
        return True
    return bool(values[0] == 0 and values[-1] == size - 1 and (values == numpy.arange(size)).all())


def _parts_of(index: Any) -> tuple[Part, ...]:
    names = index.names
    if len(names) == 1 and not hasattr(index, "levels"):
        return (_part(_own(names[0]), index._values),)
    return tuple(_part(_own(name), index.get_level_values(i)._values) for i, name in enumerate(names))


def _levels(index: Any) -> tuple[Part, ...]:
    """The levels of an index that does more than count the rows; one that has a name does, whatever its values."""
    if hasattr(index, "levels") or index.name is not None:
        return _parts_of(index)
    if hasattr(index, "step"):  # a RangeIndex: no array need be made to see it
        size = len(index)
        counts = size == 0 or (index.start == 0 and (index.step == 1 or size == 1))
    else:
        counts = _counts(index)
    return () if counts else _parts_of(index)


def _hidden(*indexes: Any) -> tuple[Any, ...]:
    """The arrays of indexes: the frame keeps them, handed over or not."""
    found = [one._values for one in indexes if not hasattr(one, "levels") and not hasattr(one, "step")]
    return tuple([getattr(one, "_ndarray", one) for one in found])


# ---- all of it ------------------------------------------------------------------------------------------------------


def _locked() -> bool:
    """Whether pandas copies on write: then frames share memory, and whoever asks for a column gets it read-only."""
    pandas = sys.modules["pandas"]
    return int(pandas.__version__.partition(".")[0]) >= 3 or pandas.options.mode.copy_on_write is True


def _frame(frame: Any) -> Split:
    names = [label if type(label) is str else _name(label) for label in frame.columns.tolist()]
    columns = [_part(name, values) for name, values in zip(names, frame._iter_column_arrays(), strict=True)]
    hidden = _hidden(frame.index, frame.columns)
    return _PARTS, len(frame), _levels(frame.index), tuple(columns), _locked(), hidden


def _series(series: Any) -> Split:
    column = _part(_own(series.name), series._values)
    return _PARTS, len(series), _levels(series.index), (column,), _locked(), _hidden(series.index)


def _index(index: Any) -> Split:
    return _PARTS, len(index), (), _parts_of(index), True, ()


def _array(values: Any) -> Split:
    return _PARTS, len(values), (), (_part("", values),), _locked(), ()


def _arrow(value: Any) -> Split:
    trusted = type(value).__module__.partition(".")[0] in ("pyarrow", "polars")  # their offsets, texts and codes
    if hasattr(value, "__arrow_c_stream__"):
        once = not hasattr(value, "__len__")  # a reader, which is empty afterwards
        return _STREAM, trusted, value.__arrow_c_stream__(), once
    return _PAIR, trusted, *value.__arrow_c_array__()


_SPLITTERS = {"DataFrame": _frame, "Series": _series, "Index": _index, "ExtensionArray": _array}
_splitters: dict[type, Callable[[Any], Split]] = {}


def _splitter(kind: type) -> Callable[[Any], Split]:
    return next((_SPLITTERS[base] for base in _bases(kind, "pandas") if base in _SPLITTERS), _arrow)


def split(value: Any) -> Split:
    """What it consists of.

    (_PARTS, rows, levels, columns, locked, arrays that are kept but not handed over), (_STREAM, trusted, capsule,
    whether it can be read but once), or (_PAIR, trusted, schema capsule, array capsule).
    """
    take = _splitters.get(type(value)) or _known(_splitters, type(value), _splitter)
    return take(value)  # type: ignore[no-any-return]


def kept_by(arrow: Any) -> tuple[int, ...]:
    """Where the memory begins that an object of pyarrow keeps: one without rows has a stream that tells nothing."""
    if type(arrow).__module__.partition(".")[0] != "pyarrow":
        return ()
    if hasattr(arrow, "buffers"):
        found = tuple([one.address for one in arrow.buffers() if one is not None])
        return found + kept_by(getattr(arrow, "dictionary", None))
    inner = getattr(arrow, "chunks", None) or getattr(arrow, "columns", ())
    return tuple([address for one in inner for address in kept_by(one)])


# ---- objects in bulk ------------------------------------------------------------------------------------------------


def days(objects: Any) -> Any:
    """Days since 1970 of an object array of dates, the least int64 for what stands for missing ones."""
    import datetime

    import numpy

    date, epoch, missing = datetime.date, datetime.date(1970, 1, 1).toordinal(), numpy.iinfo(numpy.int64).min
    found = [one.toordinal() - epoch if isinstance(one, date) and one == one else missing for one in objects.tolist()]
    return numpy.array(found, numpy.int64)


def _behind(value: Any, text: str) -> int:
    """Digits behind the point; text is what str makes of the value, faster than its parts are told."""
    return -value.as_tuple().exponent if "E" in text else len(text.partition(".")[2])


def decimals(objects: Any) -> tuple[bytes, bytes, int, int] | str:
    """Decimals, and what stands for missing ones, as 128-bit integers.

    These, a bit for each that is there, precision and scale; or why that cannot be.
    """
    import decimal

    import numpy

    values = [one if isinstance(one, decimal.Decimal) and not one.is_nan() else None for one in objects.tolist()]
    scale = whole = 0
    for row, value in enumerate(values):
        if value is None:
            continue
        if value.is_infinite():
            return f"row {row} is {value}; expected finite numbers"
        scale = max(scale, _behind(value, str(value)))
        whole = max(whole, value.adjusted() + 1 if value else 0)
        if whole + scale > 38:
            return f"up to row {row} it needs {whole + scale} digits, {scale} of them behind the point; at most 38 do"
    numbers = [0 if value is None else _scaled(value, str(value), scale) for value in values]
    data = b"".join([number.to_bytes(16, sys.byteorder, signed=True) for number in numbers])
    bits = numpy.packbits(numpy.array([value is not None for value in values], bool), bitorder="little")
    return data, bits.tobytes(), max(whole + scale, 1), scale


def _scaled(value: Any, text: str, scale: int) -> int:
    """The whole number that is value * 10**scale."""
    if "E" in text:
        _, digits, exponent = value.as_tuple()
        number = int("".join(map(str, digits))) * 10 ** (exponent + scale) if value else 0
        return -number if value < 0 else number
    return int(text.replace(".", "")) * 10 ** (scale - _behind(value, text))
