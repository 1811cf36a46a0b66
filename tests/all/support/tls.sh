#!/usr/bin/env bash
# Runs a throw-away PostgreSQL server that speaks TLS: prints its URL and, on the second line, the folder of its certificates;
# then lives until stdin ends. The folder holds
#   ca.crt                      the private CA that signed the server's certificate, which names localhost only
#   other.crt                   another CA
#   reader.crt, reader.key      a client certificate for the role reader, signed by the CA
#   stranger.crt, stranger.key  one signed by the other CA
#   server.crt, server.key      the server's own
#
# Exit 3: there is no PostgreSQL or no openssl here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"
command -v openssl >/dev/null || { echo 'no openssl' >&2; exit 3; }

certs=$home/certs
mkdir "$certs"
quiet() { "$@" >>"$home/openssl.log" 2>&1 || { cat "$home/openssl.log" >&2; exit 1; }; }
ca() { # ca NAME
  quiet openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1 CA" -keyout "$certs/$1.key" -out "$certs/$1.crt" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
}
signed() { # signed NAME CA SUBJECT EXTENSIONS
  quiet openssl req -newkey rsa:2048 -nodes -subj "/CN=$3" -keyout "$certs/$1.key" -out "$home/$1.csr"
  quiet openssl x509 -req -in "$home/$1.csr" -CA "$certs/$2.crt" -CAkey "$certs/$2.key" -CAcreateserial -days 2 -out "$certs/$1.crt" \
    -extfile <(printf 'basicConstraints=CA:FALSE\n%s\n' "$4")
}
ca ca
ca other
signed server ca localhost 'subjectAltName=DNS:localhost'
signed reader ca reader extendedKeyUsage=clientAuth
signed stranger other reader extendedKeyUsage=clientAuth
chmod 755 "$home"
chmod 644 "$certs"/*
cp "$certs"/server.* "$certs/ca.crt" "$home"
chmod 600 "$home/server.key"
[ ${#as[@]} = 0 ] || chown postgres: "$home"/server.* "$home/ca.crt"

init_server data --locale=C
cat >>"$home/data/postgresql.conf" <<CONF
ssl = on
ssl_cert_file = '$home/server.crt'
ssl_key_file = '$home/server.key'
ssl_ca_file = '$home/ca.crt'
CONF
cat >"$home/data/pg_hba.conf" <<HBA
local all all trust
hostnossl all plain 127.0.0.1/32 trust
hostssl all reader 127.0.0.1/32 cert
hostssl all all 127.0.0.1/32 trust
HBA
start_server data
echo "postgres://postgres@127.0.0.1:$port/postgres"
echo "$certs"
while read -r _; do :; done
