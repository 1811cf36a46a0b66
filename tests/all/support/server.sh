# For the scripts beside it, which run throw-away servers: where the programs are, who runs them, where their files lie.
#
# Whoever starts such a script holds the other end of its stdin. However that process ends — a panic, an abort, SIGKILL — the
# kernel closes the pipe; the script then stops its servers and removes their files. Exit 3: the program isn't here.
trap '' INT HUP # A Ctrl-C for the tests must not take the server away from under their clean-up.

bin=
for candidate in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5,5 -rV) \
  "$(pg_config --bindir 2>/dev/null || true)" "$(dirname "$(command -v initdb 2>/dev/null || echo /)")"; do
  if [ -x "$candidate/initdb" ] && [ -x "$candidate/postgres" ] && [ -x "$candidate/pg_ctl" ]; then
    bin=$candidate
    break
  fi
done
[ -n "$bin" ] || { echo 'no PostgreSQL server binaries (initdb, postgres, pg_ctl)' >&2; exit 3; }

# PostgreSQL and PgBouncer refuse to run as root. The package's own user is there wherever root has installed the package.
as=()
if [ "$(id -u)" = 0 ]; then
  id postgres >/dev/null 2>&1 || { echo 'root, but no user "postgres" to run the server as' >&2; exit 3; }
  as=(runuser -u postgres --)
fi

# In /tmp whatever TMPDIR says: the path of a Unix socket may have no more than 107 bytes.
home=$(TMPDIR=/tmp mktemp -d)
datas=()
signal_server() { # signal_server SIGNAL FOLDER sends it to all processes of a server
  local pid
  pid=$(head -n 1 "$2/postmaster.pid" 2>/dev/null) || return 0
  # The postmaster first, so that it starts no further one when stopped.
  kill "-$1" "$pid" 2>/dev/null && pkill "-$1" -P "$pid" || true
}
clean_up() {
  local data
  for data in ${datas[@]+"${datas[@]}"}; do
    signal_server CONT "$data"
    "${as[@]}" "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
  done
  rm -rf "$home"
}
trap clean_up EXIT
trap 'exit 143' TERM
[ ${#as[@]} = 0 ] || chown postgres: "$home"
cd "$home" # runuser keeps the working directory, and the caller's may be closed to postgres.

# PostgreSQL cannot be asked for "any free port": below the range of outgoing connections a random one is nearly always free.
any_port() { echo $((15000 + RANDOM % 17000)); }

init_server() { # init_server NAME [OPTION…] makes $home/NAME, to be read and written by the superuser without a password
  local name=$1
  shift
  "${as[@]}" "$bin/initdb" -D "$home/$name" -U postgres -A trust -E UTF8 -N "$@" >"$home/initdb.log" 2>&1 \
    || { cat "$home/initdb.log" >&2; exit 1; }
  cat >>"$home/$name/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = '$home'
max_connections = 60
shared_buffers = '32MB'
dynamic_shared_memory_type = mmap    # a container's /dev/shm is often too small for a parallel hash
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
jit = off
# The tests read what the server did from its own log.
logging_collector = off
log_destination = 'stderr'
log_statement = 'all'
log_connections = on
log_line_prefix = '%p|%d|%a| '
lc_messages = 'C'
CONF
  # Password checks are tested too; only the superuser comes in without one.
  cat >"$home/$name/pg_hba.conf" <<HBA
local all all trust
local replication postgres trust
host replication postgres 127.0.0.1/32 trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
HBA
}

start_server() { # start_server NAME starts $home/NAME on a free port and sets $port
  local name=$1
  datas+=("$home/$name")
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    port=$(any_port)
    if "${as[@]}" "$bin/pg_ctl" -D "$home/$name" -l "$home/$name.log" -o "-p $port" -w -t 60 start >/dev/null 2>&1 </dev/null; then
      return 0
    fi
    grep -q 'could not bind' "$home/$name.log" || break
    : >"$home/$name.log"
  done
  cat "$home/$name.log" >&2
  exit 1
}
