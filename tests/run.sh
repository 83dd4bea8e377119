#!/usr/bin/env bash
# Builds Lockstep and passes all its tests, installing the Debian packages that are missing.
#
#   tests/run.sh            everything: release build, sanitizer builds, lint, end to end
#   tests/run.sh REGEX      only tests whose name matches, in the release build
#
# Tests that compare with data outside the project look for it in ../shared (or $LOCKSTEP_SHARED) and skip with a
# message where it is absent.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/packages.sh

ensure_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
command -v node >/dev/null || ensure_packages nodejs
command -v npm >/dev/null || ensure_packages npm
# The official client of the API, as its users install it, and what drives the browser; the versions are fixed in
# tests/e2e/package.json.
if [ ! -d tests/e2e/node_modules/openai ] || [ ! -d tests/e2e/node_modules/playwright-core ]; then
    echo "Installing the npm packages of tests/e2e" >&2
    (cd tests/e2e && npm install --no-package-lock --no-audit --no-fund --loglevel=error >&2)
fi
# The reference of the chat templates' interpreter.
if [ ! -d tests/template/node_modules/@huggingface/jinja ]; then
    echo "Installing the npm packages of tests/template" >&2
    (cd tests/template && npm install --no-package-lock --no-audit --no-fund --loglevel=error >&2)
fi

# llama.cpp inside an npm package judges shapes that have no golden file; its driver is in the shared data.
if [ -e "${LOCKSTEP_SHARED:-../shared}/tools/oracle.mjs" ] && [ ! -d tests/golden/node_modules/node-llama-cpp ]; then
    echo "Installing the npm packages of tests/golden" >&2
    (cd tests/golden && npm install --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error >&2)
fi

build() { # DIR TARGET OPTIONS…
    local dir=$1 target=$2
    shift 2
    cmake -S . -B "$dir" -G Ninja "$@" >"$dir.log" 2>&1 && cmake --build "$dir" --target "$target" >>"$dir.log" 2>&1 ||
        { tail -n 60 "$dir.log" >&2; return 1; }
    rm -f "$dir.log"
}

echo "Building (build/) …" >&2
build build all -DLOCKSTEP_TESTS=ON
if [ $# -gt 0 ]; then
    ctest --test-dir build --output-on-failure -R "$1"
    exit
fi
echo "Building with AddressSanitizer and UndefinedBehaviorSanitizer (build-asan/) …" >&2
build build-asan all -DLOCKSTEP_ASAN=ON -DCMAKE_BUILD_TYPE=Release
echo "Building the tests with threads with ThreadSanitizer (build-tsan/) …" >&2
build build-tsan threaded_tests -DLOCKSTEP_TESTS=ON -DLOCKSTEP_TSAN=ON -DCMAKE_BUILD_TYPE=Release
echo "Building the fuzz targets (build-fuzz/) …" >&2
build build-fuzz fuzz_targets -DLOCKSTEP_FUZZ=ON -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Release

status=0
ctest --test-dir build-fuzz --output-on-failure -L fuzz -j 2 || status=$?
ctest --test-dir build-tsan --output-on-failure -L threads -j 2 || status=$?
ctest --test-dir build-asan --output-on-failure -LE release-only -j 2 || status=$?
ctest --test-dir build --output-on-failure -j 2 || status=$?
exit $status
