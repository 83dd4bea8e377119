#!/usr/bin/env bash
# Installs the Debian packages that are missing, and says which.  Sourced by quickstart.sh and tests/run.sh.
#
#   ensure_packages NAME…      as root, or with sudo

BUILD_PACKAGES=(build-essential cmake ninja-build pkg-config libopenmpi-dev openmpi-bin
    libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libuv1-dev node-llhttp libjansson-dev libpcre2-dev
    libinih-dev libhwloc-dev)
DEMO_PACKAGES=(curl jq)
TEST_PACKAGES=(libcmocka-dev clang clang-format libclang-rt-14-dev openssh-client iproute2 procps curl jq
    chromium)
# The kernels of 64-bit ARM are tested under an emulator, where the machine is not one itself.
[ "$(uname -m)" = aarch64 ] || TEST_PACKAGES+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user)

ensure_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    echo "Installing missing Debian packages: ${missing[*]}" >&2
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || {
            echo "These packages need root. Run as root, or: apt-get install ${missing[*]}" >&2
            return 1
        }
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq >&2 &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${missing[@]}" >&2
}
