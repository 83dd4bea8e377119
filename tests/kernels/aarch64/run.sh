#!/usr/bin/env bash
# The kernels and their tests built for 64-bit ARM and run under qemu, once as a CPU with the dot product and once as
# one without: run.sh BUILD-DIRECTORY CMAKE-OPTION…
set -euo pipefail
source=$(cd "$(dirname "$0")" && pwd)
build=$1
shift
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null ||
        { echo "$tool is missing (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)"; exit 77; }
done

cmake -S "$source" -B "$build" -G Ninja --toolchain "$source/toolchain.cmake" "$@" >"$build.log" 2>&1 &&
    cmake --build "$build" >>"$build.log" 2>&1 || { tail -n 60 "$build.log"; exit 1; }
export ASAN_OPTIONS=detect_leaks=0 # with -DLOCKSTEP_ASAN=ON: looking for leaks needs a ptrace that qemu does not have
under() { # CPU EXPECTED-ISA CTEST-OPTION…
    QEMU_CPU=$1 LOCKSTEP_EXPECTED_ISA=$2 ctest --test-dir "$build" --output-on-failure --no-tests=error -j 2 "${@:3}"
}
under max neon-dotprod
under cortex-a72 reference -R dispatch
