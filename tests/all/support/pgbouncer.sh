#!/usr/bin/env bash
# Runs a throw-away PgBouncer: prints its port on the first line of stdout, then lives until stdin ends.
#
#   pgbouncer.sh INI USERS     INI: the text of pgbouncer.ini without addresses and files; USERS: that of auth_file
#
# Exit 3: there is no PgBouncer here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"
program=$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v pgbouncer) || { echo 'no pgbouncer' >&2; exit 3; }

printf '%s\n' "$2" >"$home/users.txt"
pid=
stop() {
  [ -z "$pid" ] || { kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; } || true
  clean_up
}
trap stop EXIT
for _ in 1 2 3 4 5 6 7 8 9 10; do
  port=$(any_port)
  cat >"$home/pgbouncer.ini" <<INI
$1
listen_addr = 127.0.0.1
listen_port = $port
unix_socket_dir =
auth_file = $home/users.txt
logfile = $home/pgbouncer.log
INI
  chmod 644 "$home"/*
  : >"$home/pgbouncer.log"
  chmod 666 "$home/pgbouncer.log"
  "${as[@]}" "$program" "$home/pgbouncer.ini" >"$home/out.log" 2>&1 </dev/null &
  pid=$!
  for _ in $(seq 200); do
    # Its own word: somebody else's server may answer on that port.
    if grep -q "listening on 127.0.0.1:$port" "$home/pgbouncer.log" 2>/dev/null; then
      echo "$port"
      echo "$home/pgbouncer.log"
      while read -r _; do :; done
      exit 0
    fi
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  grep -qi 'in use' "$home/pgbouncer.log" "$home/out.log" 2>/dev/null || break
done
cat "$home/out.log" "$home/pgbouncer.log" >&2
exit 1
