#!/usr/bin/env bash
# clang-format decides (STYLE: .clang-format).  Version 14, Debian 12's, so that everybody sees the same.
set -euo pipefail
cd "${LOCKSTEP_SOURCE:-$(dirname "$0")/../..}"
formatter=$(command -v clang-format-14 || command -v clang-format) || { echo "clang-format is not installed"; exit 77; }
find common coordinator worker tests -name node_modules -prune -o -name '*.[ch]' -print | sort |
    xargs "$formatter" --dry-run -Werror
