#!/usr/bin/env bash
# Makes sure that there is a C compiler and the C library's headers, which Go's race detector
# needs. Installs Debian's or Ubuntu's packages where it may.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

cc=$(go env CC)

compiles() {
	# The value of CC may hold options.
	# shellcheck disable=SC2086
	printf '#include <stdlib.h>\n#include <pthread.h>\nint main(void) { return 0; }\n' | $cc -x c -o /dev/null - 2>/dev/null
}

if ! compiles && may_install; then
	say "installing the packages gcc and libc6-dev: Go's race detector needs a C compiler"
	install_packages gcc libc6-dev
fi
compiles || fail "no C compiler that works ($cc), and it cannot be installed from here.
The race detector needs one: install it, for example with \`apt-get install gcc libc6-dev\` or \`xcode-select --install\`."
say "the C compiler is $cc"
