#!/usr/bin/env bash
# Runs one throw-away PostgreSQL cluster: prints its URL on the first line of stdout, then lives until stdin ends.
#
#   cluster.sh c      text sorts by bytes (C)
#   cluster.sh icu    text sorts as people in the United States expect (ICU en-US, else the C library's en_US)
#
# Whoever starts it holds the other end of stdin. However that process ends — a panic, an abort, SIGKILL — the kernel closes the
# pipe, and the cluster is stopped and its files are removed. Exit 3: there is no PostgreSQL (or no such collation) here.
set -euo pipefail
trap '' INT HUP # A Ctrl-C for the tests must not take the server away from under their clean-up.

kind=${1:?c or icu}

bin=
for candidate in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5 -rV) \
  "$(pg_config --bindir 2>/dev/null || true)" "$(dirname "$(command -v initdb 2>/dev/null || echo /)")"; do
  if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && [ -x "$candidate/pg_ctl" ]; then
    bin=$candidate
    break
  fi
done
[ -n "$bin" ] || { echo 'no PostgreSQL server binaries (initdb, postgres, pg_ctl)' >&2; exit 3; }

# PostgreSQL refuses to run as root. The package's own user is there wherever root has installed the package.
as=()
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo 'root, but no user "postgres" to run the server as' >&2; exit 3; }
  as=(runuser -u postgres --)
fi

# In /tmp whatever TMPDIR says: the path of a Unix socket may have no more than 107 bytes.
home=$(mktemp -d /tmp/tintype-pg.XXXXXX)
stop() {
  "${as[@]}" "$bin/pg_ctl" -D "$home/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$home"
}
trap stop EXIT
trap 'exit 143' TERM
[ ${#as[@]} = 0 ] || chown postgres: "$home"
cd "$home" # runuser keeps the working directory, and the caller's may be closed to postgres.

case $kind in
c) locale=(--locale=C) ;;
icu)
  # No pipe from these two: grep -q leaves at the first match, and pipefail would take the writer's SIGPIPE for a failure.
  if grep -q -- --icu-locale <<<"$("$bin/initdb" --help)"; then
    locale=(--locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US)
  elif grep -qix 'en_US.utf-\?8' <<<"$(locale -a 2>/dev/null)"; then
    locale=(--locale=en_US.UTF-8)
  else
    echo 'neither ICU (PostgreSQL 15 or newer) nor the locale en_US.UTF-8' >&2
    exit 3
  fi
  ;;
*) echo "unknown kind of cluster: $kind" >&2; exit 2 ;;
esac

"${as[@]}" "$bin/initdb" -D "$home/data" -U postgres -A trust -E UTF8 -N "${locale[@]}" >"$home/initdb.log" 2>&1 \
  || { cat "$home/initdb.log" >&2; exit 1; }

preload=
[ -e "$("$bin/pg_config" --pkglibdir 2>/dev/null || echo "$bin/../lib")/pg_stat_statements.so" ] && preload=pg_stat_statements

cat >>"$home/data/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$home'
max_connections = 60
shared_buffers = '32MB'
shared_preload_libraries = '$preload'
dynamic_shared_memory_type = mmap    # a container's /dev/shm is often too small for a parallel hash
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
wal_level = minimal
max_wal_senders = 0
# The tests read what the server did from its own log.
logging_collector = off
log_destination = 'stderr'
log_statement = 'all'
log_connections = on
log_line_prefix = '%p|%d|%a| '
lc_messages = 'C'
tintype.log_file = '$home/server.log'
CONF
# Password checks are tested too; only the superuser comes in without one.
cat >"$home/data/pg_hba.conf" <<HBA
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
HBA

# PostgreSQL cannot be asked for "any free port": below the range of outgoing connections a random one is nearly always free.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  port=$((15000 + RANDOM % 17000))
  if "${as[@]}" "$bin/pg_ctl" -D "$home/data" -l "$home/server.log" -o "-p $port" -w -t 60 start >/dev/null 2>&1 </dev/null; then
    echo "postgres://postgres@127.0.0.1:$port/postgres"
    while read -r _; do :; done
    exit 0
  fi
  grep -q 'could not bind' "$home/server.log" || break
  : >"$home/server.log"
done
cat "$home/server.log" >&2
exit 1
