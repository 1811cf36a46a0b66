#!/usr/bin/env bash
# Runs a web server over a folder and a cache in front of it, and lives until stdin ends.
#
#   edge.sh varnish|nginx ORIGIN CACHE
#   edge.sh none ORIGIN ''     the web server alone
#
# ORIGIN is a server block of nginx, CACHE is VCL or what nginx has in http { }. In both @ORIGIN@, @CACHE@ and @PUBLISHER@
# stand for free ports and @HOME@ for a folder. Prints the three ports and the origin's log, a line each: method, path and
# status of every request to the origin.
#
# Exit 3: a program isn't here.
set -euo pipefail
kind=${1:?varnish, nginx or none}
trap '' INT HUP # A Ctrl-C for the tests must not take the servers away from under their clean-up.
PATH=$PATH:/usr/sbin:/usr/local/sbin
for program in nginx $kind; do
  [ "$program" != varnish ] || program=varnishd
  [ "$program" != none ] || continue
  command -v "$program" >/dev/null || { echo "no $program" >&2; exit 3; }
done

home=$(TMPDIR=/tmp mktemp -d)
pids=()
stop() {
  [ ${#pids[@]} = 0 ] || { kill "${pids[@]}" 2>/dev/null; wait "${pids[@]}" 2>/dev/null; } || true
  pids=()
}
trap 'stop; rm -rf "$home"' EXIT
trap 'exit 143' TERM

user=
[ "$(id -u)" != 0 ] || user='user root;' # The folders of tests are closed to others.
start_nginx() { # start_nginx NAME TEXT
  mkdir -p "$home/$1"
  cat >"$home/$1.conf" <<CONF
$user
daemon off;
worker_processes 1;
pid $home/$1/pid;
error_log $home/$1.err warn;
events { worker_connections 256; }
http {
  log_format asked '\$request_method \$uri \$status';
  access_log $home/$1.log asked;
  client_body_temp_path $home/$1/body;
  proxy_temp_path $home/$1/proxy;
  fastcgi_temp_path $home/$1/fastcgi;
  uwsgi_temp_path $home/$1/uwsgi;
  scgi_temp_path $home/$1/scgi;
$2
}
CONF
  nginx -p "$home" -e "$home/$1.err" -c "$home/$1.conf" >"$home/$1.out" 2>&1 </dev/null &
  pids+=($!)
}
is_up() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# Another's server may answer at the port, while nginx tries for seconds to have it; its pid is written once it has.
has_ports() { [ -s "$home/origin/pid" ] && { [ "$kind" != nginx ] || [ -s "$home/cache/pid" ]; }; }

for _ in 1 2 3 4 5 6 7 8 9 10; do
  ports=($((15000 + RANDOM % 8000)) $((23000 + RANDOM % 4000)) $((27000 + RANDOM % 5000)))
  fill() { sed -e "s|@ORIGIN@|${ports[0]}|g; s|@CACHE@|${ports[1]}|g; s|@PUBLISHER@|${ports[2]}|g; s|@HOME@|$home|g" <<<"$1"; }
  start_nginx origin "$(fill "$2")"
  if [ "$kind" = nginx ]; then
    start_nginx cache "$(fill "$3")"
  elif [ "$kind" = none ]; then
    ports=("${ports[0]}" "${ports[0]}" "${ports[0]}")
  else
    fill "$3" >"$home/cache.vcl"
    varnishd -j none -F -n "$home/varnish" -a "127.0.0.1:${ports[1]}" -f "$home/cache.vcl" -s malloc,64m >"$home/cache.out" 2>&1 </dev/null &
    pids+=($!)
    ports[2]=${ports[1]}
  fi
  for _ in $(seq 400); do
    alive=0
    for pid in "${pids[@]}"; do ! kill -0 "$pid" 2>/dev/null || alive=$((alive + 1)); done
    [ $alive = ${#pids[@]} ] || break
    if has_ports && is_up "${ports[0]}" && is_up "${ports[1]}"; then
      printf '%s\n' "${ports[@]}" "$home/origin.log"
      while read -r _; do :; done
      exit 0
    fi
    sleep 0.05
  done
  stop
  rm -f "$home/origin/pid" "$home/cache/pid"
  grep -qi 'in use' "$home"/*.err "$home"/*.out 2>/dev/null || break
done
cat "$home"/*.err "$home"/*.out >&2
exit 1
