#!/usr/bin/env bash
# Makes sure that the tests find PgBouncer, which they start themselves: the program that
# DATAFLOW_TEST_PGBOUNCER names, or one of this machine. Installs Debian's or Ubuntu's package
# where it may, without leaving it running.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# The same places as in internal/dbtest/pgbouncer.go.
find_pgbouncer() {
	local file
	for file in "${DATAFLOW_TEST_PGBOUNCER:-}" "$(command -v pgbouncer || true)" \
		/usr/sbin/pgbouncer /usr/local/bin/pgbouncer /opt/homebrew/bin/pgbouncer; do
		if [[ -n $file && -x $file ]]; then
			echo "$file"
			return 0
		fi
	done
	return 1
}

if ! program=$(find_pgbouncer) && may_install; then
	say "installing the package pgbouncer: the tests start a PgBouncer of their own"
	install_packages pgbouncer
fi
program=$(find_pgbouncer) || fail "no PgBouncer found, and it cannot be installed from here.
Install it, for example with \`apt-get install pgbouncer\` or \`brew install pgbouncer\`,
or set DATAFLOW_TEST_PGBOUNCER to the path of the program."
say "the tests start PgBouncer from $program"
