"""Run once by libkrait when Python has started, before anything else.

Makes the `krait` package importable from the sources inside libkrait, and undoes what starting Python did to the host's
SIGINT and standard streams. Imports nothing that is not built in: every millisecond here is paid by every program.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` alone would take 5 ms
    from types import ModuleType
    from typing import Any

_ModuleSpec: Any = sys.modules["_frozen_importlib"].ModuleSpec


class Finder:
    """Finds and loads `krait` and its modules from the sources that libkrait carries."""

    def __init__(self, sources: dict[str, bytes], library: str) -> None:
        self._sources = sources
        self._library = library

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if name not in self._sources:
            return None
        origin = f"<{self._library}>/{name.replace('.', '/')}.py"
        return _ModuleSpec(name, self, origin=origin, is_package=name == "krait")

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        spec: Any = module.__spec__
        exec(compile(self._sources[spec.name], spec.origin, "exec", dont_inherit=True), module.__dict__)

    def get_source(self, name: str) -> str:
        return self._sources[name].decode()


def install(sources: dict[str, bytes], library: str, token: int, log: Any) -> str | None:
    """Put our finder first. Returns the path of another libkrait that has done so already, else None."""
    host: Any = sys.modules.get("_krait_host")
    if host is not None:
        return None if host.token == token else str(host.library)
    host = type(sys)("_krait_host", "The libkrait that runs in this process.")
    host.library, host.token, host.log = library, token, log
    sys.modules["_krait_host"] = host
    sys.meta_path.insert(0, Finder(sources, library))
    return None


def settle() -> None:
    """For a Python that krait started itself; on Python's main thread.

    Importing `_signal` installs a SIGINT handler where there was none; saying "default" here keeps asyncio.run from
    installing it again later. What the host had is put back in C.
    """
    import _signal

    if _signal.getsignal(_signal.SIGINT) is not None:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    if sys.version_info < (3, 13):
        import threading  # noqa: F401  # takes the thread that first imports it for the main thread
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # otherwise a print is lost when the host returns from main
            stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def keep_faults(log: Any) -> None:
    """The host handles SIGSEGV itself (Go, a JVM): one on top would turn its next recoverable fault into a crash."""
    import faulthandler

    if faulthandler.is_enabled():
        faulthandler.disable()

    def enable(*args: object, **kwargs: object) -> None:
        log(30, "faulthandler.enable() declined: this program has a SIGSEGV handler of its own")

    faulthandler.enable = enable


def add_path(path: str, position: int) -> None:
    if path not in sys.path:
        sys.path.insert(position if position >= 0 else len(sys.path), path)
