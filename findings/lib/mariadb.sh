#!/usr/bin/env bash
# Starts a private MariaDB for a finding. To be sourced. Needs Debian 12, whose packages it runs from a temporary folder.
#
#   start_mariadb DIR [OPTION …]
#
# unpacks the packages in DIR, starts a server there without rights or a network, and exports SOCKET, the Unix socket on which
# it listens. "ask" is its client. When the script ends, the server stops and DIR is removed.

mariadb_pid=
mariadb_dir=

stop_mariadb() {
  [ -z "$mariadb_pid" ] || { kill "$mariadb_pid" && wait "$mariadb_pid"; } 2>/dev/null || true
  [ -z "$mariadb_dir" ] || rm -rf "$mariadb_dir"
}
trap stop_mariadb EXIT

mariadb_libraries() { echo "LD_LIBRARY_PATH=$mariadb_dir/root/usr/lib/x86_64-linux-gnu:$mariadb_dir/root/lib/x86_64-linux-gnu"; }

ask() { env "$(mariadb_libraries)" "$mariadb_dir/root/usr/bin/mariadb" --no-defaults --socket="$SOCKET" --batch --skip-column-names "$@"; }

start_mariadb() {
  mariadb_dir=$1
  local deb share=$1/root/usr/share/mysql
  shift
  mkdir "$mariadb_dir/debs" "$mariadb_dir/root" "$mariadb_dir/data"
  (cd "$mariadb_dir/debs" && apt-get download mariadb-server-core mariadb-client-core libaio1 liburing2 libnuma1 libedit2 libncurses6 libtinfo6 libmariadb3 >download.log 2>&1) ||
    { cat "$mariadb_dir/debs/download.log"; return 1; }
  for deb in "$mariadb_dir"/debs/*.deb; do dpkg -x "$deb" "$mariadb_dir/root"; done
  chmod -R a+rX "$mariadb_dir"
  local as_nobody=()
  if [ "$(id -u)" = 0 ]; then
    as_nobody=(setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups)
    chown nobody "$mariadb_dir/data"
  fi
  export SOCKET=$mariadb_dir/data/s
  "${as_nobody[@]}" env "$(mariadb_libraries)" "$mariadb_dir/root/usr/sbin/mariadbd" --no-defaults --datadir="$mariadb_dir/data" --lc-messages-dir="$share" \
    --character-sets-dir="$share/charsets" --skip-networking --skip-grant-tables --socket="$SOCKET" "$@" >"$mariadb_dir/log" 2>&1 &
  mariadb_pid=$!
  for _ in $(seq 100); do ask -e 'select 1' >/dev/null 2>&1 && break || sleep 0.1; done
  ask -e 'select version()' >&2 || { cat "$mariadb_dir/log"; return 1; }
}
