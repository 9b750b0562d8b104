package dbtest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy is a TCP proxy before a server, such as a load balancer or a name that moves. The
// connections that exist stay with the server that they have reached.
type Proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex // guards the fields below
	socket string
	open   map[net.Conn]struct{}
	closed bool
}

// StartProxy starts a proxy before the socket of a server. It ends with the test.
func StartProxy(tb testing.TB, socket string) *Proxy {
	tb.Helper()
	listener, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &Proxy{listener: listener, socket: socket, open: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	tb.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		p.closed = true
		for conn := range p.open {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p
}

// Switch makes new connections reach another server.
func (p *Proxy) Switch(socket string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.socket = socket
}

// URL is the URL of the database postgres through the proxy.
func (p *Proxy) URL() string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: p.listener.Addr().String(), Path: "/postgres", RawQuery: "sslmode=disable"}
	return u.String()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		socket := p.socket
		p.mu.Unlock()
		server, err := net.Dial("unix", socket) //nolint:noctx // the listener's end is its own
		if err != nil {
			_ = client.Close()
			continue
		}
		if p.track(client, server) {
			p.wg.Go(func() { p.pipe(client, server) })
			p.wg.Go(func() { p.pipe(server, client) })
		}
	}
}

// track remembers connections to be closed at the end of the test.
func (p *Proxy) track(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range conns {
		p.open[conn] = struct{}{}
		if p.closed {
			_ = conn.Close()
		}
	}
	return !p.closed
}

// pipe copies until one end is closed, and closes both.
func (p *Proxy) pipe(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	_, _ = to.Close(), from.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, from)
}
