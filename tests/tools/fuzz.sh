#!/usr/bin/env bash
# Runs one fuzz target for a while: fuzz.sh NAME SECONDS. What it finds is left beside its log in $BUILD/fuzz.
set -u
name=$1 seconds=$2
seeds=$(realpath "$(dirname "$0")/../fuzz/corpus/$name")
cd "${BUILD:-build}/fuzz" && mkdir -p "corpus/$name" || exit 1
export ASAN_OPTIONS=allocator_may_return_null=1
if ! "./fuzz_$name" -max_total_time="$seconds" -max_len=2000 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="$name-" "corpus/$name" "$seeds" >"$name.log" 2>&1; then
    tail -n 60 "$name.log"
    echo "fuzz $name: failed; the whole of it in $PWD/$name.log"
    exit 1
fi
echo "  fuzz $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$name.log") inputs, nothing found"
