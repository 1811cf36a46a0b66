#!/usr/bin/env bash
# Runs a throw-away PostgreSQL primary with two streaming standbys: prints their three URLs, one a line, then does what each
# line of stdin says (`stop NAME`, `start NAME`, `promote NAME`, and `freeze NAME` and `thaw NAME` with SIGSTOP and SIGCONT;
# NAME is primary, one or two), answers `ok`, and lives until stdin ends.
#
# Exit 3: there is no PostgreSQL here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

init_server primary --locale=C
cat >>"$home/primary/postgresql.conf" <<CONF
wal_level = replica
max_wal_senders = 10
hot_standby = on
wal_keep_size = '256MB'
max_standby_streaming_delay = 0    # A conflict comes at once, and no test waits for it.
wal_receiver_status_interval = '1s'
wal_retrieve_retry_interval = '200ms'
synchronous_commit = on            # A stopped server is one that crashed, and what a test has written is there again after.
CONF
start_server primary
declare -A ports=([primary]=$port)
url() { echo "postgres://postgres@127.0.0.1:${ports[$1]}/postgres"; }
for name in one two; do
  "${as[@]}" "$bin/pg_basebackup" -d "host=127.0.0.1 port=${ports[primary]} user=postgres" -D "$home/$name" -R -X stream -c fast \
    >"$home/basebackup.log" 2>&1 </dev/null || { cat "$home/basebackup.log" >&2; exit 1; }
  start_server "$name"
  ports[$name]=$port
done
url primary
url one
url two

while read -r word name; do
  data=$home/$name
  case $word in
  stop) "${as[@]}" "$bin/pg_ctl" -D "$data" -m immediate -w stop ;;
  start) "${as[@]}" "$bin/pg_ctl" -D "$data" -l "$data.log" -o "-p ${ports[$name]}" -w -t 60 start ;;
  promote) "${as[@]}" "$bin/pg_ctl" -D "$data" -w promote ;;
  freeze) signal_server STOP "$data" ;;
  thaw) signal_server CONT "$data" ;;
  esac >/dev/null 2>&1 </dev/null && echo ok || echo "$word $name failed"
done
