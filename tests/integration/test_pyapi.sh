#!/usr/bin/env bash
# Compiles pyapi_headers.c against the headers of each Python on this machine, 3.11 and newer: beside the default one, pyenv's, Debian's,
# and those that test-pythons names in HEADERS. Without any headers it says so and proves nothing, which counts as one failure only
# where KRAIT_HEADERS_NEEDED is set.
set -u
cd "$(dirname "$0")/../.." || exit 1
passed=0 failed=0
tried=' '

try() {
    local include=$1 said
    [ -f "$include/Python.h" ] || return 0
    include=$(realpath "$include")
    case $tried in *" $include "*) return 0 ;; esac
    tried="$tried$include "
    if said=$(${CC:-cc} -std=c11 -D_GNU_SOURCE -fsyntax-only -isystem "$include" -isystem "$(dirname "$include")" \
        -Wno-deprecated-declarations tests/integration/pyapi_headers.c 2>&1); then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED %s\n%s\n' "$include" "$said"
    fi
}

shopt -s nullglob
for python in "${KRAIT_PYTHON:-}" .venv/bin/python python3; do
    [ -n "$python" ] || continue
    [ -d "$python" ] && python=$python/bin/python
    try "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))' 2>/dev/null)"
done
root=${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}
for include in ${HEADERS:-} "$root"/versions/3.1[1-9]*/include/python3.* /usr/include/python3.1[1-9] \
    .venv/headers/usr/include/python3.*; do try "$include"; done
if [ $((passed + failed)) -eq 0 ]; then
    echo "no Python headers on this machine: the symbol list was not held against any"
    [ -z "${KRAIT_HEADERS_NEEDED:-}" ] && passed=1 || failed=1
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
