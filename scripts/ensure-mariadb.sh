#!/usr/bin/env bash
# Makes sure that the tests of connector/sqltable/mysqltest find a MariaDB or MySQL server:
# DATAFLOW_TEST_MYSQL_DSN, or the program from which they start their own. Installs Debian's or
# Ubuntu's package where it may, without leaving a server running.
set -euo pipefail

# The same places as in connector/sqltable/mysqltest/server_test.go.
find_server() {
	local dir
	command -v mariadb-install-db >/dev/null || return 1
	for dir in "$(dirname "$(command -v mariadbd || true)" 2>/dev/null || true)" \
		/usr/sbin /usr/local/sbin /usr/local/bin /opt/homebrew/opt/mariadb*/bin; do
		if [[ -n $dir && -x $dir/mariadbd ]]; then
			echo "$dir/mariadbd"
			return 0
		fi
	done
	return 1
}

as_root() {
	if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
	command -v apt-get >/dev/null || return 1
	[[ $(id -u) -eq 0 ]] || sudo -n true 2>/dev/null
}

install_package() {
	local policy=/usr/sbin/policy-rc.d
	# The package starts a server, which nothing here needs.
	if [[ ! -e $policy ]]; then
		trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	local apt=(env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
		apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
	# One broken source must not keep the package of another from being installed.
	as_root "${apt[@]}" update || echo "ensure-mariadb: apt-get update failed; trying to install nevertheless" >&2
	as_root "${apt[@]}" install --no-install-recommends mariadb-server
}

if [[ -n ${DATAFLOW_TEST_MYSQL_DSN:-} ]]; then
	echo "ensure-mariadb: the tests use DATAFLOW_TEST_MYSQL_DSN"
	exit 0
fi
if ! server=$(find_server) && may_install; then
	echo "ensure-mariadb: no MariaDB server found; installing the package mariadb-server"
	install_package
fi
if ! server=$(find_server); then
	cat >&2 <<-'END'
		ensure-mariadb: no MariaDB server found, and it cannot be installed from here.
		Install one, for example with `apt-get install mariadb-server` or `brew install mariadb`,
		or set DATAFLOW_TEST_MYSQL_DSN to a server on which the tests may create databases.
	END
	exit 1
fi
echo "ensure-mariadb: the tests start MariaDB from $server"
