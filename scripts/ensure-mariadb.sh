#!/usr/bin/env bash
# Makes sure that the tests of connector/sqltable/mysqltest find a MariaDB or MySQL server:
# DATAFLOW_TEST_MYSQL_DSN, or the program from which they start their own. Installs Debian's or
# Ubuntu's package where it may, without leaving a server running.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

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

if [[ -n ${DATAFLOW_TEST_MYSQL_DSN:-} ]]; then
	say "the tests use DATAFLOW_TEST_MYSQL_DSN"
	exit 0
fi
if ! server=$(find_server) && may_install; then
	say "installing the package mariadb-server: the tests of sqltable start a MariaDB server of their own"
	install_packages mariadb-server
fi
server=$(find_server) || fail "no MariaDB server found, and it cannot be installed from here.
Install one, for example with \`apt-get install mariadb-server\` or \`brew install mariadb\`,
or set DATAFLOW_TEST_MYSQL_DSN to a server on which the tests may create databases."
say "the tests start MariaDB from $server"
