"""Functions of the host program: `from krait import host; host.prices.last("ACME")`.

The C program registers them (krait_register). One that fails raises `krait.Error`. Outside a host, in the tests of a
Python team, `fake` puts a Python function in the place of one:

    with krait.host.fake("prices.last", lambda symbol: 101.5):
        ...
"""

import keyword as _keyword
import sys as _sys
import weakref as _weakref
from collections.abc import Callable as _Callable
from types import TracebackType as _TracebackType
from typing import Any as _Any

from krait import Error as _Error

__all__ = ["fake", "unfake"]


class _Group:
    """`host.prices`: what stands before a dot. Its functions are attributes, each from when it is first asked for."""

    _path = ""  # also of one that a copy has not filled yet

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> _Any:
        return _get(f"{self._path}.{name}", name)

    def __dir__(self) -> list[str]:
        return _names_in(self._path)

    def __repr__(self) -> str:
        return f"<host functions {self._path}.*>"


class _Unknown:
    """A name without a meaning yet, outside a host.

    Code that asks for it imports all the same, and calls a fake that comes later.
    """

    _path = ""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> _Any:
        return _get(f"{self._path}.{name}", name)

    def __call__(self, *args: _Any, **kwargs: _Any) -> _Any:
        found = _look_up(self._path)
        if found is None or isinstance(found, _Group):
            raise _Error(_missing(self._path), "KRAIT_E_NOT_FOUND")
        return found(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<no host function {self._path}>"


_groups: "_weakref.WeakValueDictionary[str, _Group]" = _weakref.WeakValueDictionary()
_fakes: "dict[str, list[fake]]" = {}  # of each name the latest comes last


def _ask(what: str, *args: str) -> _Any:
    """A function that libkrait put into the module _krait_host; None outside a host."""
    function = getattr(_sys.modules.get("_krait_host"), what, None)
    return None if function is None else function(*args)


def _in_host() -> bool:
    return hasattr(_sys.modules.get("_krait_host"), "find")


def _names() -> set[str]:
    return {*(_ask("names") or "").split(), *_fakes}


def _names_in(path: str) -> list[str]:
    start = f"{path}." if path else ""
    return sorted({name[len(start) :].partition(".")[0] for name in _names() if name.startswith(start)})


def _look_up(path: str) -> _Any:
    """What stands for that name, now an attribute of its group; None when nothing does."""
    fakes = _fakes.get(path)
    found = fakes[-1]._function if fakes else _ask("find", path)
    if found is None and _names_in(path):
        found = _groups.setdefault(path, _Group(path))
    if found is not None:
        parent, _, name = path.rpartition(".")
        _members(parent)[name] = found
    return found


def _members(path: str) -> dict[str, _Any]:
    """The attributes of a group; of one that nobody holds, nothing to remember them in."""
    if not path:
        return globals()
    group = _groups.get(path)
    return {} if group is None else vars(group)


def _forget(path: str) -> None:
    """Who asks for the name, or a group that it is in, makes us look again."""
    while path:
        parent, _, name = path.rpartition(".")
        _members(parent).pop(name, None)
        path = parent


def _missing(path: str) -> str:
    if not _in_host():
        return f'no host function {path!r}: this process is no krait host; krait.host.fake("{path}", fn) makes one'
    names = sorted(_names())
    some = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"no host function {path!r}; " + (f"registered are {some}" if names else "none is registered")


def _get(path: str, name: str) -> _Any:
    if name.startswith("_"):
        raise AttributeError(f"krait.host has no {path!r}")
    found = _look_up(path)
    if found is None and not _in_host():
        return _Unknown(path)
    if found is None:
        raise AttributeError(_missing(path))
    return found


def __getattr__(name: str) -> _Any:
    return _get(name, name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_names_in("")})


def _check(name: str, function: object) -> None:
    parts = name.split(".")
    for part in parts:
        if not (part.isascii() and part.isidentifier()) or part.startswith("_") or _keyword.iskeyword(part):
            raise _Error(f"{name!r} is no name of a host function: expected identifiers with dots between, none "
                         "a keyword or with a leading _", "KRAIT_E_ARGUMENT")  # fmt: skip
    if parts[0] in __all__:
        raise _Error(f"krait.host.{parts[0]} is krait's own: no function can be called {name!r}", "KRAIT_E_ARGUMENT")
    for other in _names() - {name}:
        if other.startswith(f"{name}.") or name.startswith(f"{other}."):
            raise _Error(f"{other!r} is a host function: {name!r} cannot be one too, as one of them would be "
                         "a group and a function", "KRAIT_E_ARGUMENT")  # fmt: skip
    if not callable(function):
        raise _Error(f"the fake of {name!r} is a {type(function).__name__}, expected a function", "KRAIT_E_ARGUMENT")


class fake:  # noqa: N801  # it is used as a function
    """Makes `function` callable as `krait.host.<name>`, values passing as they are.

    Until `unfake(name)` or, in a `with` statement, until its end. In a host it hides the real function meanwhile. Of
    several of one name the latest counts.
    """

    def __init__(self, name: str, function: _Callable[..., _Any]) -> None:
        _check(name, function)
        self._name, self._function = name, function
        _fakes.setdefault(name, []).append(self)
        _forget(name)

    def __enter__(self) -> "fake":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: object, traceback: _TracebackType | None) -> None:
        self._end()

    def _end(self) -> None:
        fakes = _fakes.get(self._name, [])
        if self in fakes:
            fakes.remove(self)
        if not fakes:
            _fakes.pop(self._name, None)
        _forget(self._name)


def unfake(name: str) -> None:
    """Ends the latest fake of that name."""
    if name not in _fakes:
        raise _Error(f"no fake {name!r}; " + (f"there are {', '.join(sorted(_fakes))}" if _fakes else "there is none"),
                     "KRAIT_E_NOT_FOUND")  # fmt: skip
    _fakes[name][-1]._end()
