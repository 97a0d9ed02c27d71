"""make bench: krait beside a hand-written C program (the limit) and others, on the same work; writes build/bench.json.

Programs that are up and warm take turns every few milliseconds, in a few sessions of fresh processes; a ratio is the
median of the rounds' ratios, so that a noisy machine troubles both sides alike. Beside times, callgrind counts
instructions: n and 2 n calls in one process, whose difference is free of noise. All programs get the same
MALLOC_TRIM_THRESHOLD_, PYTHONHASHSEED and Python.

    [BUILD=build] [CC=cc] [CXX=c++] [KRAIT_PYTHON=python] python tests/bench/run.py [figure...]

Needs BUILD/libkrait.so and a Python with numpy and a shared libpython (KRAIT_PYTHON, else the one that runs this). A
target that is missed is marked; it is no failure. It fails when a program cannot be built or does not work, and when
the whole takes longer than LIMIT_S. What is missing (pybind11, valgrind, memory) is skipped with a word.
"""

import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = Path(os.environ.get("BUILD", "build"))
BUILD = BUILD if BUILD.is_absolute() else ROOT / BUILD
OUT = BUILD / "bench"

LIMIT_S = 340
SESSIONS = 5
ROUNDS = 60  # per session and figure
FEW_ROUNDS = 20  # where one call takes longer than a round of the others
ROUND_NS = 3_000_000
STARTS = 60
COUNT = 2000  # calls that callgrind counts, and twice that
HUGE_KIB = 3 * 1024 * 1024  # free memory that array-1g wants
AHEAD = 50  # times call-foreign-thread is to be ahead of ensure-release

# A program and its name of a figure; see bench.h.
Source: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Figure:
    """What is measured, against what, and how far it may be from it."""

    name: str
    target: float
    krait: Source
    limit: Source
    peers: dict[str, Source] = field(default_factory=dict)
    counted: bool = False  # by callgrind, too
    needs: tuple[str, ...] = ()  # modules of Python
    rounds: int = ROUNDS

    def sources(self) -> dict[str, Source]:
        return {"krait": self.krait, "limit": self.limit, **self.peers}


def _plain(name: str, target: float, **peers: Source) -> Figure:
    also = {peer.replace("_", "-"): source for peer, source in peers.items()}
    others = {"pybind11": ("pybind11", name), **also}
    return Figure(name, target, ("krait", name), ("limit", name), others, counted=True)


def _table(name: str, target: float, limit: Source, rounds: int) -> Figure:
    return Figure(name, target, ("krait", name), limit, needs=("pandas", "pyarrow"), rounds=rounds)


def _object(name: str, target: float, **peers: Source) -> Figure:
    others = {"pybind11": ("pybind11", name), **peers}
    return Figure(name, target, ("krait", name), ("limit", name), others, counted=True, needs=("pandas",))


FIGURES = [
    _plain("call-held", 1.15),
    _plain("call-foreign-thread", 1.2, ensure_release=("limit", "ensure-release")),
    _plain("array-8k", 1.3),
    Figure("array-1g", 1.2, ("krait", "array-1g"), ("krait", "array-8k")),
    Figure("normalize-1000x10", 1.02, ("krait", "normalize-1000x10"), ("krait", "normalize-python")),
    _table("table-1m-x-10", 1.2, ("limit", "table-1m-x-10"), ROUNDS),
    _table("text-1m", 1.1, ("limit", "text-1m"), FEW_ROUNDS),
    _table("struct-table-1m", 1.1, ("krait", "struct-table-python"), FEW_ROUNDS),
    _object("callback", 3.0),
    _object("object-method", 1.5, bound=("krait", "object-bound")),
]


@dataclass
class Entry:
    """One line of bench.json."""

    figure: str
    unit: str
    krait: float
    limit: float
    peers: dict[str, float]
    ratio: float
    target: float | None  # None: told for itself
    spread: str = ""

    def missed(self) -> list[str]:
        too_slow = self.target is not None and self.ratio > self.target
        marks = [f"MISSED: {self.ratio:.2f} > {self.target}"] if too_slow else []
        ensure = self.peers.get("ensure-release")
        if self.unit == "ns" and ensure and ensure < AHEAD * self.krait:
            marks.append(f"MISSED: {ensure / self.krait:.0f} x ahead of ensure-release < {AHEAD}")
        return marks

    def as_json(self) -> dict[str, object]:
        digits = {key: round(value, 1) for key, value in self.peers.items()}
        return {
            "figure": self.figure,
            "unit": self.unit,
            "krait": round(self.krait, 1),
            "limit": round(self.limit, 1),
            "peers": digits,
            "ratio": round(self.ratio, 3),
        }


def say(text: str) -> None:
    print(text, flush=True)


# ---- the Python, the programs ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Python:
    """The Python that all programs use: `executable` also says which venv."""

    executable: str
    library: str
    include: str
    pybind11: str  # its include folder, or ""
    modules: frozenset[str]  # of those that figures need, what there is


_ASK = """
import importlib.util, json, os, sysconfig
var = sysconfig.get_config_var
name, folder = var("INSTSONAME") or "", var("LIBDIR") or ""
paths = [os.path.join(folder, name), os.path.join(folder, var("MULTIARCH") or "", name)]
try:
    from pybind11 import get_include
    pybind11 = get_include()
except ImportError:
    pybind11 = ""
library = next((path for path in paths if ".so" in name and os.path.exists(path)), "")
modules = [name for name in ("pandas", "pyarrow") if importlib.util.find_spec(name)]
print(json.dumps([library, sysconfig.get_path("include"), pybind11, modules]))
"""


def find_python() -> Python:
    chosen = Path(os.environ.get("KRAIT_PYTHON") or sys.executable)
    executable = str(chosen / "bin" / "python3" if chosen.is_dir() else chosen)
    answer = subprocess.run([executable, "-c", _ASK], stdout=subprocess.PIPE, check=True, timeout=30)
    library, include, pybind11, modules = json.loads(answer.stdout)
    if not library:
        sys.exit(f"bench: {executable} has no shared libpython")
    return Python(executable, library, include, pybind11, frozenset(modules))


def build(target: str, sources: list[str], command: list[str]) -> None:
    """Compiles unless the program is newer than its sources; the sources come first on the command line."""
    program, files = OUT / target, [HERE / name for name in sources]
    stamp = OUT / f"{target}.command"
    line = shlex.join(command)
    headers = [HERE / "bench.h", *(ROOT / "include").rglob("*.h")]
    newest = max(path.stat().st_mtime for path in [*files, *headers])
    if program.exists() and stamp.exists() and stamp.read_text() == line and program.stat().st_mtime > newest:
        return
    OUT.mkdir(parents=True, exist_ok=True)
    before, after = command[: command.index("@")], command[command.index("@") + 1 :]
    subprocess.run([*before, *map(str, files), *after, "-o", str(program)], check=True, timeout=120)
    stamp.write_text(line)


def build_programs(python: Python) -> dict[str, list[str]]:
    """The programs that can be had: name and command."""
    cc = [*shlex.split(os.environ.get("CC", "cc")), "-std=c11", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra"]
    link = ["-L" + str(BUILD), "-lkrait", "-Wl,-rpath," + str(BUILD), "-pthread"]
    build("krait_bench", ["krait_bench.c"], [*cc, "-I" + str(ROOT / "include"), "@", *link])
    build("limit", ["limit.c"], [*cc, "@", "-ldl", "-pthread"])
    programs = {"krait": [str(OUT / "krait_bench")], "limit": [str(OUT / "limit"), python.library, python.executable]}
    missing = build_pybind11(python)
    if missing:
        say(f"pybind11: skipped, {missing}")
    else:
        programs["pybind11"] = [str(OUT / "peer_pybind11"), python.executable]
    return programs


def build_pybind11(python: Python) -> str:
    """Builds that peer; returns what is missing for it."""
    cxx = shlex.split(os.environ.get("CXX", "c++"))
    if not python.pybind11:
        return f"{python.executable} has no pybind11: pip install pybind11"
    if not Path(python.include, "Python.h").exists():
        return f"there is no {python.include}/Python.h"
    if not shutil.which(cxx[0]):
        return f"there is no {cxx[0]}"
    flags = ["-std=c++17", "-O2", "-fvisibility=hidden", "-I" + python.pybind11, "-I" + python.include]
    link = [python.library, "-Wl,-rpath," + str(Path(python.library).parent), "-pthread"]
    build("peer_pybind11", ["peer_pybind11.cpp"], [*cxx, *flags, "@", *link])
    return ""


def possible(figures: list[Figure], python: Python) -> list[Figure]:
    """Those that this machine can measure; what the others lack is said."""
    kept = []
    for figure in figures:
        missing = [name for name in figure.needs if name not in python.modules]
        if figure.name == "array-1g" and not enough_memory():
            missing.append("3 GiB of free memory")
        if missing:
            say(f"{figure.name}: skipped, there is no {' and no '.join(missing)}")
        else:
            kept.append(figure)
    return kept


def environment(python: str) -> dict[str, str]:
    # glibc gives the top of the heap back and faults it in again by accident of heap layout, unless told not to.
    return {**os.environ, "MALLOC_TRIM_THRESHOLD_": "268435456", "PYTHONHASHSEED": "0", "KRAIT_PYTHON": python}


# ---- times -----------------------------------------------------------------------------------------------------------


class Program:
    """A program of bench.h that runs and waits for orders."""

    def __init__(self, command: list[str], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)

    def run(self, figure: str, n: int) -> int:
        """Nanoseconds that n calls took."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{figure} {n}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args}: ended with {self.process.wait()} at {figure}")
        return int(answer)

    def settle(self, figure: str) -> int:
        """Warms up; returns how many calls make a round."""
        n = 1
        while (took := self.run(figure, n)) < ROUND_NS // 2:
            n *= 2
        return max(1, n * ROUND_NS // took)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def started(commands: dict[str, list[str]], env: dict[str, str]) -> Iterator[dict[str, Program]]:
    with ExitStack() as stack:
        programs: dict[str, Program] = {}
        for name, command in commands.items():
            programs[name] = Program(command, env)
            stack.callback(programs[name].end)
        yield programs


Samples: TypeAlias = dict[str, list[float]]


def take_turns(contestants: dict[str, Callable[[], float]], rounds: int, samples: Samples) -> None:
    """One sample of each per round, the order turned round every time."""
    names = list(contestants)
    for i in range(rounds):
        for name in names if i % 2 else reversed(names):
            samples.setdefault(name, []).append(contestants[name]())


def session(programs: dict[str, Program], figure: Figure, samples: Samples) -> None:
    def contestant(program: Program, name: str) -> Callable[[], float]:
        n = program.settle(name)
        return lambda: program.run(name, n) / n

    known = {who: source for who, source in figure.sources().items() if source[0] in programs}
    turns = {who: contestant(programs[program], name) for who, (program, name) in known.items()}
    take_turns(turns, figure.rounds, samples)


def entry_of(figure: str, unit: str, target: float, samples: Samples) -> Entry:
    """What krait takes is told as limit x ratio, both medians, so that the three agree."""
    ratios = [ours / theirs for ours, theirs in zip(samples["krait"], samples["limit"], strict=True)]
    low, ratio, high = statistics.quantiles(ratios, n=4)
    middle = {name: statistics.median(values) for name, values in samples.items()}
    peers = {name: value for name, value in middle.items() if name not in ("krait", "limit")}
    return Entry(figure, unit, middle["limit"] * ratio, middle["limit"], peers, ratio, target, f"{low:.2f}-{high:.2f}")


def measure_calls(figures: list[Figure], commands: dict[str, list[str]], env: dict[str, str]) -> list[Entry]:
    samples: dict[str, Samples] = {figure.name: {} for figure in figures}
    for _ in range(SESSIONS if figures else 0):
        with started(commands, env) as programs:
            for figure in figures:
                session(programs, figure, samples[figure.name])
    return [entry_of(figure.name, "ns", figure.target, samples[figure.name]) for figure in figures]


def enough_memory() -> bool:
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    free = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    return bool(free) and free[0] >= HUGE_KIB


# ---- starting Python: whole processes --------------------------------------------------------------------------------


def timed_process(command: list[str], env: dict[str, str]) -> float:
    """Milliseconds from its start to its end."""
    start = time.perf_counter_ns()
    pid = os.posix_spawn(command[0], command, env)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter_ns() - start
    if status:
        raise RuntimeError(f"{shlex.join(command)}: status {status}")
    return took / 1e6


def measure_starts(python: Python, program: str) -> list[Entry]:
    """A Python that krait finds by itself, and one behind a script, which it can only ask."""
    script = OUT / "python-behind-a-script"
    script.write_text(f'#!/bin/sh\nexec {shlex.quote(python.executable)} "$@"\n')
    script.chmod(0o755)
    env, probed = environment(python.executable), environment(str(script))
    plain, both = ("limit", lambda: timed_process([python.executable, "-c", "pass"], env)), [program, "init"]
    entries = []
    for name, target, ours in (("init", 1.2, env), ("init-probed", 2.0, probed)):
        samples: Samples = {}
        take_turns({"krait": lambda ours=ours: timed_process(both, ours), plain[0]: plain[1]}, STARTS, samples)
        entries.append(entry_of(name, "ms", target, samples))
    return entries


# ---- instructions ----------------------------------------------------------------------------------------------------


def instructions(command: list[str], env: dict[str, str], figures: list[str]) -> dict[str, float]:
    """Instructions per call: one part of the profile per run, warmed up, then n and 2 n calls."""
    orders = [f"{figure} {n}" for figure in figures for n in (COUNT, COUNT, 2 * COUNT)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        tool = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}"]
        part = ["--zero-before=bench_run", "--dump-after=bench_run"]
        whole = [*tool, *part, *command]
        process = subprocess.Popen(whole, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env, text=True)
        try:
            process.communicate("\n".join(orders) + "\n")
        finally:
            process.kill()
        counts = [totals(Path(f"{out}.{i + 1}")) for i in range(len(orders))]
    pairs = {figure: (counts[3 * i + 1], counts[3 * i + 2]) for i, figure in enumerate(figures)}
    return {figure: (twice - once) / COUNT for figure, (once, twice) in pairs.items()}


def totals(part: Path) -> int:
    lines = [line for line in part.read_text().splitlines() if line.startswith("totals:")]
    return int(lines[-1].split()[1])


def measure_instructions(figures: list[Figure], commands: dict[str, list[str]], env: dict[str, str]) -> list[Entry]:
    counted = [figure for figure in figures if figure.counted]
    if not counted:
        return []
    if not shutil.which("valgrind"):
        say("instructions: skipped, there is no valgrind")
        return []
    counts: dict[Source, float] = {}
    for program, command in commands.items():
        names = {source[1] for figure in counted for source in figure.sources().values() if source[0] == program}
        counts.update({(program, name): count for name, count in instructions(command, env, sorted(names)).items()})
    entries = []
    for figure in counted:
        peers = {who: counts[source] for who, source in figure.peers.items() if source in counts}
        ours, theirs = counts[figure.krait], counts[figure.limit]
        name = f"{figure.name}-instructions"
        entries.append(Entry(name, "instructions", ours, theirs, peers, ours / theirs, None))
    return entries


# ---- the whole -------------------------------------------------------------------------------------------------------


def table(entries: list[Entry]) -> None:
    say(f"\n{'figure':34}{'unit':>6}{'krait':>14}{'limit':>14}{'ratio':>8}  {'quartiles':12}{'target':>7}  peers")
    for entry in entries:
        peers = ", ".join(f"{name} {value:,.0f} ({value / entry.limit:.2f} x)" for name, value in entry.peers.items())
        unit = "instr" if entry.unit == "instructions" else entry.unit
        target = entry.target or ""
        numbers = f"{entry.krait:>14,.1f}{entry.limit:>14,.1f}{entry.ratio:>8.3f}  {entry.spread:12}{target:>7}"
        say(f"{entry.figure:34}{unit:>6}{numbers}  {peers}")
        for mark in entry.missed():
            say(f"{'':34}{mark}")


def too_long(*_: object) -> None:
    raise TimeoutError(f"the bench took longer than {LIMIT_S} s")


def main(wanted: list[str]) -> None:
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT_S)
    python = find_python()
    commands, env = build_programs(python), environment(python.executable)
    figures = possible([figure for figure in FIGURES if not wanted or figure.name in wanted], python)
    entries = measure_calls(figures, commands, env)
    if not wanted or "init" in wanted:
        entries += measure_starts(python, commands["krait"][0])
    entries += measure_instructions(figures, commands, env)
    table(entries)
    (BUILD / "bench.json").write_text(json.dumps([entry.as_json() for entry in entries], indent=2) + "\n")
    say(f"\n{python.executable}; {BUILD / 'bench.json'}")


if __name__ == "__main__":
    main(sys.argv[1:])
