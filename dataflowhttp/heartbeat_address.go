package dataflowhttp

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// addresses determines the caller of a request, and whether it is allowed.
type addresses struct {
	any     bool // true if every address is allowed
	allowed []netip.Prefix
	proxies []netip.Prefix
}

// caller is the origin of a request.
type caller struct {
	// addr is the caller's address, seen through the trusted proxies. It is the
	// zero Addr if unknown.
	addr netip.Addr
	// peer is the other end of the connection, as the server reports it.
	peer string
}

// attrs returns the log attributes of a request. It cuts the method, which the
// caller chooses and which may be long.
func (c caller) attrs(r *http.Request) []slog.Attr {
	const most = 32
	address, method := "unknown", r.Method
	if c.addr.IsValid() {
		address = c.addr.String()
	}
	if len(method) > most {
		method = method[:most] + "…"
	}
	return []slog.Attr{slog.String("address", address), slog.String("peer", c.peer), slog.String("method", method)}
}

func (a *addresses) allow(addr netip.Addr) bool { return a.any || within(a.allowed, addr) }

// caller returns the origin of a request.
func (a *addresses) caller(r *http.Request) caller {
	peer, _ := parseHop(r.RemoteAddr) // a Unix socket has none
	return caller{addr: clientAddress(a.proxies, peer, r.Header.Values("X-Forwarded-For")), peer: r.RemoteAddr}
}

// clientAddress returns the address of the client that called the outermost trusted
// proxy. Each proxy appends to the header the address from which it was called.
// Entries further left existed before, and may be forged. So the header is read
// from the right, as long as a trusted proxy has written the entry. It returns the
// zero Addr if a proxy has written something other than an address.
func clientAddress(proxies []netip.Prefix, peer netip.Addr, header []string) netip.Addr {
	rest := strings.Join(header, ",") // in HTTP, several lines of a header are one list
	left := strings.TrimSpace(rest) != ""
	addr := peer
	for left && within(proxies, addr) {
		comma := strings.LastIndexByte(rest, ',')
		hop, ok := parseHop(strings.TrimSpace(rest[comma+1:]))
		if !ok {
			return netip.Addr{}
		}
		addr, left = hop, comma >= 0
		rest = rest[:max(comma, 0)]
	}
	return addr
}

// parseHop reads an address, with or without a port.
func parseHop(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
			s += ":0"
		}
		var both netip.AddrPort
		both, err = netip.ParseAddrPort(s)
		addr = both.Addr()
	}
	return plain(addr), err == nil
}

// plain returns the canonical form of an address: without a zone, and IPv4 if
// possible.
func plain(addr netip.Addr) netip.Addr { return addr.WithZone("").Unmap() }

func within(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (o *HeartbeatOptions) parseAddresses(bad func(field, reason string, args ...any)) addresses {
	if o.AllowedIPs != nil && len(o.AllowedIPs) == 0 {
		bad("AllowedIPs", "it is empty, so no caller would be allowed: list addresses, or leave it nil for any address")
	}
	a := addresses{any: o.AllowedIPs == nil}
	parse := func(field string, entries []string) (prefixes []netip.Prefix) {
		for i, entry := range entries {
			prefix, err := parsePrefix(entry)
			if err != nil {
				bad(fmt.Sprintf("%s[%d]", field, i), "%q %s", entry, err)
			}
			prefixes = append(prefixes, prefix)
		}
		return prefixes
	}
	a.allowed = parse("AllowedIPs", o.AllowedIPs)
	a.proxies = parse("TrustedProxies", o.TrustedProxies)
	for i, p := range a.proxies {
		if p.IsValid() && p.Bits() == 0 {
			bad(fmt.Sprintf("TrustedProxies[%d]", i), "%q trusts every address, so every caller could forge its address: list the proxies' own addresses", o.TrustedProxies[i])
		}
	}
	return a
}

// parsePrefix reads an address or a prefix.
func parsePrefix(entry string) (netip.Prefix, error) {
	entry = strings.TrimSpace(entry)
	if addr, err := netip.ParseAddr(entry); err == nil {
		addr = plain(addr)
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(entry)
	if err != nil {
		return netip.Prefix{}, errors.New(`is neither an address nor a prefix: use one such as "10.0.0.7", "10.0.0.0/8" or "2001:db8::/32"`)
	}
	if prefix.Addr().Is4In6() {
		const mapped = 96 // bits before the IPv4 address
		if prefix.Bits() < mapped {
			return netip.Prefix{}, errors.New("covers more than IPv4 addresses: use an IPv4 prefix such as 10.0.0.0/8")
		}
		prefix = netip.PrefixFrom(prefix.Addr().Unmap(), prefix.Bits()-mapped)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf("has bits after its /%d: use %s, or %s for the one address", prefix.Bits(), masked, prefix.Addr())
	}
	return prefix, nil
}
