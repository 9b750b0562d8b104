package dbtest

import (
	"context"
	"net/url"
	"sync"
)

// private is the server of this test binary, for when it is given none.
var private privateServer

// privateServer starts a server once, when it is first asked for.
type privateServer struct {
	once   sync.Once // It guards the fields below.
	server *server
	err    error
}

// start returns the URL of the server. A start that fails is not tried again.
func (p *privateServer) start(ctx context.Context) (*url.URL, error) {
	p.once.Do(func() {
		// The server outlives the test that happens to be the first.
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

// stop stops the server if there is one, and keeps a later start from happening.
func (p *privateServer) stop() error {
	p.once.Do(func() {})
	if p.server == nil {
		return nil
	}
	return p.server.stop()
}
