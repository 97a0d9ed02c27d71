"""What libkrait does in Python because it is shorter there: errors as data, modules from source, coroutines, dtypes.

Private to libkrait.
"""

import importlib.util
import sys
import traceback
from types import TracebackType
from typing import Any

Frame = tuple[str, int, str]
# type, message, traceback, frames, notes, cause
Described = tuple[str, str, str, tuple[Frame, ...], tuple[str, ...], Any]


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
    try:
        return str(exc)
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
        if current.__cause__ is not None:
            link, current = _CAUSED, current.__cause__
        elif current.__context__ is not None and not current.__suppress_context__:
            link, current = _DURING, current.__context__
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


def describe(exc: BaseException, message: int, text: int, frames: int, notes: int, causes: int) -> Described:
    """The exception as plain data, within limits; its frames are cleared afterwards."""
    try:
        chain = _chain(exc, causes)
        described: Any = None
        for one, _ in reversed(chain[1:]):
            described = (_type_name(one), _clip(_message(one), message), "", _frames(one.__traceback__, frames),
                         _notes(one, notes), described)  # fmt: skip
        return (_type_name(exc), _clip(_message(exc), message), _clip(_format(chain), text),
                _frames(exc.__traceback__, frames), _notes(exc, notes), described)  # fmt: skip
    finally:
        _clear_frames(exc)


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


def is_coroutine(value: object) -> bool:
    import inspect

    return inspect.iscoroutine(value)


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
