#!/usr/bin/env bash
# Runs one throw-away PostgreSQL cluster: prints its URL on the first line of stdout, then lives until stdin ends.
#
#   cluster.sh c      text sorts by bytes (C)
#   cluster.sh icu    text sorts as people in the United States expect (ICU en-US, else the C library's en_US)
#
# Exit 3: there is no PostgreSQL (or no such collation) here.
set -euo pipefail
kind=${1:?c or icu}
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"

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
init_server data "${locale[@]}"

preload=
[ -e "$("$bin/pg_config" --pkglibdir 2>/dev/null || echo "$bin/../lib")/pg_stat_statements.so" ] && preload=pg_stat_statements
cat >>"$home/data/postgresql.conf" <<CONF
shared_preload_libraries = '$preload'
wal_level = minimal
max_wal_senders = 0
tintype.log_file = '$home/data.log'
CONF

start_server data
echo "postgres://postgres@127.0.0.1:$port/postgres"
while read -r _; do :; done
