#!/usr/bin/env bash
# Runs test programs, each in a process of its own with a time limit, and sums up.
#
# usage: run.sh [-l LABEL] [-t SECONDS] PROGRAM...
# A program is a cmocka test, or a script that ends with "N passed, N failed". One that ends without saying how many it ran,
# or by a signal, counts as one failure. Output is shown when something failed. Totals are added to $TALLY, one line each
# program: "passed failed label program".
set -u
label='' limit=300
while getopts l:t: option; do
    case $option in l) label=$OPTARG ;; t) limit=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))
tally=${TALLY:-/dev/null}
log=$(mktemp "${TMPDIR:-/tmp}/krait-test.XXXXXX")
trap 'rm -f "$log"' EXIT
bad=0

# Counts of a finished program, from its own words.
count() {
    awk '
        # cmocka names what ran; its summary may be printed for several groups
        /^\[  (PASSED|FAILED)  \] .*[0-9]+ test\(s\)/ {
            match($0, /[0-9]+ test\(s\)/); n = substr($0, RSTART) + 0
            if ($2 == "PASSED") passed += n; else failed += n
            seen = 1
        }
        /^[0-9]+ passed, [0-9]+ failed/ { passed += $1; failed += $3; seen = 1 }
        # pytest: "3 failed, 20 passed in 1.2s"
        /^(=+ )?.*[0-9]+ (passed|failed).* in [0-9.]+s/ {
            line = $0
            if (match(line, /[0-9]+ passed/)) passed += substr(line, RSTART, RLENGTH) + 0
            if (match(line, /[0-9]+ failed/)) failed += substr(line, RSTART, RLENGTH) + 0
            if (match(line, /[0-9]+ error/)) failed += substr(line, RSTART, RLENGTH) + 0
            seen = 1
        }
        END { if (!seen) exit 1; print passed + 0, failed + 0 }' "$1"
}

for program in "$@"; do
    start=$SECONDS
    # shellcheck disable=SC2086  # a program may come with arguments
    timeout -k 5 "$limit" $program >"$log" 2>&1 </dev/null
    rc=$?
    if ! counts=$(count "$log"); then counts='0 1'; fi
    read -r passed failed <<<"$counts"
    if [ "$rc" -ne 0 ] && [ "$failed" -eq 0 ]; then failed=1; fi
    if [ "$rc" -eq 0 ] && [ $((passed + failed)) -eq 0 ]; then failed=1; fi
    echo "$passed $failed $label $program" >>"$tally"
    if [ "$failed" -ne 0 ]; then
        bad=1
        cat "$log"
        echo "FAILED $label $program: exit $rc, $passed passed, $failed failed, $((SECONDS - start)) s"
    else
        printf '  ok  %-14s %-45s %4d tests %4d s\n' "$label" "${program##*/}" "$passed" $((SECONDS - start))
    fi
done
exit $bad
