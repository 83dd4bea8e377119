#!/usr/bin/env bash
# Runs one fuzz target for some seconds from its seed corpus: fuzz.sh PATH/fuzz_NAME SECONDS.  What it finds on the
# way is kept beside the program, so that the next run begins there; an input that fails is kept there too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
name=$(basename "$1")
name=${name#fuzz_}
found=$(dirname "$1")/corpus/$name
seeds=()
[ ! -d "$here/corpus/$name" ] || seeds=("$here/corpus/$name")
mkdir -p "$found"
export LOCKSTEP_SOURCE=${LOCKSTEP_SOURCE:-$here/../..}
exec "$1" -max_total_time="$2" -timeout=10 -rss_limit_mb=1024 -max_len=8192 -artifact_prefix="$found-" \
    -verbosity=1 -print_final_stats=0 "$found" "${seeds[@]}"
