#!/usr/bin/env bash
# The one test command: bash tests/run.sh
#
# As root on Debian it installs what is missing and skips nothing. Elsewhere it uses what is on PATH, prints the one line that
# would install the rest, and lists each test it skipped. With CI=true a skip is a failure. Exit 0: all that ran has passed.
set -uo pipefail
cd "$(dirname "$0")/.."

# Two test threads a core: most of a test's time is spent waiting for a process or a server.
cores=$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
threads=$((cores * 2))

work=$(mktemp -d)
passed=() failed=() pipes=() guards=()
close_pipes() {
  local fd
  for fd in ${pipes[@]+"${pipes[@]}"}; do exec {fd}>&-; done
}
clean_up() {
  # A cluster goes when its stdin ends.
  close_pipes
  wait ${guards[@]+"${guards[@]}"} 2>/dev/null
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

export TINTYPE_TEST_SKIPS=$work/skips
: >"$TINTYPE_TEST_SKIPS"

step() { # step NAME COMMAND…
  local name=$1 began=$SECONDS code=0
  shift
  printf '\n=== %s\n' "$name"
  # Without this shell's pipes: what a command may leave running must not keep the clusters alive.
  (close_pipes; exec "$@") 2>&1 | tee "$work/last" || code=$?
  if [ "$code" = 0 ]; then
    passed+=("$name")
    printf '=== %s: ok (%ss)\n' "$name" $((SECONDS - began))
  else
    failed+=("$name (exit $code)")
    printf '=== %s: FAILED with exit %s (%ss)\n' "$name" "$code" $((SECONDS - began))
  fi
}

# --- what the tests need ---------------------------------------------------------------------------------------------------

packages=()
have_server() {
  local bin
  for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null) "$(pg_config --bindir 2>/dev/null)" \
    "$(dirname "$(command -v initdb 2>/dev/null || echo /)")"; do
    [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ] && return 0
  done
  return 1
}
have_server || packages+=(postgresql)
PATH=$PATH:/usr/sbin command -v pgbouncer >/dev/null || packages+=(pgbouncer)
PATH=$PATH:/usr/sbin command -v varnishd >/dev/null || packages+=(varnish) # It and nginx are caches that purges are tested with.
PATH=$PATH:/usr/sbin command -v nginx >/dev/null || packages+=(nginx-light)
command -v openssl >/dev/null || packages+=(openssl) # It makes the certificates of the TLS tests.
# An API over the fallback table is shown in Python and Node.
for python in python3 /usr/bin/python3 none; do "$python" -c 'import psycopg' 2>/dev/null && break; done
[ "$python" != none ] || packages+=(python3 python3-psycopg)
command -v node >/dev/null || packages+=(nodejs node-pg)
command -v cc >/dev/null || packages+=(gcc libc6-dev) # SQLite is compiled in.
# Due times are compared with those of croniter, which pip installs below.
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3-venv)
command -v systemd-analyze >/dev/null || packages+=(systemd) # It reads the exported timers; nothing of it is started.
command -v promtool >/dev/null || packages+=(prometheus) # Its promtool reads --metrics-file; its server isn't started.
# Only root needs it, and only root has /usr/sbin on PATH for certain.
[ "$(id -u)" != 0 ] || command -v runuser >/dev/null || packages+=(util-linux)

if [ ${#packages[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
    echo "=== installing ${packages[*]}"
    # Only the programs: the package would otherwise make and start a cluster of its own.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
      mkdir -p /etc/postgresql-common
      echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
    fi
    # Nor is any service to be started: the tests run their own.
    policy=/usr/sbin/policy-rc.d
    if [ -e $policy ]; then policy=; else printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy; fi
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get update -q && apt-get install -q -y --no-install-recommends -o Dpkg::Options::=--force-confold "${packages[@]}"; } \
      >"$work/apt" 2>&1; then
      cat "$work/apt"
      failed+=("installing ${packages[*]}")
    fi
    [ -z "$policy" ] || rm -f "$policy"
  else
    echo "Some tests will be skipped. On Debian or Ubuntu this line installs what they need:"
    echo "  sudo apt-get install --no-install-recommends ${packages[*]}"
  fi
fi

# croniter, an independent reading of crontabs, in an environment that stays with the build.
python=${CARGO_TARGET_DIR:-target}/test-python
if ! "$python/bin/python" -c 'import croniter' 2>/dev/null; then
  python3 -m venv "$python" >"$work/python" 2>&1 && "$python/bin/pip" install -q croniter==7.0.0 >>"$work/python" 2>&1 \
    || { echo "no Python with croniter: $(tail -n 3 "$work/python")"; [ "${CI:-}" != true ] || failed+=("making a Python with croniter"); }
fi
if [ -x "$python/bin/python" ]; then TINTYPE_TEST_PYTHON=$(realpath -s "$python/bin/python") && export TINTYPE_TEST_PYTHON; fi

# A Node from elsewhere doesn't find Debian's modules, and brings npm along.
export NODE_PATH=${NODE_PATH:-/usr/share/nodejs}
if command -v node >/dev/null && ! node -e 'require("pg")' 2>/dev/null && command -v npm >/dev/null; then
  echo '=== installing the module pg for these tests'
  npm install --silent --no-audit --no-fund --prefix "$work/node" pg && export NODE_PATH=$work/node/node_modules
fi

# --- the two PostgreSQL clusters -------------------------------------------------------------------------------------------

start_cluster() { # start_cluster KIND VARIABLE
  local url fd answer=$work/cluster-$1
  mkfifo "$answer"
  exec {fd}> >(close_pipes; exec bash tests/all/support/cluster.sh "$1" >"$answer" 2>"$answer.err")
  pipes+=("$fd") guards+=("$!")
  read -r url <"$answer" || url=
  if [ -n "$url" ]; then
    export "$2=$url"
  else
    # The tests that need it find the reason themselves, and skip or fail.
    echo "no PostgreSQL cluster ($1): $(tail -n 3 "$answer.err")"
  fi
}
start_cluster c TINTYPE_TEST_POSTGRES_URL
start_cluster icu TINTYPE_TEST_POSTGRES_ICU_URL

# --- the steps -------------------------------------------------------------------------------------------------------------

step 'formatting' cargo fmt --check
step 'lints' cargo clippy --locked --all-targets -- -D warnings

# The README's commands are a step of their own, so that a summary tells a broken promise from a broken test.
if command -v cargo-nextest >/dev/null; then
  step 'tests' cargo nextest run --locked --test-threads "$threads" -E 'not test(/^readme::|fault_tests::/)'
  totals=$(grep -a 'Summary \[' "$work/last" | tail -n 1 | sed 's/.*\] *//')
  step 'documentation tests' cargo test --locked --doc
else
  step 'tests' cargo test --locked --no-fail-fast -- --test-threads "$threads" --skip readme:: --skip fault_tests::
  totals=$(grep -a '^test result:' "$work/last" \
    | awk '{ passed += $4; failed += $6; ignored += $8 } END { printf "%d passed, %d failed, %d ignored", passed, failed, ignored }')
fi
# Each of these keeps every core busy, and says how many cases it has played.
step 'the protocol under faults' cargo test --locked --lib -- --test-threads 1 --nocapture fault_tests::
step "the README's commands" cargo test --locked --test all -- --test-threads 1 readme::

# --- what came of it -------------------------------------------------------------------------------------------------------

sort -u "$TINTYPE_TEST_SKIPS" >"$work/skipped"
skips=$(wc -l <"$work/skipped")
if [ "$skips" -gt 0 ] && [ "${CI:-}" = true ]; then failed+=("$skips skipped tests, and CI=true allows none"); fi

printf '\n=== summary\n'
printf 'tests    %s\n' "${totals:-not run}"
printf 'skipped  %s\n' "$skips"
sed 's/^/  /' "$work/skipped"
for name in ${passed[@]+"${passed[@]}"}; do printf 'ok       %s\n' "$name"; done
for name in ${failed[@]+"${failed[@]}"}; do printf 'FAILED   %s\n' "$name"; done
printf 'took     %d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
[ ${#failed[@]} = 0 ]
