#!/usr/bin/env bash
# Runs each built example with a time limit and compares what it prints: with what is written here where that is the
# same everywhere, with plain pandas on the same files for the demo. Each must also say what is wrong where there is no
# Python. Writes below $BUILD only. Go's example may be missing only where there is no Go.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
export PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=$build/matplotlib
unset KRAIT_LOG
work=$(mktemp -d "$build/test_examples.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# The interpreter that krait chooses, for what is itself written in Python.
python=${KRAIT_PYTHON:-python3}
[ ! -d "$python" ] || python=$python/bin/python3

ok() {
    passed=$((passed + 1))
    echo "ok $1"
}

bad() {
    failed=$((failed + 1))
    echo "FAILED $1: $2"
}

run() {
    timeout -k 5 100 "$@" >"$work/out" 2>"$work/err" </dev/null
}

# NAME COMMAND...: ends well, says nothing on stderr, and prints what stands on stdin. Left out are times and the marks
# below a line of a traceback, which each version of Python draws differently.
prints() {
    local name=$1 status
    cat >"$work/expected"
    run "${@:2}"
    status=$?
    sed -E -e 's/ +[0-9]+ ns each/ N ns each/' -e '/^ +[~^]+$/d' "$work/out" >"$work/printed"
    if [ "$status" -ne 0 ] || [ -s "$work/err" ]; then
        bad "$name" "exit $status, $(tail -n 5 "$work/err")"
    elif ! diff "$work/expected" "$work/printed" >"$work/diff"; then
        bad "$name" "other output than expected (<)"$'\n'"$(cat "$work/diff")"
    else
        ok "$name"
    fi
}

# NAME COMMAND...: without a Python it ends with 1 and one line that names what was looked for.
explains() {
    local name="$1 without Python" status
    run env KRAIT_PYTHON=/no/such/python "${@:2}"
    status=$?
    if [ "$status" -ne 1 ]; then
        bad "$name" "exit $status, expected 1: $(tail -n 5 "$work/err")"
    elif [ "$(wc -l <"$work/err")" -ne 1 ] || ! grep -q '/no/such/python' "$work/err"; then
        bad "$name" "expected one line that names /no/such/python: $(cat "$work/err")"
    else
        ok "$name"
    fi
}

# What the demo prints and draws, against pandas alone.
check_demo() {
    "$python" - "$work/printed" "$work/demo.png" <<'CHECK'
import re
import sys

import numpy as np
import pandas as pd
from matplotlib import cbook, image

lines = open(sys.argv[1]).read().splitlines()
tables, title = {}, ""
for before, line in zip([""] + lines, lines):
    if line == "-" * 100:
        title = before.split()[0]
        tables[title] = []
    elif title and line:
        tables[title].append(line)
for table in list(tables.values())[:-1]:
    table.pop()  # the heading of the next one


def numbers(line):
    return [float(word) for word in re.findall(r"(?<=\s)[-+]?\d+(?:\.\d+)?(?=[\s%]|$)", line)]


def compare(what, printed, expected, step=0.01):
    printed, expected = np.asarray(printed, float), np.asarray(expected, float)
    assert printed.shape == expected.shape, f"{what}: {printed.shape} numbers, expected {expected.shape}"
    far = ~(np.abs(printed - expected) <= step * 0.5001 + 1e-9 * np.abs(expected))
    assert not far.any(), f"{what}: {printed[far]}, pandas has {expected[far]}"


def sample(name):
    return cbook.get_sample_data(name, asfileobj=False)


google = pd.DataFrame(np.load(sample("goog.npz"))["price_data"]).set_index("date")
google["volume"] = google["volume"] / 1e6
elevation = pd.Series(np.load(sample("jacksboro_fault_dem.npz"))["elevation"].ravel())
stocks = pd.read_csv(sample("Stocks.csv"), comment="#", index_col=0, parse_dates=True)

described = google[["open", "high", "low", "close", "volume"]].describe().T
compare("described", [numbers(line.split(",")[1]) for line in tables["Google,"][1:]], described)
compare("elevations", numbers(tables["Jacksboro"][1]), elevation.describe())

kinds = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
weeks = google.resample("W").agg(kinds).tail(12)
rows = tables["Weekly"][1:]
assert [row[:10] for row in rows] == [str(day.date()) for day in weeks.index], "weeks: other dates"
compare("weeks", [numbers(row[10:58]) for row in rows], weeks)
rose = [("=" in row, "#" in row) for row in rows]
assert rose == [(c >= o, c < o) for o, c in zip(weeks["open"], weeks["close"])], "candles: other colours"

close = google["close"]
change = 100 * (close / close.shift(1) - 1)
mean, std = change.rolling(60).mean().shift(1), change.rolling(60).std().shift(1)
z = (change - mean) / std
days = pd.DataFrame({"close": close, "return": change, "mean": mean, "std": std, "z": z})[z.abs() > 4]
rows = tables["Unusual"][1:]
assert [row[:10] for row in rows] == [str(day.date()) for day in days.index], "unusual days: other dates"
compare("unusual days", [numbers(row[10:]) for row in rows], days)

assert "(524 rows, 133 of them empty" in "".join(lines), "the rows without prices were not counted"
months = stocks.groupby(stocks.index.to_period("M")).last()
returns = (100 * (months / months.shift(1) - 1)).iloc[1:]
compare("correlation", [numbers(line[10:]) for line in tables["Correlation"][1:]], returns.corr())

rows, expected = [line[10:].replace("+-", "") for line in tables["Regression:"][1:]], []
for name in returns.columns.drop("^GSPC"):
    both = returns[["^GSPC", name]].dropna()
    terms = np.column_stack([both["^GSPC"], np.ones(len(both))])
    (beta, alpha), (squares,), *_ = np.linalg.lstsq(terms, both[name], rcond=None)
    spread = squares / (len(both) - 2)
    errors = np.sqrt(spread * np.diag(np.linalg.inv(terms.T @ terms)))
    explained = 1 - squares / ((both[name] - both[name].mean()) ** 2).sum()
    expected.append([beta, errors[0], alpha, alpha / errors[1], explained, spread**0.5, len(both)])
found, expected = np.array([numbers(row) for row in rows]), np.array(expected)
compare("regression", np.delete(found, 3, axis=1), np.delete(expected, 3, axis=1))
compare("t of alpha", found[:, 3], expected[:, 3], 0.1)

rows = tables["Median"][1:8]
assert all(len(re.findall(r"[1-9]\d*\.\d us", row)) == 2 for row in rows), f"times: {rows}"
assert lines[-1].endswith(" 0 arrays copied, 0 results left"), lines[-1]
assert max(map(len, lines)) <= 100, "wider than 100 columns"

picture = image.imread(sys.argv[2])
assert picture.shape == (1430, 1650, 4), f"picture of {picture.shape}"
for part, colour in (("rises", (0, 0x72, 0xB2)), ("falls", (0xD5, 0x5E, 0))):
    near = np.abs(picture[:660, :, :3] * 255 - colour).max(axis=2) < 2
    assert near.sum() > 300, f"picture: {near.sum()} dots of the {part}"
for part, box in (("map", picture[720:1330, 110:680]), ("heat", picture[720:1330, 1000:1610])):
    assert box[..., :3].std() > 0.1, f"picture: nothing in the {part}"
CHECK
}

examples=$build/examples

prints hello "$examples/hello" <<'END'
-1.000 -0.756
 0.000 -0.378
 1.000  1.134
END

prints threads "$examples/threads" <<'END'
thread 1: standard deviation  288.8
thread 2: standard deviation  577.6
thread 3: standard deviation  866.5
thread 4: standard deviation 1155.3
thread 5: standard deviation 1444.1
thread 6: standard deviation 1732.9
thread 7: standard deviation 2021.7
thread 8: standard deviation 2310.6
10000 calls, one by one: N ns each
10000 calls, as a batch: N ns each
END

prints errors "$examples/errors" <<'END'
risk:value_at_risk raised:
  status   KRAIT_E_PYTHON: the Python function raised an exception
  step     call
  message  no prices for 2024-02-30
  type     ValueError
  frame    <krait_module_from_source risk>:11 in value_at_risk
  note     prices are written at 18:00
caused by
  status   KRAIT_E_PYTHON: the Python function raised an exception
  message  [Errno 2] No such file or directory: '/no/such/file'
  type     FileNotFoundError
  frame    <krait_module_from_source risk>:7 in value_at_risk
  frame    <krait_module_from_source risk>:2 in load

The traceback as Python prints it:
Traceback (most recent call last):
  File "<krait_module_from_source risk>", line 7, in value_at_risk
    return load(path)
  File "<krait_module_from_source risk>", line 2, in load
    with open(path) as file:
FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "<krait_module_from_source risk>", line 11, in value_at_risk
    raise error from missing
ValueError: no prices for 2024-02-30
prices are written at 18:00

The same as JSON, whole: {"status":"KRAIT_E_PYTHON","number":-50,"step":"call","message":"no prices f...

Three calls later, the first mistake:
  status   KRAIT_E_ARGUMENT: an argument is not what the function takes
  step     convert argument 1
  message  data is NULL, expected 3 elements of float64
  outputs  kind 0, 0 elements, 0
END

prints plugin_host "$examples/plugin_host" "$build/libkrait.so" <<'END'
krait 0.1.0 by dlopen
day 0: mean 11.0, max 12.0
day 1: mean 21.0, max 22.0
day 2: mean 30.0, max 30.0
0 live results
END
if ldd "$examples/plugin_host" | grep -q libkrait; then
    bad plugin_host "it is linked with libkrait, so dlopen with RTLD_LOCAL shows nothing"
else
    ok "plugin_host is not linked"
fi

prints python_host "$python" examples/python_host.py "$build/libkrait.so" <<'END'
length of ( 3,  4):    5
length of ( 6,  8):   10
length of ( 9, 12):   15
length of (12, 16):   20
END

prints ticks "$examples/ticks" <<'END'
ABC 1699999980  open 100.00  high 109.99  low 100.00  close 101.62  size 2000
ABC 1700000040  open 109.19  high 109.99  low 100.00  close 101.62  size 3000
ABC 1700000100  open 109.19  high 109.99  low 100.00  close 101.62  size 3000
ABC 1700000160  open 109.19  high 109.93  low 100.01  close 102.43  size 1000
KRT 1699999980  open 109.19  high 109.99  low 100.00  close 100.81  size 4000
KRT 1700000040  open 100.00  high 109.99  low 100.00  close 100.81  size 6000
KRT 1700000100  open 100.00  high 109.99  low 100.00  close 100.81  size 6000
KRT 1700000160  open 100.00  high 109.99  low 100.00  close 100.81  size 2000
END

prints table "$examples/table" <<'END'
Bergen: 3 orders, 50.00 paid, the last 18 days into 2024
Kraków: 2 orders, 8.00 paid, the last 17 days into 2024
END

prints host_prices "$examples/host_prices" <<'END'
portfolio:worth: 1184.00
portfolio:careful: no worth: no price of NONE (KRAIT_E_NOT_FOUND)
the host says: KRAIT_E_NOT_FOUND, no price of NONE
asked 6 times
END

# Where the machine has no scikit-learn, model says so in one line.
if "$python" -c 'import sklearn' 2>"$work/sklearn"; then
    prints model "$examples/model" <<'END'
4000 predictions by 8 threads: right
END
elif ! grep -q "No module named 'sklearn'" "$work/sklearn"; then
    bad model "scikit-learn is broken: $(tail -n 1 "$work/sklearn")"
else
    run "$examples/model"
    status=$?
    if [ "$status" -eq 1 ] && [ ! -s "$work/out" ] && [ "$(wc -l <"$work/err")" -eq 1 ] && grep -q "'sklearn'" "$work/err"; then
        ok "model without scikit-learn"
    else
        bad "model without scikit-learn" "exit $status, expected 1 and one line that names sklearn: $(cat "$work/out" "$work/err")"
    fi
fi

if [ -x "$examples/go_normalize" ] || type -P go >/dev/null || [ -x .venv/bin/go ]; then
    prints go_normalize "$examples/go_normalize" <<'END'
goroutine 0: [-1.000  0.000  0.000  1.000  1.000 -1.000]
goroutine 1: [-1.000 -0.577  0.000  1.155  1.000 -0.577]
goroutine 2: [-1.000 -1.155  0.000  0.577  1.000  0.577]
goroutine 3: [-1.000 -1.000  0.000  0.000  1.000  1.000]
goroutine 4: [-1.000 -0.873  0.000 -0.218  1.000  1.091]
goroutine 5: [-1.000 -0.801  0.000 -0.320  1.000  1.121]
goroutine 6: [-1.000 -0.756  0.000 -0.378  1.000  1.134]
goroutine 7: [-1.000 -0.726  0.000 -0.415  1.000  1.141]
END
    explains go_normalize "$examples/go_normalize"
else
    echo "no Go on this machine: its example was not built and not run"
fi

if run "$examples/demo" "$work/demo.png" && mv "$work/out" "$work/printed"; then
    if said=$(check_demo 2>&1); then ok demo; else bad demo "$said"; fi
else
    bad demo "$(tail -n 5 "$work/err")"
fi

for name in hello threads errors ticks table model host_prices demo; do explains "$name" "$examples/$name"; done
explains plugin_host "$examples/plugin_host" "$build/libkrait.so"

run "$examples/demo" "$work/demo.png" "$work"
if grep -q "No module named 'demo_data'" "$work/err"; then
    ok "demo without its modules"
else
    bad "demo without its modules" "$(tail -n 5 "$work/err")"
fi

for file in examples/*.c examples/*.py examples/go/*.go; do
    lines=$(wc -l <"$file")
    if [ "$lines" -le 80 ]; then ok "$file is short"; else bad "$file" "$lines lines, expected 80 at most"; fi
done

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
