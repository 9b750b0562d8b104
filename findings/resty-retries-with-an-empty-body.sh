#!/usr/bin/env bash
# github.com/go-resty/resty/v2 v2.17.2.
#
# A good guess: a client that retries a POST sends the same body again, as net/http's own requests can
# with a strings.Reader, or fails if it cannot. Seen: with a strings.Reader or a file as body, the
# retry has an empty body, and the answer to that is the result. So after one 503 a server that
# accepts empty bodies has lost the records, and the client has seen 200. A body of bytes, a string or
# a struct is sent again. Heimdall v7.0.3 sends all of them again.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/go-resty/resty/v2"
	"github.com/gojek/heimdall/v7"
	"github.com/gojek/heimdall/v7/httpclient"
)

const record = `{"id":1}`

func main() {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		check(err)
		bodies = append(bodies, string(body))
		if len(bodies) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()

	client := resty.New().SetRetryCount(2).SetRetryWaitTime(time.Millisecond).
		AddRetryCondition(func(r *resty.Response, _ error) bool { return r != nil && r.StatusCode() >= 500 })
	for _, body := range []any{[]byte(record), record, strings.NewReader(record), bytes.NewReader([]byte(record))} {
		bodies = nil
		answer, err := client.R().SetBody(body).Post(server.URL)
		check(err)
		fmt.Printf("resty, %T: %d after %q\n", body, answer.StatusCode(), bodies)
	}
	bodies = nil
	other := httpclient.NewClient(httpclient.WithRetryCount(2),
		httpclient.WithRetrier(heimdall.NewRetrier(heimdall.NewConstantBackoff(time.Millisecond, time.Millisecond))))
	answer, err := other.Post(server.URL, strings.NewReader(record), nil)
	check(err)
	fmt.Printf("heimdall, *strings.Reader: %d after %q\n", answer.StatusCode, bodies)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/go-resty/resty/v2@v2.17.2 github.com/gojek/heimdall/v7/httpclient@v7.0.3 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
resty, []uint8: 200 after ["{\"id\":1}" "{\"id\":1}"]
resty, string: 200 after ["{\"id\":1}" "{\"id\":1}"]
resty, *strings.Reader: 200 after ["{\"id\":1}" ""]
resty, *bytes.Reader: 200 after ["{\"id\":1}" ""]
heimdall, *strings.Reader: 200 after ["{\"id\":1}" "{\"id\":1}"]
SEEN
