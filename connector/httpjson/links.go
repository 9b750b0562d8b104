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
	"github.com/activedataflow/dataflow/internal/mask"
)

// LinkPolicy says which links to a next page are followed: [SameHost], [KeepOrigin], [KeepAddress] or
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
	// KeepAddress takes only the query of a link, and requests it at the source's address. It is for APIs whose links
	// lack a part of the path, such as the prefix of a gateway before them.
	KeepAddress LinkPolicy = "keep address"
)

// keeps reports whether the policy requests each link at the source's host.
func (p LinkPolicy) keeps() bool { return p == KeepOrigin || p == KeepAddress }

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
	case p == KeepAddress:
		at = *home
		at.RawQuery = u.RawQuery
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

// link returns the address that is a page's name, and the source's. It returns false if the name is no address, or that
// of another host, to which neither Auth nor the source's address gives anything.
func (s *source[T]) link(page string) (u, home *url.URL, ok bool) {
	switch s.opts.Paging.(type) {
	case NextURL, LinkHeader:
	default:
		return nil, nil, false
	}
	u, err := url.Parse(page)
	home, homeErr := url.Parse(s.address)
	if err != nil || homeErr != nil {
		return nil, nil, false
	}
	return u, home, s.opts.Links.keeps() || httpcall.SameHost(home, u)
}

// hide puts a mark in place of the values of secrets in a link, such as that of api_key, if the source's address or Auth have put the
// same into the request that was sent; nil: none was. A cursor must not keep them: whoever sees it would know them, and
// once a key is changed, the API would refuse the link for good.
func (r *reading[T]) hide(link string, sent *url.URL) string {
	u, home, ok := r.s.link(link)
	if !ok {
		return link
	}
	own := pairsOf(home)
	if sent != nil && sent.Host == r.asked.Host && sent.Path == r.asked.Path { // otherwise it was redirected
		asked := pairsOf(r.asked)
		own = append(own, slices.DeleteFunc(pairsOf(sent), func(p [2]string) bool { return slices.Contains(asked, p) })...)
	}
	return withSecrets(link, u, func(p [2]string) (string, bool) {
		return url.QueryEscape(p[0]) + "=" + mask.Mark, p[1] != "" && slices.Contains(own, p)
	})
}

// reveal puts the secrets of the source's address back into a link of [reading.hide]. Those of Auth are left out: it adds them.
func (s *source[T]) reveal(link string) string {
	u, home, ok := s.link(link)
	if !ok {
		return link
	}
	return withSecrets(link, u, func(p [2]string) (string, bool) {
		for pair := range strings.SplitSeq(home.RawQuery, "&") {
			if pairOf(pair)[0] == p[0] {
				return pair, p[1] == mask.Mark
			}
		}
		return "", p[1] == mask.Mark
	})
}

// withSecrets returns a link whose pairs with secrets are others where change says so. An empty other one is left out.
func withSecrets(link string, u *url.URL, change func(pair [2]string) (other string, ok bool)) string {
	var pairs []string
	changed := false
	for text := range strings.SplitSeq(u.RawQuery, "&") {
		if pair := pairOf(text); mask.Secret(pair[0]) {
			if other, ok := change(pair); ok {
				if changed = true; other == "" {
					continue
				}
				text = other
			}
		}
		pairs = append(pairs, text)
	}
	if !changed {
		return link
	}
	u.RawQuery = strings.Join(pairs, "&")
	return u.String()
}

// pairsOf returns the names and values in the query of an address.
func pairsOf(u *url.URL) (pairs [][2]string) {
	for text := range strings.SplitSeq(u.RawQuery, "&") {
		pairs = append(pairs, pairOf(text))
	}
	return pairs
}

// pairOf returns the name and the value of a pair of a query, decoded.
func pairOf(text string) (pair [2]string) {
	pair[0], pair[1], _ = strings.Cut(text, "=")
	for i := range pair {
		if plain, err := url.QueryUnescape(pair[i]); err == nil {
			pair[i] = plain
		}
	}
	return pair
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
