#!/usr/bin/env bash
# One libkrait.so, built once, against every Python that can be had here:
#   Debian's python3 with its own numpy and pandas; each pyenv or /usr/local Python from 3.11 on with the newest numpy and pandas; and
#   3.14 and 3.15 of Debian's newest suite, in a debootstrap root.
# What it makes (venvs, the root) is kept outside the tree, in ${XDG_CACHE_HOME:-~/.cache}/krait. What cannot be made is skipped with a
# word. PYTHONS=ends runs only the oldest and the newest. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
build=$(realpath "${BUILD:-build}")
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/krait
export TALLY=$build/tally-pythons TEST_CALLS=${KRAIT_TEST_CALLS:-100000}
which=${PYTHONS:-all}
packages=(numpy pandas)
extras=(pyarrow polars scikit-learn) # where there are wheels: tests show what holds without them too
mkdir -p "$cache"
: >"$TALLY"

programs=("$build"/integration/test_*)
headers=()

say() { echo "test-pythons: $*"; }
version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; }
libraries_of() { "$1" -c 'import numpy, pandas; print("numpy", numpy.__version__, "pandas", pandas.__version__)' 2>/dev/null; }

# run LABEL KRAIT_PYTHON [PREFIX...]: all programs, in the environment that PREFIX makes
run() {
    local label=$1 python=$2
    shift 2
    say "$label: $(libraries_of "$python" || echo 'libraries unknown')"
    env KRAIT_PYTHON="$python" KRAIT_TEST_CALLS="$TEST_CALLS" tests/tools/run.sh -l "$label" "${programs[@]}"
}

# The interpreters of this machine, 3.11 and newer, one of each minor version.
interpreters() {
    local python seen=' ' version
    shopt -s nullglob
    for python in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.1[1-9]*/bin/python /usr/local/bin/python3.1[1-9]; do
        version=$(version_of "$python") || continue
        case $seen in *" ${version%.*} "*) continue ;; esac
        seen="$seen${version%.*} "
        echo "${version%.*} $python"
    done | sort -t. -k2n
}

make_venv() {
    local python=$1 venv=$2
    [ -e "$venv/.done2" ] && return 0
    rm -rf "$venv"
    "$python" -m venv "$venv" && "$venv/bin/pip" install -q --retries 1 --timeout 20 "${packages[@]}" || return 1
    "$venv/bin/pip" install -q --retries 1 --timeout 20 --only-binary :all: "${extras[@]}" || say "$venv: not all of ${extras[*]}"
    touch "$venv/.done2"
}

debian_python() {
    local python=/usr/bin/python3
    if [ -x "$python" ] && [ -n "$(libraries_of "$python")" ]; then
        run "debian-$(version_of "$python")" "$python"
    else
        say "skipped: Debian's python3 with python3-numpy and python3-pandas is not installed"
    fi
}

local_pythons() {
    local minor python
    while read -r minor python; do
        [ -n "$minor" ] || continue
        if make_venv "$python" "$cache/venv-$minor"; then
            run "python-$(version_of "$python")" "$cache/venv-$minor/bin/python"
        else
            say "skipped: no venv with numpy and pandas could be made for $python"
        fi
    done < <(interpreters)
}

# ---- Debian's newest suite in a root of its own ----------------------------------------------------------------------------------

mirror() {
    awk '/^URIs:/ { print $2; exit } /^deb / { sub(/\[[^]]*\] */, ""); print $2; exit }' \
        /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null
}

inside() { # ROOT COMMAND...: in a mount and pid namespace that ends with the command
    local root=$1
    shift
    # shellcheck disable=SC2016  # expanded inside
    unshare --mount --pid --fork --kill-child --propagation private -- bash -c '
        mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/dev/shm" 2>/dev/null
        for device in null zero random urandom; do [ -e "$0/dev/$device" ] || touch "$0/dev/$device"; mount --bind "/dev/$device" "$0/dev/$device"; done
        exec chroot "$0" "$@"' "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        PIP_DISABLE_PIP_VERSION_CHECK=1 "${passed_on[@]}" "$@" </dev/null
}

# What a machine gets from its network and its administrator.
connect() {
    local root=$1 name
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    [ ! -f /etc/pip.conf ] || cp -L /etc/pip.conf "$root/etc/pip.conf"
    mkdir -p "$root/usr/local/share/ca-certificates"
    cp -L /usr/local/share/ca-certificates/*.crt "$root/usr/local/share/ca-certificates/" 2>/dev/null
    passed_on=()
    while read -r name; do passed_on+=("$name=${!name}"); done < <(compgen -e |
        grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT)|SSL_CERT_.*|(https?|no)_proxy|(HTTPS?|NO)_PROXY)$')
}

make_root() {
    local root=$1 source
    [ -e "$root/.done" ] && return 0
    source=$(mirror)
    [ -n "$source" ] || return 1
    command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap; } >/dev/null 2>&1 || return 1
    rm -rf --one-file-system "$root"
    say "making a root of Debian sid in $root"
    debootstrap --variant=minbase sid "$root" "$source" >"$cache/sid.log" 2>&1 || return 1
    connect "$root"
    # shellcheck disable=SC2016  # expanded inside
    inside "$root" sh -ec 'export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq -o Acquire::Check-Valid-Until=false
        apt-get install -y -qq --no-install-recommends ca-certificates libcmocka0 python3 python3-venv python3-numpy python3-pandas $(
            for v in 3.13 3.14 3.15; do apt-cache show python$v >/dev/null 2>&1 && echo python$v python$v-venv libpython$v libpython$v-dev; done)
        update-ca-certificates' >>"$cache/sid.log" 2>&1 && touch "$root/.done"
}

in_root() { # ROOT LABEL PYTHON: the programs, copied in with the library and what they read
    local root=$1 label=$2 python=$3 program
    say "$label: $(inside "$root" "$python" -c 'import numpy, pandas; print("numpy", numpy.__version__, "pandas", pandas.__version__)')"
    mkdir -p "$root/krait/integration"
    cp -L "$build/libkrait.so" "$root/krait/libkrait.so.0"
    cp -L "$build/libkrait.so" "$root/krait/libkrait.so"
    cp "${programs[@]}" "$root/krait/integration/"
    cp "$build/krait" docs/types.md "$root/krait/"
    mkdir -p "$root/tmp" && cp tests/tools/run.sh "$root/krait/"
    for program in "${programs[@]}"; do
        inside "$root" env KRAIT_PYTHON="$python" LD_LIBRARY_PATH=/krait KRAIT_TEST_CLI=/krait/krait BUILD=/krait \
            KRAIT_TEST_TYPES=/krait/types.md KRAIT_TEST_CALLS="$TEST_CALLS" TALLY=/krait/tally \
            bash /krait/run.sh -l "$label" "/krait/integration/${program##*/}"
    done
    cat "$root/krait/tally" >>"$TALLY" && rm -f "$root/krait/tally"
}

# Python's headers alone: with the newer C library's beside them this machine's compiler would take those.
take_headers() {
    local root=$1 version=$2 own=$cache/include-$2 part
    rm -rf "$own" && mkdir -p "$own"
    for part in "$root/usr/include/python$version" "$root"/usr/include/*-linux-gnu/"python$version"; do
        mkdir -p "$own/$(dirname "${part#"$root/usr/include/"}")" && cp -a "$part" "$own/${part#"$root/usr/include/"}"
    done
    headers+=("$own/python$version")
}

newest_suite() {
    local root=$cache/sid version newest='' pip_log=$cache/pip.log
    if [ "$(id -u)" != 0 ]; then say "skipped: Debian's newest suite needs root, for chroot"; return; fi
    if ! make_root "$root"; then say "skipped: no root of Debian's newest suite could be made (see $cache/sid.log)"; return; fi
    connect "$root"
    inside "$root" sh -c 'command -v addr2line >/dev/null || apt-get install -y -qq --no-install-recommends binutils' >>"$cache/sid.log" 2>&1
    for version in 3.15 3.14; do
        [ -x "$root/usr/bin/python$version" ] || { say "skipped: Debian's newest suite has no python$version"; continue; }
        [ -n "$newest" ] && [ "$which" = ends ] && return
        newest=$version
        if [ ! -e "$root/venv-$version/.done2" ]; then
            inside "$root" sh -ec "python$version -m venv /venv-$version && /venv-$version/bin/pip install -q ${packages[*]}
                /venv-$version/bin/pip install -q --only-binary :all: ${extras[*]} || echo 'not all of ${extras[*]}'
                touch /venv-$version/.done2" >"$pip_log" 2>&1 || { say "skipped: no numpy and pandas for python$version (see $pip_log)"; continue; }
        fi
        in_root "$root" "sid-$version" "/venv-$version/bin/python"
        take_headers "$root" "$version"
    done
}

passed_on=()
debian_python
[ "$which" = ends ] || local_pythons
newest_suite
HEADERS="${headers[*]}" tests/tools/run.sh -l headers tests/integration/test_pyapi.sh
tests/tools/sum.sh "$TALLY"
