#!/usr/bin/env bash
# Sums up a tally of run.sh: the last line is "N passed, N failed"; the status tells whether all is well.
awk '{ passed += $1; failed += $2; if ($2) bad = bad "\n  " substr($0, index($0, $3)) }
     END { if (bad) print "failed:" bad; printf "%d passed, %d failed\n", passed, failed; exit failed > 0 || passed == 0 }' "$1"
