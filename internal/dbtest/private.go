package dbtest

import (
	"context"
	"net/url"
	"sync"
)

// private is the server of this test binary. It is used if urlEnv is not set.
var private privateServer

// privateServer starts a server once, at the first call of start.
type privateServer struct {
	once   sync.Once // It guards the fields below.
	server *server
	err    error
}

// start returns the URL of the server. It does not try again after a failed start.
func (p *privateServer) start(ctx context.Context) (*url.URL, error) {
	p.once.Do(func() {
		// The server outlives the test that starts it.
		ctx := context.WithoutCancel(ctx)
		var bin string
		if bin, p.err = findBin(ctx, places); p.err == nil {
			p.server, p.err = startServer(ctx, bin)
		}
	})
	if p.err != nil {
		return nil, p.err
	}
	return p.server.url, nil
}

// stop stops the server if there is one, and prevents a later start.
func (p *privateServer) stop() error {
	p.once.Do(func() {})
	if p.server == nil {
		return nil
	}
	return p.server.stop()
}
