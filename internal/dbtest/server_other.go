//go:build !unix

package dbtest

import (
	"context"
	"fmt"
	"net/url"
	"runtime"
)

type server struct {
	url *url.URL
}

func startServer(context.Context, string) (*server, error) {
	return nil, fmt.Errorf("cannot start a private PostgreSQL server on %s; set %s to the URL of a server "+
		"on which the tests may create databases", runtime.GOOS, urlEnv)
}

func (s *server) stop() error { return nil }
