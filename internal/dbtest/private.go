package dbtest

import (
	"context"
	"errors"
	"net/url"
	"sync"

	"github.com/jackc/pgx/v5"
)

// private is the server of this test binary. It is used if urlEnv is not set.
var private privateServer

// privateServer starts a server once, at the first call of start.
type privateServer struct {
	once   sync.Once // It guards the fields below.
	server *server
	err    error
	files  bool // It has the strategy file_copy of create database.
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
		if p.err == nil {
			p.files, p.err = isNewer(ctx, p.server.url)
		}
	})
	if p.err != nil {
		return nil, p.err
	}
	return p.server.url, nil
}

// copiesFiles reports whether a server that adminURL has returned is this one, and has the
// strategy file_copy.
func (p *privateServer) copiesFiles(admin *url.URL) bool {
	return p.server != nil && p.server.url == admin && p.files
}

// isNewer reports whether a server is of version 15, which has the strategies, or later.
func isNewer(ctx context.Context, url *url.URL) (newer bool, err error) {
	conn, err := pgx.Connect(ctx, url.String())
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	err = conn.QueryRow(ctx, "select current_setting('server_version_num')::int >= 150000").Scan(&newer)
	return newer, err
}

// stop stops the server if there is one, and prevents a later start.
func (p *privateServer) stop() error {
	p.once.Do(func() {})
	if p.server == nil {
		return nil
	}
	return p.server.stop()
}
