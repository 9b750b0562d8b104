#!/usr/bin/env bash
# Makes sure that the tests find a PostgreSQL server: DATAFLOW_TEST_DATABASE_URL, or programs
# from which they start their own. Installs Debian's or Ubuntu's package where it may, without
# leaving a server running.
set -euo pipefail

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

as_root() {
	if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
	command -v apt-get >/dev/null || return 1
	[[ $(id -u) -eq 0 ]] || sudo -n true 2>/dev/null
}

install_package() {
	local conf=/etc/postgresql-common/createcluster.conf policy=/usr/sbin/policy-rc.d
	if [[ ! -e $conf ]]; then
		as_root mkdir -p "${conf%/*}"
		echo 'create_main_cluster = false' | as_root tee "$conf" >/dev/null
	fi
	# Where that file was there already, the package makes a cluster; let it not be started.
	if [[ ! -e $policy ]]; then
		trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	local apt=(env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
		apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold)
	# One broken source must not keep the package of another from being installed.
	as_root "${apt[@]}" update || echo "ensure-postgres: apt-get update failed; trying to install nevertheless" >&2
	as_root "${apt[@]}" install --no-install-recommends postgresql
}

if [[ -n ${DATAFLOW_TEST_DATABASE_URL:-} ]]; then
	echo "ensure-postgres: the tests use DATAFLOW_TEST_DATABASE_URL"
	exit 0
fi
if ! bin=$(find_bin) && may_install; then
	echo "ensure-postgres: no PostgreSQL server found; installing the package postgresql"
	install_package
fi
if ! bin=$(find_bin); then
	cat >&2 <<-'END'
		ensure-postgres: no PostgreSQL server found, and it cannot be installed from here.
		Install one, for example with `apt-get install postgresql` or `brew install postgresql`,
		or set DATAFLOW_TEST_DATABASE_URL to the URL of a server on which the tests may create databases.
	END
	exit 1
fi
echo "ensure-postgres: the tests start PostgreSQL from $bin"
