#!/usr/bin/env bash
# github.com/hashicorp/go-retryablehttp v0.7.8.
#
# A good guess: RetryWaitMax, "maximum time to wait", is the longest wait between two tries. Seen: a
# server's Retry-After is not held to it. A Retry-After of a day makes the client sleep for a day, in
# a call without a deadline, with RetryWaitMax at 30 s.
#
# And another one: a Retry-After that the client cannot use is replaced by its own waits. A date that
# has passed is not: it is a wait of 0, so that all tries are made at once. A Retry-After of a 403, by
# which GitHub limits requests, is not read at all, because a 403 is not tried again.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

func main() {
	for _, answer := range []struct {
		status     int
		retryAfter string
	}{
		{429, "86400"},
		{503, "soon"},
		{503, "Wed, 21 Oct 2015 07:28:00 GMT"},
		{403, "10"},
	} {
		tries := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			tries++
			w.Header().Set("Retry-After", answer.retryAfter)
			w.WriteHeader(answer.status)
		}))
		client := retryablehttp.NewClient()
		client.Logger, client.RetryMax, client.RetryWaitMin, client.RetryWaitMax = nil, 3, time.Second, 30*time.Second
		var waits []time.Duration
		client.Backoff = func(least, most time.Duration, attempt int, resp *http.Response) time.Duration {
			waits = append(waits, retryablehttp.DefaultBackoff(least, most, attempt, resp))
			return 0 // the wait is noted, and left out
		}
		req, err := retryablehttp.NewRequestWithContext(context.Background(), http.MethodGet, server.URL, nil)
		if err != nil {
			panic(err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		server.Close()
		fmt.Printf("%d, Retry-After: %s\n  tries %d, waits %v\n", answer.status, answer.retryAfter, tries, waits)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/hashicorp/go-retryablehttp@v0.7.8 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
429, Retry-After: 86400
  tries 4, waits [24h0m0s 24h0m0s 24h0m0s]
503, Retry-After: soon
  tries 4, waits [1s 2s 4s]
503, Retry-After: Wed, 21 Oct 2015 07:28:00 GMT
  tries 4, waits [0s 0s 0s]
403, Retry-After: 10
  tries 1, waits []
SEEN
