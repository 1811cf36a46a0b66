#!/usr/bin/env bash
# Runs the benchmarks' own PostgreSQL cluster: prints its URL on the first line of stdout, then lives until stdin ends.
#
#   cluster.sh DATA LOG     DATA is made by initdb unless it is a cluster already, and stays; LOG is the server's log
#
# Whoever starts it holds the other end of stdin. However that process ends, the kernel closes the pipe and the server is stopped.
# The settings are those of a small server tuned as the manual suggests; the peers and tintype connect to the same one in the same way.
set -euo pipefail
trap '' INT HUP # A Ctrl-C is for the benchmark, which still has connections to close.

data=${1:?folder of the cluster} log=${2:?log file}

bin=
for candidate in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5 -rV) \
  "$(pg_config --bindir 2>/dev/null || true)" "$(dirname "$(command -v initdb 2>/dev/null || echo /)")"; do
  if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && [ -x "$candidate/pg_ctl" ]; then
    bin=$candidate
    break
  fi
done
[ -n "$bin" ] || { echo 'no PostgreSQL server binaries (initdb, postgres, pg_ctl)' >&2; exit 1; }

# PostgreSQL refuses to run as root.
as=()
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo 'root, but no user "postgres" to run the server as' >&2; exit 1; }
  as=(runuser -u postgres --)
fi

if [ ! -e "$data/PG_VERSION" ]; then
  mkdir -p "$data"
  [ ${#as[@]} = 0 ] || chown postgres: "$data"
  # Text sorts by bytes: the quickest order, so the floor is as low as it can be.
  (cd "$data" && "${as[@]}" "$bin/initdb" -D "$data" -U postgres -A trust -E UTF8 -N --locale=C) >"$log" 2>&1 \
    || { cat "$log" >&2; exit 1; }
fi
: >"$log"
[ ${#as[@]} = 0 ] || chown postgres: "$log"
cd "$data" # runuser keeps the working directory, and the caller's may be closed to postgres.

# Parallel workers share memory there; a container's is often too small for a parallel hash.
shared=posix
[ "$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" -ge 1048576 ] 2>/dev/null || shared=mmap

# It counts statements, for the part that asks how much of them readers cost; a package without contrib modules lacks it.
counting=
for library in "$bin/../lib" "$("$bin/pg_config" --pkglibdir 2>/dev/null || true)"; do
  [ ! -e "$library/pg_stat_statements.so" ] || counting=pg_stat_statements
done

cat >"$data/bench.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 60
shared_buffers = '1GB'
work_mem = '64MB'
maintenance_work_mem = '512MB'
effective_cache_size = '4GB'
random_page_cost = 1.1
max_wal_size = '4GB'
wal_level = minimal
max_wal_senders = 0
dynamic_shared_memory_type = $shared
shared_preload_libraries = '$counting'
# Nothing starts by itself in the middle of a measurement. The data is analysed when it is loaded.
autovacuum = off
# How many connections there were, and for how long each was held, is read from the log.
logging_collector = off
log_destination = 'stderr'
log_connections = on
log_disconnections = on
log_line_prefix = '%m|%p|%a|'
log_timezone = 'UTC'
lc_messages = 'C'
CONF
grep -q "^include 'bench.conf'" "$data/postgresql.conf" || echo "include 'bench.conf'" >>"$data/postgresql.conf"

stop() { "${as[@]}" "$bin/pg_ctl" -D "$data" -m fast -w stop >/dev/null 2>&1 || true; }
trap stop EXIT
trap 'exit 143' TERM

# PostgreSQL cannot be asked for "any free port": below the range of outgoing connections a random one is nearly always free.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  port=$((15000 + RANDOM % 17000))
  if "${as[@]}" "$bin/pg_ctl" -D "$data" -l "$log" -o "-p $port" -w -t 120 start >/dev/null 2>&1 </dev/null; then
    echo "postgres://postgres@127.0.0.1:$port"
    while read -r _; do :; done
    exit 0
  fi
  grep -q 'could not bind' "$log" || break
  : >"$log"
done
cat "$log" >&2
exit 1
