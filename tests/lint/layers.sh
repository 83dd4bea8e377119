#!/usr/bin/env bash
# The direction of the arrows: reads every #include of the tree and names those that point the wrong way.
set -euo pipefail
cd "${LOCKSTEP_SOURCE:-$(dirname "$0")/../..}"
bad=0
forbid() { # PATTERN-OF-INCLUDE WHY FILE…
    local pattern=$1 why=$2 hits
    shift 2
    [ $# -gt 0 ] || return 0
    hits=$(grep -nE "^#include [<\"]($pattern)" "$@" /dev/null || true)
    [ -z "$hits" ] || { printf '%s\n%s\n' "$why:" "$hits"; bad=1; }
}
list() { find "$@" -name node_modules -prune -o -name '*.[ch]' -print | sort; }
without() { # files of standard input whose path matches none of the arguments
    local pattern
    pattern=$(printf '|%s' "$@")
    grep -vE "^(${pattern:1})$" || true
}

mapfile -t common < <(list common)
mapfile -t coordinator < <(list coordinator)
mapfile -t worker < <(list worker)
forbid 'coordinator/|worker/|mpi\.h|uv\.h|omp\.h' 'common uses nothing above it' "${common[@]}"
forbid 'worker/|mpi\.h|omp\.h' 'the coordinator knows neither workers nor MPI' "${coordinator[@]}"
forbid 'coordinator/|uv\.h' 'the worker knows neither the coordinator nor libuv' "${worker[@]}"
mapfile -t files < <(list worker | without worker/job/comm_internal.h)
forbid 'mpi\.h' 'only comm_internal.h shows MPI' "${files[@]}"
mapfile -t files < <(list worker | without 'worker/job/(comm|allreduce)(_[a-z]+)?\.[ch]')
forbid 'worker/job/comm_internal\.h' 'MPI stands in comm and allreduce only' "${files[@]}"
mapfile -t files < <(list common coordinator worker | without 'common/wire(_[a-z]+)?\.[ch]')
forbid '[^">]*\.pb-c\.h' 'generated protobuf code stands in wire only' "${files[@]}"
mapfile -t files < <(list coordinator/scheduling | without 'coordinator/scheduling/engine\.[ch]')
forbid 'uv\.h|coordinator/(cluster|gateway|cli)/' 'scheduling is free of I/O' "${files[@]}"
mapfile -t files < <(list coordinator/template)
forbid 'uv\.h|coordinator/(cluster|gateway|cli|scheduling)/' 'templates know nothing but common' "${files[@]}"
mapfile -t files < <(list coordinator/gateway | without 'coordinator/gateway/(conn|listener|server)[a-z_]*\.[ch]')
forbid 'uv\.h' 'in the gateway only connections hold handles' "${files[@]}"
mapfile -t files < <(list coordinator/load)
forbid 'coordinator/(cli|cluster|gateway|scheduling)/' 'the load generator is a client of any server' "${files[@]}"
mapfile -t files < <(list coordinator/load | without 'coordinator/load/load[a-z_]*\.[ch]')
forbid 'uv\.h' 'in the load generator only load*.c hold handles' "${files[@]}"

names=$(list common coordinator worker | xargs -n1 basename | grep -v '^main\.c$' | sort | uniq -d)
[ -z "$names" ] || { printf 'file names must be unique in the tree:\n%s\n' "$names"; bad=1; }
unmarked=$(list common coordinator worker tests | xargs grep -L 'SPDX-License-Identifier: MIT' || true)
[ -z "$unmarked" ] || { printf 'no SPDX line:\n%s\n' "$unmarked"; bad=1; }
exit $bad
