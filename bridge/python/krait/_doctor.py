"""What only Python can tell the doctor: versions, paths, and the command that brings a package into this very Python.

Private to libkrait. Imports no package that it reports on: a diagnosis must leave its host as it was, and must survive
a broken pandas. Asked after numpy was tried, so numpy's version is that of the module in use.
"""

import importlib.util
import os
import shlex
import sys
from importlib.machinery import PathFinder
from typing import Any

PACKAGES = ("numpy", "pandas", "pyarrow", "matplotlib")


def survey() -> dict[str, Any]:
    """Sections of the report; `cures` and `checks` are for the doctor itself."""
    packages = {name: _package(name) for name in PACKAGES}
    return {
        "krait": {"foreign_module": _foreign_module(), "foreign_command": _foreign_command()},
        "python": _python(),
        "packages": packages,
        "cures": {name: _cure(name, packages) for name in ("numpy", "pandas")},
        "checks": {"pandas": _check("pandas", "DataFrame") if packages["pandas"] else None},
    }


def _python() -> dict[str, Any]:
    is_gil_enabled = getattr(sys, "_is_gil_enabled", None)
    return {
        "executable": sys.executable,
        "version": sys.version.split()[0],
        "build": " ".join(sys.version.split()[1:]),
        "gil": is_gil_enabled() if is_gil_enabled else True,
        "prefix": sys.prefix,
        "base_prefix": sys.base_prefix,
        "isolated": bool(sys.flags.isolated),
        "path": [str(entry) for entry in sys.path],
    }


# ---- packages --------------------------------------------------------------------------------------------------------


def _package(name: str) -> dict[str, str | None] | None:
    """Version and folder; None when it is not installed. Nothing is imported."""
    module = sys.modules.get(name)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return None
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    path = places[0] if places else None
    folder = os.path.dirname(path) if path and spec.origin else path
    return {"version": getattr(module, "__version__", None) or _metadata_version(name), "path": folder}


def _metadata_version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except Exception:  # broken metadata has many faces, and none is worth losing the report for
        return None


def _check(name: str, attribute: str) -> str:
    """Source for a child that is to find `name` as this Python would."""
    return f"import sys\nsys.path[:] = {sys.path!r}\nimport {name}\n{name}.{attribute}\n"


# ---- cures -----------------------------------------------------------------------------------------------------------


def _cure(name: str, packages: dict[str, Any]) -> str:
    """What brings a package that is missing, and with numpy pandas too; what mends one that is there."""
    there = packages[name]
    if there and not _is_installed(there["path"]):
        # no installer would touch it, and what one installs would stand behind it
        return f"mend or remove {there['path']}, or take its folder out of sys.path (PYTHONPATH)"
    names = [name] if there else [n for n in ("numpy", "pandas") if not packages[n]]
    return install_command(names, there is not None, sys.executable, sys.prefix, sys.base_prefix)


def _is_installed(path: str | None) -> bool:
    """It lies where this Python's installer puts packages, so the installer can mend it."""
    if _is_dpkg(sys.prefix) and _is_below(path, os.path.join(sys.prefix, "local")):
        return False
    return _is_below(path, sys.prefix, sys.base_prefix)


def _is_below(path: str | None, *folders: str) -> bool:
    return path is not None and any(os.path.abspath(path).startswith(os.path.join(f, "")) for f in folders)


def install_command(names: list[str], again: bool, executable: str, prefix: str, base: str) -> str:
    """The shell command, by the layout of this Python; `again`: they are there, but broken.

    A venv is served by its own pip (uv where uv made it), a conda by conda, Debian's own Python by apt. One that its
    distribution has marked as not to be touched gets a venv.
    """
    config = _read(os.path.join(prefix, "pyvenv.cfg"))
    if config is not None:
        return _into_venv(names, again, executable, prefix, base, config)
    if os.path.isdir(os.path.join(prefix, "conda-meta")):
        force = ["--force-reinstall"] if again else []
        return shlex.join(["conda", "install", "--prefix", prefix, *force, *names])
    if _is_dpkg(prefix):
        force = ["--reinstall"] if again else []
        return shlex.join(["apt-get", "install", *force, *(f"python3-{name}" for name in names)])
    if _is_marked(prefix):
        make = shlex.join([executable, "-m", "venv", ".venv"])
        return f'{make} && .venv/bin/python -m pip install {" ".join(names)} && export KRAIT_PYTHON="$PWD/.venv"'
    return _pip(names, again, executable)


def _into_venv(names: list[str], again: bool, executable: str, prefix: str, base: str, config: str) -> str:
    if any(line.partition("=")[0].strip() == "uv" for line in config.splitlines()):
        force = ["--reinstall"] if again else []
        return shlex.join(["uv", "pip", "install", "--python", executable, *force, *names])
    steps = [_pip(names, again, executable)]
    if not _has(prefix, "site-packages/pip"):
        steps.insert(0, shlex.join([executable, "-m", "ensurepip"]))
        if _is_dpkg(base) and not _has(base, "ensurepip"):
            steps.insert(0, f"apt-get install python3.{sys.version_info.minor}-venv")
    return " && ".join(steps)


def _pip(names: list[str], again: bool, executable: str) -> str:
    force = ["--force-reinstall"] if again else []
    return shlex.join([executable, "-m", "pip", "install", *force, *names])


def _libraries(prefix: str) -> list[str]:
    """The folders lib/python3.Y of a prefix."""
    found = []
    for lib in ("lib", "lib64"):
        parent = os.path.join(prefix, lib)
        if os.path.isdir(parent):
            found += [os.path.join(parent, name) for name in sorted(os.listdir(parent)) if name.startswith("python3")]
    return found


def _has(prefix: str, package: str) -> bool:
    return any(os.path.isfile(os.path.join(lib, package, "__init__.py")) for lib in _libraries(prefix))


def _is_dpkg(prefix: str) -> bool:
    return os.path.basename(prefix) == "usr" and os.path.isdir(os.path.join(prefix, "../var/lib/dpkg"))


def _is_marked(prefix: str) -> bool:
    return any(os.path.isfile(os.path.join(lib, "EXTERNALLY-MANAGED")) for lib in _libraries(prefix))


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


# ---- others of our name ----------------------------------------------------------------------------------------------


def _foreign_module() -> str | None:
    """A `krait` on sys.path, which our finder stands in front of."""
    spec = PathFinder.find_spec("krait")
    return spec.origin if spec else None


def _foreign_command() -> str | None:
    """The first `krait` on PATH, unless it is this program, or lies where this libkrait's own command lies."""
    host: Any = sys.modules.get("_krait_host")
    lib = os.path.dirname(os.path.abspath(host.library)) if host else ""
    own = ["/proc/self/exe", *(os.path.join(lib, below, "krait") for below in (".", "../bin", "../../bin"))]
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        command = os.path.join(folder, "krait")
        if os.path.isfile(command) and os.access(command, os.X_OK):
            is_own = any(os.path.exists(one) and os.path.samefile(one, command) for one in own)
            return None if is_own else os.path.abspath(command)
    return None
