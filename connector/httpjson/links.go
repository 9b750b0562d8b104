package httpjson

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// LinkPolicy says which links to a next page are followed: [SameHost], [KeepOrigin] or
// [Allow]. What [Options].Auth adds and Options.Header are never sent to another host.
type LinkPolicy string

const (
	// SameHost follows links to the host of the source's address. A link to http at a source
	// with https is followed with https. It is the default.
	SameHost LinkPolicy = ""
	// KeepOrigin takes only path and query of a link, and requests them at the source's
	// address. It is for APIs whose links name a host or port that is not reachable, such as
	// one after a proxy.
	KeepOrigin LinkPolicy = "keep origin"
)

// allowed begins a policy of [Allow].
const allowed = "allow "

// Allow also follows links to these hosts, such as "eu.example.com". They receive neither
// what Auth adds nor Options.Header.
func Allow(hosts ...string) LinkPolicy { return LinkPolicy(allowed + strings.Join(hosts, " ")) }

// allows reports whether the policy names a host.
func (p LinkPolicy) allows(host string) bool {
	hosts, ok := strings.CutPrefix(string(p), allowed)
	return ok && slices.Contains(strings.Fields(hosts), host)
}

// follow returns the address to request for a link.
func (p LinkPolicy) follow(address string, u *url.URL) (*url.URL, error) {
	home, err := url.Parse(address)
	if err != nil {
		return nil, dataflow.Permanent(err)
	}
	at := *u
	switch {
	case u.Scheme == home.Scheme && u.Host == home.Host:
	case p == KeepOrigin:
		at.Scheme, at.Host, at.User = home.Scheme, home.Host, nil
	case httpcall.SameHost(home, u) && u.Scheme == "https":
	case httpcall.SameHost(home, u):
		at.Scheme, at.Host = home.Scheme, home.Host
	case p.allows(u.Host):
	default:
		return nil, dataflow.Permanent(fmt.Errorf("the next page is at %s://%s, not at the host of %s: it was not requested, because it would receive what Auth adds: set Options.Links to KeepOrigin or Allow(%q)", u.Scheme, u.Host, bare(address), u.Host))
	}
	return &at, nil
}

func goTo(r *Request, page string) error {
	if page == "" {
		return nil
	}
	u, err := r.URL.Parse(page)
	if err != nil {
		return errors.New("its address is not a URL: reset the flow's cursor")
	}
	r.URL, r.linked = u, true
	return nil
}

// template is the part of a link with the parameters that a client may set (RFC 6570).
var template = regexp.MustCompile(`\{[?&][^{}]*\}`)

// resolve returns the address of a link, without the user of the source's own: it would be stored in the cursor.
func resolve(base *url.URL, address string) (string, error) {
	at := *base
	at.User = nil
	u, err := at.Parse(template.ReplaceAllLiteralString(strings.TrimSpace(address), ""))
	if err != nil {
		return "", fmt.Errorf("%q is not a URL: check the path in Options.Paging", address)
	}
	return u.String(), nil
}

// nextLink returns the link with rel="next" in a Link header, or "". Only a link's first rel
// counts, and no link that belongs to another document (RFC 8288, section 3).
func nextLink(header string) string {
	for header != "" {
		_, rest, ok := strings.Cut(header, "<")
		if !ok {
			return ""
		}
		target, rest, ok := strings.Cut(rest, ">")
		if !ok {
			return ""
		}
		var params string
		params, header = cutUnquoted(rest, ',')
		if isNext(params) {
			return strings.TrimSpace(target)
		}
	}
	return ""
}

// isNext reports whether a link with these parameters is that to the next page.
func isNext(params string) bool {
	next, seen := false, false
	for params != "" {
		var param string
		param, params = cutUnquoted(params, ';')
		name, value, _ := strings.Cut(param, "=")
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "anchor":
			return false
		case "rel":
			for rel := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"'`)) {
				next = next || !seen && strings.EqualFold(rel, "next")
			}
			seen = true
		}
	}
	return next
}

// cutUnquoted cuts a text at a character outside double quotes.
func cutUnquoted(text string, at rune) (before, after string) {
	quoted := false
	for i, c := range text {
		switch {
		case c == '"':
			quoted = !quoted
		case c == at && !quoted:
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}
