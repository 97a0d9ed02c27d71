#!/usr/bin/env bash
# The rules that a compiler does not check: layers, exports, headers, documentation of the public surface, style.
# Ends with "N passed, N failed".
set -u
cd "$(dirname "$0")/../.." || exit 1
BUILD=${BUILD:-build}
CC=${CC:-cc}
passed=0 failed=0

ok() { passed=$((passed + 1)); }
bad() { failed=$((failed + 1)); echo "FAILED $*"; }
# rule NAME COMMAND...: the command prints what breaks the rule, nothing when it holds.
rule() {
    local name=$1 said
    shift
    said=$("$@" 2>&1)
    if [ -z "$said" ]; then ok; else bad "$name"; printf '%s\n' "$said" | sed 's/^/    /'; fi
}

# A file of lib/ includes its own layer's lower ranks and lower layers, never upward; pyerr and bridge are peers.
layers() {
    awk '
        BEGIN {
            split("os:0 mem:0 error:1 log:1 locate:10 janitor:10 pyapi:11 gil:12 pyerr:13 bridge:13 start:14 runtime:15 " \
                  "value:20 table:20 column:20 instant:20 structs:20 blas:20 arrow:21 arrow_in:21 arrow_out:21 arrow_join:21 dlpack:21 " \
                  "loan:21 leaks:21 ndarray:21 outlet:22 textcol:23 times:23 tensor:23 frame:24 frame_in:24 frame_out:24 " \
                  "convert:25 options:30 func:31 call:32 object:33 host:33 metrics:60 report:60 doctor:61 krait:70", rows, " ")
            for (i in rows) { split(rows[i], row, ":"); rank[row[1]] = row[2] }
        }
        function base(path) { sub(/.*\//, "", path); sub(/\.[a-z]+$/, "", path); return path }
        FNR == 1 { own = base(FILENAME); if (!(own in rank)) print FILENAME ": stands in no layer: add it to tests/tools/rules.sh" }
        /^#include "/ {
            split($2, part, "\""); other = base(part[2])
            if (part[2] ~ /\.def$/ || other == own) next
            if (!(other in rank)) print FILENAME ": includes " part[2] ", which stands in no layer"
            else if (rank[other] > rank[own]) print FILENAME ": layer " rank[own] " includes " part[2] " of layer " rank[other]
        }' lib/*.c lib/*.h
}

# Only gil may save or restore a thread state; only call and the bridge to krait'\''s own Python enter Python code by a call.
gil_only() {
    grep -nE 'PyEval_(SaveThread|RestoreThread)|PyThreadState_(Clear|Delete)' lib/*.c | grep -vE '^lib/gil\.c:' |
        sed 's/$/   (only lib\/gil.c may)/'
}

declared() { awk '/^KRAIT_API/ && match($0, /krait_[a-z0-9_]+\(/) { print substr($0, RSTART, RLENGTH - 1) }' include/krait/*.h | sort -u; }
listed() { sed -n 's/^ *\(krait_[a-z0-9_]*\);$/\1/p' lib/krait.map | sort -u; }
exported() { nm -D --defined-only "$BUILD/libkrait.so" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u; }
exports_declared() { diff <(declared) <(listed) | sed -n 's/^</declared, but not in krait.map:/p; s/^>/in krait.map, but not declared:/p'; }
exports_real() { diff <(listed) <(exported) | sed -n 's/^</in krait.map, but not exported:/p; s/^>/exported, but not in krait.map:/p'; }

# Every public function has a comment before it with the fixed lines. Functions in one block share it.
documented() {
    awk '
        /^\/\*/ { text = "" }
        /^\/\*/, /\*\/$/ { text = text $0 "\n"; next }
        /^KRAIT_API/ {
            if (text !~ /Threads:/) print FILENAME ":" FNR ": no Threads: line: " $0
            if (text !~ /Since:/) print FILENAME ":" FNR ": no Since: line: " $0
        }
        /^$/ { text = "" }' include/krait/*.h
}

headers() {
    local header
    for header in include/krait.h include/krait/*.h; do
        printf '#include <%s>\nint main(void) { return 0; }\n' "${header#include/}" >"$BUILD/alone.c"
        $CC -std=c99 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude "$BUILD/alone.c"
        if command -v "${CXX:-c++}" >/dev/null; then
            "${CXX:-c++}" -x c++ -std=c++17 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Werror -Iinclude "$BUILD/alone.c"
        fi
    done
}

# No line over 120 columns (tests and scripts: 160), no tab in C, no trailing blank; no absolute path of a machine.
text_style() {
    git ls-files '*.c' '*.h' '*.py' '*.sh' '*.go' '*.md' Makefile 2>/dev/null | grep -v '^docs/' | while read -r file; do
        [ -f "$file" ] || continue
        awk -v file="$file" '
            file !~ /\.md$/ && length($0) > (file ~ /^(lib|include|bridge|examples)\// ? 120 : 160) { print file ":" FNR ": too long" }
            file ~ /\.[ch]$/ && /\t/ { print file ":" FNR ": a tab" }
            /[ \t]+$/ { print file ":" FNR ": blanks at the end" }' "$file"
        grep -nE '/root/|/tmp/venvs|/work/' "$file" | grep -v 'tests/tools/rules.sh' | sed "s|^|$file: |"
    done
}

# No abort, exit or print in the library.
no_exit() { grep -nE '\b(abort|exit|_exit|printf|puts)\(' lib/*.c | grep -v 'krait: log is asked for'; }

# Nothing public without a test that calls it.
tested() {
    local name
    for name in $(declared); do
        grep -rqw "$name" tests examples bridge/cli bridge/go --include='*.c' --include='*.h' --include='*.py' --include='*.go' 2>/dev/null ||
            echo "$name is called by no test or example"
    done
}

# Half of the functions under 14 lines, nine in ten under 45, none over 90.
function_lengths() {
    awk '
        /^[a-z].*\) \{$/ { name = $0; start = FNR; file = FILENAME }
        /^\}/ && start { n = FNR - start - 1; start = 0; count[++total] = n; if (n > 90) print file ": " n " lines: " name }
        END {
            if (!total) exit
            for (i = 1; i <= total; i++) { small += count[i] <= 14; middle += count[i] <= 45 }
            if (small / total < 0.5) print "only " small " of " total " functions are under 14 lines"
            if (middle / total < 0.9) print "only " middle " of " total " functions are under 45 lines"
        }' lib/*.c
}

rule "layers" layers
rule "thread states in gil only" gil_only
rule "declared functions are listed" exports_declared
rule "listed functions are exported" exports_real
rule "public functions are documented" documented
rule "headers alone, C99 and C++17" headers
rule "text style" text_style
rule "no exit or print in lib" no_exit
rule "every public function is used by a test" tested
rule "function lengths" function_lengths
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
