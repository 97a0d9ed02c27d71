"""What libkrait does in Python because it is shorter there: errors as data, modules from source, coroutines, dtypes.

Private to libkrait.
"""

import importlib.util
import sys
import traceback
from types import TracebackType
from typing import Any

from krait import Error

Frame = tuple[str, int, str]
# type, message, traceback, frames, notes, cause, what a krait.Error says of itself
Described = tuple[str | None, str, str | None, tuple[Frame, ...], tuple[str, ...], Any, Any]


# As Python prints them between two exceptions.
_CAUSED = "\nThe above exception was the direct cause of the following exception:\n\n"
_DURING = "\nDuring handling of the above exception, another exception occurred:\n\n"


def _clip(text: str, limit: int) -> str:
    """Valid UTF-8 without NUL of at most `limit` bytes, its end saying what was cut."""
    data = text.replace("\0", "\\x00").encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    mark = f" ... [cut; {len(data)} bytes in all]"
    return data[: limit - len(mark)].decode("utf-8", "ignore") + mark


def _type_name(exc: BaseException) -> str:
    kind = type(exc)
    known = kind.__module__ in ("builtins", "__main__")
    return kind.__qualname__ if known else f"{kind.__module__}.{kind.__qualname__}"


def _message(exc: BaseException) -> str:
    """Its text, or its type where it has none: a bare assert."""
    try:
        return str(exc) or type(exc).__name__
    except BaseException as broken:
        return f"<no message: {type(exc).__name__}.__str__ raised {type(broken).__name__}>"


def _frames(tb: TracebackType | None, limit: int) -> tuple[Frame, ...]:
    frames: list[Frame] = []
    while tb is not None:
        code = tb.tb_frame.f_code
        name = code.co_qualname if sys.version_info >= (3, 11) else code.co_name
        frames.append((_clip(code.co_filename, 4096), tb.tb_lineno or 0, _clip(name, 1024)))
        tb = tb.tb_next
    if len(frames) > limit:
        frames[limit // 2 : -(limit // 2)] = []
    return tuple(frames)


def _notes(exc: BaseException, limit: int) -> tuple[str, ...]:
    try:
        notes = getattr(exc, "__notes__", ())
    except Exception:
        return ()
    if not isinstance(notes, list | tuple):
        return ()
    found = []
    for note in notes[:limit]:
        try:
            found.append(_clip(str(note), 4096))
        except Exception:
            found.append("<unprintable note>")
    return tuple(found)


def _chain(exc: BaseException, limit: int) -> list[tuple[BaseException, str]]:
    """The exception and what led to it, with the line that Python prints between them."""
    chain: list[tuple[BaseException, str]] = []
    seen: set[int] = set()
    link, current = "", exc
    while current is not None and id(current) not in seen and len(chain) < limit:
        seen.add(id(current))
        chain.append((current, link))
        if isinstance(current, Error) and current._native is not None:
            break  # its causes are in there
        if current.__cause__ is not None:
            link, current = _CAUSED, current.__cause__
        elif current.__context__ is not None and not current.__suppress_context__:
            link, current = _DURING, current.__context__
        elif isinstance(current, Error) and isinstance(current.cause, Error):
            link, current = _CAUSED, current.cause
        else:
            break
    return chain


def _format(chain: list[tuple[BaseException, str]]) -> str:
    parts = []
    for exc, link in reversed(chain):
        try:
            parts.extend(traceback.format_exception(exc, chain=False))
        except BaseException:
            parts.append(f"{_type_name(exc)}: <traceback could not be formatted>\n")
        parts.append(link)
    return "".join(parts)


def _clear_frames(exc: BaseException) -> None:
    """Locals of the frames may hold lent memory: drop them, over cause, context and group."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [exc]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        traceback.clear_frames(one.__traceback__)
        todo += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions


def _is_ours(tb: TracebackType | None) -> bool:
    """Raised by krait's own modules, called by libkrait: where in them is nobody's business."""
    while tb is not None and str(tb.tb_frame.f_globals.get("__name__")).startswith("krait._"):
        tb = tb.tb_next
    return tb is None


def _describe_error(exc: Error, described: Described, limit: int) -> Described:
    """A krait.Error: the krait_error that it was made of, or else the parts of one."""
    kind, message, text, frames, notes, cause, _ = described
    if exc._native is not None:
        return (kind, message, text, frames, notes, cause, exc._native)
    own = (str(exc.status), _clip(str(exc.step), 1024) if exc.step else None)
    if exc.traceback is not None:  # a copy of one that came from C, perhaps of another process
        return (exc.python_type, message, _clip(str(exc.traceback), limit), frames, notes, cause, own)
    if _is_ours(exc.__traceback__):
        return (None, message, None, (), notes, cause, own)
    return (kind, message, text, frames, notes, cause, own)


def describe(exc: BaseException, message: int, text: int, frames: int, notes: int, causes: int) -> Described:
    """The exception as plain data, within limits; its frames are cleared afterwards."""
    try:
        chain = _chain(exc, causes)
        described: Any = None
        for one, _ in reversed(chain):
            whole = _clip(_format(chain), text) if one is exc else ""
            described = (_type_name(one), _clip(_message(one), message), whole, _frames(one.__traceback__, frames),
                         _notes(one, notes), described, None)  # fmt: skip
            if isinstance(one, Error):
                described = _describe_error(one, described, text)
        return described  # type: ignore[no-any-return]
    finally:
        _clear_frames(exc)


def make_error(told: tuple[Any, ...], native: Any) -> Error:
    """The exception for a krait_error and its causes, the outermost first."""
    error: Error | None = None
    for status, message, step, kind, text, *notes in reversed(told):
        error = Error(message, status, step=step, python_type=kind, traceback=text, cause=error)
        if notes:
            error.__notes__ = notes
    assert error is not None
    error._native = native
    return error


def module_from_source(name: str, source: str) -> None:
    """Make `name` importable from text. A module of that name is replaced only when the new source ran."""
    from importlib.machinery import ModuleSpec

    origin = f"<krait_module_from_source {name}>"
    spec = ModuleSpec(name, None, origin=origin)
    module = importlib.util.module_from_spec(spec)
    code = compile(source, origin, "exec", dont_inherit=True)
    _remember_lines(origin, source)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    parent, _, child = name.rpartition(".")
    if parent and parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def _remember_lines(origin: str, source: str) -> None:
    """Lets tracebacks show the lines."""
    import linecache

    linecache.cache[origin] = (len(source), None, source.splitlines(keepends=True), origin)


def run_coroutine(coroutine: Any) -> Any:
    import asyncio

    return asyncio.run(coroutine)


# What a result of a type that libkrait does not know itself is; as in lib/convert.c.
_OBJECT, _NONE, _COROUTINE, _ITERATOR, _TABLE, _TIME, _TENSOR = range(7)
_PANDAS = {"DataFrame", "Series", "Index", "ExtensionArray"}
_sorts: dict[type, int] = {}


def _sort(kind: type) -> int:
    import datetime
    import decimal
    import types

    pandas = {base.__name__ for base in kind.__mro__ if base.__module__.partition(".")[0] == "pandas"}
    if "NAType" in pandas:
        return _NONE
    if "NaTType" in pandas or issubclass(kind, datetime.date | datetime.timedelta | decimal.Decimal):
        return _TIME
    if issubclass(kind, types.CoroutineType):
        return _COROUTINE
    if pandas & _PANDAS or hasattr(kind, "__arrow_c_stream__") or hasattr(kind, "__arrow_c_array__"):
        return _TABLE
    if hasattr(kind, "__next__") and hasattr(kind, "__iter__"):
        return _ITERATOR
    return _TENSOR if hasattr(kind, "__dlpack__") else _OBJECT


def sort_of(value: object) -> int:
    kind = type(value)
    sort = _sorts.get(kind)
    if sort is None:
        if len(_sorts) >= 1000:  # of classes made anew again and again
            _sorts.clear()
        try:
            sort = _sort(kind)
        except MemoryError:
            raise
        except Exception:  # of a metaclass: whatever it is, a handle will do
            sort = _OBJECT
        _sorts[kind] = sort
    return sort


def fields(dtype: Any) -> tuple[tuple[str, int, Any, tuple[int, ...]], ...]:
    """Name, offset, dtype and own shape of each field of a structured dtype."""
    found = []
    for name in dtype.names:
        one, offset = dtype.fields[name][:2]
        found.append((name, offset, one.base, tuple(one.shape)))
    return tuple(found)



def run_atexit() -> None:
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()



def collect(generation: int) -> None:
    import gc

    gc.collect(generation)


# ---- times and decimals --------------------------------------------------------------------------------------------

_UNITS = {"generic": 0, "Y": 1, "M": 2, "W": 3, "D": 4, "h": 5, "m": 6}
_UNITS |= {"s": 7, "ms": 8, "us": 9, "ns": 10, "ps": 11, "fs": 12, "as": 13}
_DATETIME, _TIMEDELTA = 15, 16
_NAT = -(2**63)
_EPOCH_DAY = 719163  # 1970-01-01 as an ordinal
# code, unit, count, ticks, name of the zone; as in lib/times.c
TimeParts = tuple[int, int, int, int, str | None]
_zones: dict[str, Any] = {}


def _offset(zone: str) -> Any:
    """A fixed offset as krait and Python write it, "UTC+02:00", or None: pandas would drop its seconds."""
    import datetime
    import re

    found = re.fullmatch(r"(?:UTC)?([+-])(\d\d):([0-5]\d)(?::([0-5]\d)(?:\.(\d{6}))?)?", zone, re.ASCII)
    if found is None:
        return None
    sign, hours, minutes, seconds, rest = found.groups()
    offset = datetime.timedelta(
        hours=int(hours), minutes=int(minutes), seconds=int(seconds or 0), microseconds=int(rest or 0)
    )
    return datetime.timezone(-offset if sign == "-" else offset)


def _zone(zone: str) -> Any:
    """What pandas takes for that name."""
    import pandas

    found = _zones.get(zone)
    if found is None:
        try:
            found = _offset(zone) or zone
            pandas.Timestamp(0, tz=found)
        except (LookupError, OSError, ValueError) as error:
            text = f"time zone {zone!r} is not known; expected one like 'Europe/Berlin', 'UTC' or 'UTC+02:00'"
            raise Error(text, "KRAIT_E_ARGUMENT") from error
        if len(_zones) >= 1000:
            _zones.clear()
        _zones[zone] = found
    return found


def timestamp(instant: Any, zone: str) -> Any:
    """The instant, in UTC, as it is shown in that zone."""
    import pandas

    known = _zone(zone)
    try:
        return pandas.Timestamp(instant).tz_localize("UTC").tz_convert(known)
    except (ArithmeticError, NotImplementedError, ValueError) as error:
        text = f"{instant} in time zone {zone} is no Timestamp of pandas {pandas.__version__}: {error}"
        raise Error(text, "KRAIT_E_RANGE") from error


def decimal_of(digits: str) -> Any:
    import decimal

    try:  # whatever the thread's own context lets pass
        return decimal.Decimal(digits, decimal.Context(traps=[decimal.InvalidOperation]))
    except decimal.InvalidOperation as error:
        shown = digits if len(digits) <= 100 else digits[:100] + "..."
        raise Error(f"{shown!r} is no decimal number; expected digits like '12.50'", "KRAIT_E_ARGUMENT") from error


def _zone_name(value: Any) -> str | None:
    """Of an aware datetime; one whose zone has no name is told by its offset at that time."""
    import datetime

    offset = value.utcoffset()
    if offset is None:
        return None
    for attribute in ("key", "zone"):  # of zoneinfo, of pytz
        name = getattr(value.tzinfo, attribute, None)
        if isinstance(name, str) and name:
            return name
    return str(datetime.timezone(offset))


def _numpy_parts(scalar: Any, zone: str | None = None) -> TimeParts:
    dtype = scalar.dtype
    unit, count = sys.modules["numpy"].datetime_data(dtype)
    ticks = int.from_bytes(memoryview(scalar), sys.byteorder, signed=True)
    return _DATETIME if dtype.kind == "M" else _TIMEDELTA, _UNITS[unit], count, ticks, zone


def _micros(value: Any) -> int:
    """A timedelta in microseconds."""
    return (value.days * 86400 + value.seconds) * 1000000 + value.microseconds


def time_parts(value: Any) -> TimeParts | str:
    """A time as ticks of its unit, a Decimal as its digits."""
    if hasattr(value, "dtype"):
        return _numpy_parts(value)

    import datetime
    import decimal

    if isinstance(value, decimal.Decimal):
        return str(value)
    if "NaTType" in type(value).__name__:
        return _DATETIME, 0, 1, _NAT, None
    if hasattr(value, "asm8"):  # pandas' own; UTC where there is a zone
        return _numpy_parts(value.asm8, _zone_name(value) if isinstance(value, datetime.datetime) else None)
    if isinstance(value, datetime.datetime):
        days, offset = value.toordinal() - _EPOCH_DAY, value.utcoffset()
        ticks = (days * 86400 + value.hour * 3600 + value.minute * 60 + value.second) * 1000000 + value.microsecond
        return _DATETIME, 9, 1, ticks - _micros(offset) if offset is not None else ticks, _zone_name(value)
    if isinstance(value, datetime.date):
        return _DATETIME, 4, 1, value.toordinal() - _EPOCH_DAY, None
    ticks = _micros(value)
    if abs(ticks) >= 2**63:
        raise Error(f"a timedelta of {value} is too long for 64 bits of microseconds", "KRAIT_E_RANGE")
    return _TIMEDELTA, 9, 1, ticks, None


# ---- objects -------------------------------------------------------------------------------------------------------


def _kind_of(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _has(value: object, name: str) -> bool:
    """Whether the object has such an attribute, whatever came of reading it."""
    bases = type(value).__mro__ + (value.__mro__ if isinstance(value, type) else ())
    return any(name in vars(base) for base in bases)


def _is_missing(error: AttributeError, value: object, name: str) -> bool:
    """Whether there is none, and the error did not come from within a property."""
    within = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return error.name in (None, name) and not (within and _has(value, name))


def _no_attribute(error: AttributeError, value: object, name: str) -> Exception:
    text = str(error) or f"'{_kind_of(value)}' object has no attribute '{name}'"
    return Error(text, "KRAIT_E_NOT_FOUND")


def object_get(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError as error:
        if _is_missing(error, value, name):
            raise _no_attribute(error, value, name) from error
        raise


def object_set(value: Any, name: str, new: Any) -> None:
    try:
        setattr(value, name, new)
    except AttributeError as error:
        if error.name in (None, name) and not _has(value, name):
            raise _no_attribute(error, value, name) from error
        raise


def _is_miss(error: LookupError, key: object) -> bool:
    """Whether it is this item that is missing, and not another one that the object itself looked for."""
    within = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    told_apart = within and isinstance(error, KeyError) and type(key) in (int, str) and len(error.args) == 1
    return not told_apart or str(key) in _message(error)


def object_item(value: Any, key: Any) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError) as error:
        if not _is_miss(error, key):
            raise
        shown, said = _clip(repr(key), 1024), _message(error)
        text = f"no item {shown} in {_kind_of(value)}" + (f": {said}" if said and said != shown else "")
        raise Error(text, "KRAIT_E_NOT_FOUND") from error


def object_len(value: Any) -> int:
    if not hasattr(type(value), "__len__"):
        raise Error(f"value is of type {_kind_of(value)}, which has no length", "KRAIT_E_KIND")
    return len(value)


def object_isinstance(value: object, kind: Any) -> bool:
    if not isinstance(kind, type):
        raise Error(f"{kind!r} is no class", "KRAIT_E_KIND")
    return isinstance(value, kind)


def callable_of(value: Any) -> tuple[Any, str]:
    """A callable, and what to call it in messages."""
    if not callable(value):
        raise Error(f"value is of type {_kind_of(value)}, which cannot be called", "KRAIT_E_KIND")
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None) or type(getattr(value, "__self__", value)).__module__
    if isinstance(name, str):
        return value, f"{module}:{name}"
    return value, f"{type(value).__module__}:{type(value).__qualname__}.__call__"


def method_of(value: Any, name: str) -> tuple[Any, str]:
    method = object_get(value, name)
    label = f"{type(value).__module__}:{type(value).__qualname__}.{name}"
    if not callable(method):
        raise Error(f"{label} is of type {_kind_of(method)}, which cannot be called", "KRAIT_E_KIND")
    return method, label
