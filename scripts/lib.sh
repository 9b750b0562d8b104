# Functions for the scripts beside this file, which source it. Sets the name of the script.
# shellcheck shell=bash
script=$(basename "$0" .sh)

say() { echo "$script: $*"; }

fail() {
	echo "$script: $*" >&2
	exit 1
}

# find_go finds Go where only a login shell has it in PATH, and refuses a Go that is too old.
# It installs the certificates that Go needs to download modules.
find_go() {
	command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
	command -v go >/dev/null || fail "there is no Go: install it as https://go.dev/doc/install says"
	# From 1.21 on, Go says itself that it is too old, or fetches the version that go.mod asks for.
	local version
	version=$(go env GOVERSION)
	[[ ! $version =~ ^go1\.([0-9]|1[0-9]|20)(\.|$) ]] || fail "$version is too old: install the version that go.mod names"
	# In a checkout of another user, git fails, and so does go build.
	GOFLAGS="$(go env GOFLAGS) -buildvcs=false"
	export GOFLAGS
	if [[ ! -e /etc/ssl/certs/ca-certificates.crt ]] && may_install; then
		say "installing the package ca-certificates: Go downloads modules by HTTPS"
		install_packages ca-certificates
	fi
}

as_root() {
	if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
	command -v apt-get >/dev/null || return 1
	[[ $(id -u) -eq 0 ]] || sudo -n true 2>/dev/null
}

# install_packages installs packages of Debian or Ubuntu, and starts none of their servers.
# It shows what apt-get prints only when apt-get fails.
install_packages() (
	policy=/usr/sbin/policy-rc.d
	log=$(mktemp)
	if [[ ! -e $policy ]]; then
		trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
		printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
		as_root chmod 755 "$policy"
	fi
	# A fresh machine has no package lists, and those of an old one may name packages that are gone.
	if ! apt_install "$@" >"$log" 2>&1; then
		# One broken source must not keep the package of another from being installed.
		as_root apt-get -q -o DPkg::Lock::Timeout=300 update >>"$log" 2>&1 || true
		apt_install "$@" >>"$log" 2>&1 || cat "$log" >&2
	fi
	rm -f "$log"
)

apt_install() {
	as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 \
		apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
		install --no-install-recommends "$@"
}
