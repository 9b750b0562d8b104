#!/usr/bin/env bash
# Makes sure that the tests of dataflowotel find Prometheus and promtool, which they start
# themselves. Installs Debian's or Ubuntu's package where it may, without leaving it running.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

found() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }

if ! found && may_install; then
	say "installing the package prometheus: the tests of dataflowotel check its alert rules and dashboard with it"
	install_packages prometheus
fi
found || fail "no Prometheus found, and it cannot be installed from here.
Install it, for example with \`apt-get install prometheus\` or \`brew install prometheus\`."
say "the tests use $(promtool --version 2>&1 | sed -n '1s/ (.*//p')"
