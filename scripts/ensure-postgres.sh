#!/usr/bin/env bash
# Makes sure that the tests find a PostgreSQL server: DATAFLOW_TEST_DATABASE_URL, or programs
# from which they start their own. Installs Debian's or Ubuntu's package where it may, without
# leaving a server running.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# The same places as in internal/dbtest/find.go.
find_bin() {
	local dir
	for dir in \
		"$(dirname "$(readlink -f "$(command -v pg_ctl || true)")" 2>/dev/null || true)" \
		"$(pg_config --bindir 2>/dev/null || true)" \
		/usr/lib/postgresql/*/bin /usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin; do
		if [[ -n $dir && -x $dir/initdb && -x $dir/postgres ]]; then
			echo "$dir"
			return 0
		fi
	done
	return 1
}

install_postgres() {
	local conf=/etc/postgresql-common/createcluster.conf
	# Without this file, the package makes a cluster, which nothing here needs.
	if [[ ! -e $conf ]]; then
		as_root mkdir -p "${conf%/*}"
		echo 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
	fi
	install_packages postgresql
}

if [[ -n ${DATAFLOW_TEST_DATABASE_URL:-} ]]; then
	say "the tests use DATAFLOW_TEST_DATABASE_URL"
	exit 0
fi
if ! bin=$(find_bin) && may_install; then
	say "installing the package postgresql: the tests start a PostgreSQL server of their own"
	install_postgres
fi
bin=$(find_bin) || fail "no PostgreSQL server found, and it cannot be installed from here.
Install one, for example with \`apt-get install postgresql\` or \`brew install postgresql\`,
or set DATAFLOW_TEST_DATABASE_URL to the URL of a server on which the tests may create databases."
say "the tests start PostgreSQL from $bin"
