#!/usr/bin/env bash
# Installs into a staged prefix, moves it, and builds the README's example against it through pkg-config: with the shared library, with the
# static one, from C++, and fully static, which must be a clear error. Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
CC=${CC:-cc} CXX=${CXX:-c++}
work=$(mktemp -d "${TMPDIR:-/tmp}/krait-install.XXXXXX")
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
expected=' 1.000  1.134'

check() { # NAME COMMAND...: passes when the command does
    local name=$1
    shift
    if "$@" >"$work/said" 2>&1; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $name"; sed 's/^/    /' "$work/said"; fi
}
says() { "$@" | grep -qxF -- "$expected"; }

check "install" make -s install SETUP=0 DESTDIR="$work/stage" PREFIX=/opt/krait BUILD="${BUILD:-build}"
mv "$work/stage/opt/krait" "$work/moved"
export PKG_CONFIG_PATH=$work/moved/lib/pkgconfig
belongs='^./(bin/krait|include/krait(/[a-z]+)?\.h|lib/libkrait\.(a|so\.[0-9.]+)|lib/pkgconfig/krait\.pc|share/man/.*)$'
check "only what belongs there" test "$(cd "$work/moved" && find . -type f | grep -cvE "$belongs")" = 0

if command -v pkg-config >/dev/null; then
    read -ra flags <<<"$(pkg-config --cflags --libs krait)"
    check "pkg-config names the moved prefix" test "$(realpath "${flags[0]#-I}")" = "$(realpath "$work/moved")/include"
    check "build, shared" "$CC" -Wall -Wextra -Werror examples/hello.c "${flags[@]}" -o "$work/shared"
    check "run, shared" says env LD_LIBRARY_PATH="$work/moved/lib" "$work/shared"
    if command -v "$CXX" >/dev/null; then
        cp examples/hello.c "$work/hello.cc"
        check "build, C++" "$CXX" -std=c++17 -fsyntax-only -Wall -Wextra -x c++ "$work/hello.cc" "${flags[@]}"
    fi
else
    echo "no pkg-config on this machine: what it answers is not tested"
fi
check "build, libkrait.a" "$CC" -I"$work/moved/include" examples/hello.c "$work/moved/lib/libkrait.a" -ldl -lm -pthread -o "$work/with_a"
check "run, libkrait.a" says "$work/with_a"
check "the command finds its library" env -u LD_LIBRARY_PATH "$work/moved/bin/krait" version
if "$CC" -static -I"$work/moved/include" examples/hello.c "$work/moved/lib/libkrait.a" -ldl -lm -pthread -o "$work/static" 2>/dev/null; then
    "$work/static" >"$work/static.out" 2>&1
    check "a fully static program is told so" grep -q 'fully static' "$work/static.out"
else
    echo "no static C library on this machine: the fully static program is not tested"
fi
check "uninstall" make -s uninstall SETUP=0 DESTDIR="$work/moved" PREFIX=
check "nothing is left" test -z "$(find "$work/moved" -type f | grep -v share/man)"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
