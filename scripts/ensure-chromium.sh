#!/usr/bin/env bash
# Makes sure that the tests of dataflowui/browsertest find Chromium and axe-core: the program that
# DATAFLOW_TEST_CHROMIUM names, or one of this machine, and axe-core's code in a cache. Installs
# Debian's package where it may, and fetches axe-core, an npm package, once.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

axe=4.14.1 # the same as in dataflowui/browsertest/setup_test.go

find_chromium() {
	local name
	for name in "${DATAFLOW_TEST_CHROMIUM:-}" chromium chromium-browser google-chrome; do
		if [[ -n $name ]] && command -v "$name"; then
			return 0
		fi
	done
	return 1
}

if ! program=$(find_chromium) && may_install; then
	say "installing the package chromium: the tests of dataflowui/browsertest look at the dashboard with it"
	install_packages chromium
fi
program=$(find_chromium) || fail "no Chromium found, and it cannot be installed from here.
Install it, for example with \`apt-get install chromium\` or \`brew install chromium\`,
or set DATAFLOW_TEST_CHROMIUM to the path of the program."

dir=${DATAFLOW_AXE_CACHE:-/var/tmp/dataflow-axe-$(id -u)}/$axe
if [[ ! -s $dir/axe.min.js ]]; then
	if ! command -v npm >/dev/null && may_install; then
		say "installing the packages nodejs and npm: axe-core comes as an npm package"
		install_packages nodejs npm
	fi
	command -v npm >/dev/null || fail "no npm found, and it cannot be installed from here: axe-core comes as an npm package"
	say "fetching axe-core $axe into $dir"
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	npm install --silent --no-save --no-audit --no-fund --ignore-scripts --prefix "$work" "axe-core@$axe"
	mkdir -p "$dir"
	cp "$work/node_modules/axe-core/axe.min.js" "$dir/axe.$$" # other processes see all of it or none
	mv "$dir/axe.$$" "$dir/axe.min.js"
fi
say "the tests look at pages with $program and axe-core $axe"
