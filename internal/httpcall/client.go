package httpcall

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// sameHost refuses a redirect to another host, or from https to http, which must not receive what
// Auth adds.
func sameHost(req *http.Request, via []*http.Request) error {
	switch first := via[0].URL; {
	case SameHost(first, req.URL) && !sameOrigin(first, req.URL): // it does not know that a proxy in front of it speaks https
		return dataflow.Permanent(fmt.Errorf("the server redirects from https to %s: use that address with https, or set Client to allow that", bareURL(req.URL)))
	case !SameHost(first, req.URL):
		return dataflow.Permanent(fmt.Errorf("the server redirects to another host, %s: set Client to allow that", req.URL.Host))
	case len(via) >= 10:
		return dataflow.Permanent(errors.New("the server redirected 10 times: check the address for a loop"))
	default:
		return nil
	}
}

// guarded returns a copy of a client that sends a redirect to another host without the request's headers, which may hold
// what Auth adds. It keeps the one that tells a repeated request.
func guarded(client *http.Client, keyHeader string) *http.Client {
	own, check := *client, client.CheckRedirect
	own.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if first := via[0].URL; !sameOrigin(first, req.URL) {
			kept := []string{"Accept", http.CanonicalHeaderKey(keyHeader)}
			if req.Body != nil { // after 303 there is none
				kept = append(kept, "Content-Type")
			}
			maps.DeleteFunc(req.Header, func(name string, _ []string) bool { return !slices.Contains(kept, name) })
		}
		switch {
		case check != nil:
			return check(req, via)
		case len(via) >= 10:
			return dataflow.Permanent(errors.New("the server redirected 10 times: check the address for a loop"))
		default:
			return nil
		}
	}
	return &own
}

// proxy returns the host of the proxy that a request goes through, or "".
func (c *Caller) proxy(req *http.Request) string {
	next := c.Client.Transport
	if outer, ok := next.(interface{ Next() http.RoundTripper }); ok {
		next = outer.Next()
	}
	if next == nil {
		next = http.DefaultTransport
	}
	transport, ok := next.(*http.Transport)
	if !ok || transport.Proxy == nil {
		return ""
	}
	if u, err := transport.Proxy(req); err == nil && u != nil {
		return u.Host
	}
	return ""
}

// sameOrigin reports whether what may be sent to one address may be sent to another: its host
// is the same, and it is not less secure.
func sameOrigin(home, u *url.URL) bool {
	return SameHost(home, u) && (u.Scheme == home.Scheme || u.Scheme == "https")
}

// SameHost reports whether two addresses have the same host and port. The ports of http and
// https are the same.
func SameHost(a, b *url.URL) bool {
	return strings.EqualFold(a.Hostname(), b.Hostname()) && (a.Port() == b.Port() || defaultPort(a) && defaultPort(b))
}

// defaultPort reports whether an address has the port of its scheme.
func defaultPort(u *url.URL) bool {
	return u.Port() == "" || u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443"
}

// escaped returns a query with an escape for each byte that must not stand in one, such as a
// space, as browsers send it. The client would send it as it is, and servers refuse that. All else stays.
func escaped(query string) string {
	strange := func(c byte) bool { return c <= ' ' || c >= 0x7F || strings.IndexByte("\"<>\\^`{|}", c) >= 0 }
	var b strings.Builder
	for i := range len(query) {
		if c := query[i]; strange(c) {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
