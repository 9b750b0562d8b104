#!/usr/bin/env bash
# Go 1.26, package net/http.
#
# A good guess: http.StripPrefix("/o ps", handler) serves each path below that prefix, as below "/ops", or
# none of them: its documentation says that a prefix which is sent with escapes is answered with 404. Seen:
# most paths are served, so that a test passes. A path with an escape that its decoded form does not show,
# as the %2F of a name with a slash, is answered with 404, and the handler is never asked.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
)

func main() {
	for _, prefix := range []string{"/ops", "/o ps"} {
		server := httptest.NewServer(http.StripPrefix(prefix, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.URL.EscapedPath())
		})))
		for _, path := range []string{"/flows/a", "/flows/a%20b", "/flows/a%2Fb"} {
			sent := map[string]string{"/ops": "/ops", "/o ps": "/o%20ps"}[prefix] + path
			answer, err := http.Get(server.URL + sent)
			if err != nil {
				panic(err)
			}
			fmt.Println(sent, answer.StatusCode)
		}
		server.Close()
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
/ops/flows/a 200
/ops/flows/a%20b 200
/ops/flows/a%2Fb 200
/o%20ps/flows/a 200
/o%20ps/flows/a%20b 200
/o%20ps/flows/a%2Fb 404
SEEN
