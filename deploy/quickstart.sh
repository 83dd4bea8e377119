#!/usr/bin/env bash
# Builds Lockstep, serves the demo model on two ranks, and streams one completion through HTTP.
#
#   deploy/quickstart.sh            build, show, stop
#   deploy/quickstart.sh --keep     build, show, stay up until Ctrl-C
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/packages.sh

keep=0
case "${1-}" in
"") ;;
--keep) keep=1 ;;
*) echo "usage: deploy/quickstart.sh [--keep]" >&2; exit 2 ;;
esac

ensure_packages "${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}"
echo "Building (build/) …" >&2
cmake -S . -B build -G Ninja -DLOCKSTEP_TESTS=OFF >build-quickstart.log 2>&1 &&
    cmake --build build >>build-quickstart.log 2>&1 || { tail -n 40 build-quickstart.log >&2; exit 1; }
rm -f build-quickstart.log

scratch=$(mktemp -d)
server=
stop() {
    if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server"
        wait "$server" || true
    fi
    server=
    rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 130' INT TERM

build/bin/lockstep serve --access-log off -n 2 --port 0 --port-file "$scratch/port" >"$scratch/out" &
server=$!
for _ in $(seq 600); do
    [ -s "$scratch/port" ] && curl -sf "http://127.0.0.1:$(cat "$scratch/port")/ready" >/dev/null && break
    kill -0 "$server" 2>/dev/null || { wait "$server" || status=$?; server=; exit "${status:-1}"; }
    sleep 0.1
done
url=http://127.0.0.1:$(cat "$scratch/port")

prompt='Call me Ishmael.'
echo >&2
echo "POST $url/v1/completions, streamed from two ranks:" >&2
echo >&2
printf '%s' "$prompt"
curl -sN "$url/v1/completions" -H 'Content-Type: application/json' \
    -d "{\"prompt\": \"$prompt\", \"max_tokens\": 120, \"temperature\": 0.7, \"seed\": 7, \"stream\": true}" |
    while IFS= read -r line; do
        case $line in
        'data: {'*) printf '%s' "${line#data: }" | jq -rj '.choices[0].text // .error.message // empty' ;;
        esac
    done
printf '\n\n'
cat >&2 <<END
Go on:
  build/bin/lockstep run --prompt "Call me Ishmael." -n 2
  mpirun -n 5 build/bin/lockstep run --prompt "Call me Ishmael."      (as root: see README.md)
  build/bin/lockstep serve --model YOUR.gguf -n 4 --hostfile HOSTS
  build/bin/lockstep plan --model YOUR.gguf -n 4
END
if [ "$keep" = 1 ]; then
    cat >&2 <<END

The server stays up at $url (Ctrl-C stops it). Try:
  curl -N $url/v1/completions -H 'Content-Type: application/json' -d '{"prompt": "To be", "stream": true}'
END
    wait "$server"
fi
