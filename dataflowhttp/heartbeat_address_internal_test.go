package dataflowhttp

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseHop(t *testing.T) {
	t.Parallel()
	tests := map[string]string{ // empty means not an address
		"192.0.2.1": "192.0.2.1", "192.0.2.1:80": "192.0.2.1", "2001:db8::1": "2001:db8::1", "[2001:db8::1]": "2001:db8::1",
		"[2001:db8::1]:80": "2001:db8::1", "::ffff:192.0.2.1": "192.0.2.1", "[::ffff:192.0.2.1]:80": "192.0.2.1", "fe80::1%eth0": "fe80::1",
		"[fe80::1%eth0]:80": "fe80::1", "::FFFF:C000:201": "192.0.2.1",
		"": "", "@": "", "unknown": "", "_hidden": "", "192.0.2": "", "192.0.2.256": "", "192.0.2.1:": "", "192.0.2.01": "", "[192.0.2.1]": "",
		"192.0.2.1 10.0.0.1": "", "\"192.0.2.1\"": "", "for=192.0.2.1": "", "[]": "", "[": "", "192.0.2.1:99999": "", "0x7f.1": "", "192.0.2.1/32": "",
	}
	for in, want := range tests {
		addr, ok := parseHop(in)
		require.Equal(t, want != "", ok, in)
		if ok {
			require.Equal(t, netip.MustParseAddr(want), addr, in)
		}
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}
	tests := []struct {
		name, peer string
		header     []string
		want       string // empty means unknown
	}{
		{"NoProxy", "203.0.113.1", []string{"10.0.0.1"}, "203.0.113.1"},
		{"NoHeader", "10.0.0.1", nil, "10.0.0.1"},
		{"EmptyHeader", "10.0.0.1", []string{" ", ""}, ""},
		{"BlankHeader", "10.0.0.1", []string{" "}, "10.0.0.1"},
		{"One", "10.0.0.1", []string{"203.0.113.1"}, "203.0.113.1"},
		{"WithPort", "10.0.0.1", []string{"203.0.113.1:4711"}, "203.0.113.1"},
		{"V6Proxy", "2001:db8::1", []string{"[2001:db9::1]:80"}, "2001:db9::1"},
		{"RightOne", "10.0.0.1", []string{"198.51.100.1,203.0.113.1"}, "203.0.113.1"},
		{"RightLine", "10.0.0.1", []string{"198.51.100.1", "203.0.113.1"}, "203.0.113.1"},
		{"ThroughProxies", "10.0.0.1", []string{"198.51.100.1", "203.0.113.1,2001:db8::7 , 10.9.9.9"}, "203.0.113.1"},
		{"MappedProxy", "10.0.0.1", []string{"203.0.113.1, ::ffff:10.1.1.1"}, "203.0.113.1"},
		{"ProxiesOnly", "10.0.0.1", []string{"10.0.0.3,10.0.0.2"}, "10.0.0.3"},
		{"GarbageBehindTheCaller", "10.0.0.1", []string{"<script>,,203.0.113.1"}, "203.0.113.1"},
		{"Garbage", "10.0.0.1", []string{"203.0.113.1,unknown"}, ""},
		{"GarbageBehindAProxy", "10.0.0.1", []string{"203.0.113.1,unknown,10.0.0.2"}, ""},
		{"Gap", "10.0.0.1", []string{"203.0.113.1,,10.0.0.2"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := netip.Addr{}
			if tt.want != "" {
				want = netip.MustParseAddr(tt.want)
			}
			require.Equal(t, want, clientAddress(proxies, netip.MustParseAddr(tt.peer), tt.header))
		})
	}
	unknown := netip.Addr{}
	require.Equal(t, unknown, clientAddress(proxies, unknown, []string{"203.0.113.1"}), "a Unix socket is no trusted proxy")
}

func TestHeartbeat_Address(t *testing.T) {
	t.Parallel()
	forwarded := func(lines ...string) http.Header {
		return http.Header{"X-Forwarded-For": lines, "X-Heartbeat-Token": {goodToken}}
	}
	tests := []struct {
		name    string
		peer    string
		header  http.Header
		address string // in the log; empty means served
	}{
		{"Single", "198.51.100.7:1", forwarded(), ""},
		{"Prefix", "10.255.0.1:1", forwarded(), ""},
		{"V6", "[2001:db8::1]:1", forwarded(), ""},
		{"MappedPeer", "[::ffff:10.1.2.3]:1", forwarded(), ""},
		{"Zone", "[fe80::1%eth0]:1", forwarded(), ""},
		{"MappedEntry", "203.0.113.9:1", forwarded(), ""},
		{"ZoneEntry", "[fe80::2]:1", forwarded(), ""},
		{"Neighbour", "198.51.100.8:1", forwarded(), "198.51.100.8"},
		{"OtherV6", "[2001:db9::1]:1", forwarded(), "2001:db9::1"},
		{"UnixSocket", "@", forwarded("10.0.0.1"), "unknown"},
		{"ForgedWithoutProxy", "198.51.100.8:1", forwarded("10.0.0.1"), "198.51.100.8"},
		{"ProxyItself", "192.0.2.1:1", forwarded(), "192.0.2.1"},
		{"ThroughProxy", "192.0.2.1:1", forwarded("10.0.0.1"), ""},
		{"ThroughProxyMapped", "[::ffff:192.0.2.1]:1", forwarded("::ffff:10.0.0.1"), ""},
		{"ThroughTwoProxies", "192.0.2.1:1", forwarded("10.0.0.1, 192.0.2.77"), ""},
		{"ForgedThroughProxy", "192.0.2.1:1", forwarded("10.0.0.1, 198.51.100.8"), "198.51.100.8"},
		{"ForgedInALineOfItsOwn", "192.0.2.1:1", forwarded("10.0.0.1", "198.51.100.8"), "198.51.100.8"},
		{"ForgedThroughTwoProxies", "192.0.2.1:1", forwarded("10.0.0.1, 198.51.100.8,192.0.2.77"), "198.51.100.8"},
		{"ProxyDoesNotKnow", "192.0.2.1:1", forwarded("10.0.0.1, unknown"), "unknown"},
		{"ProxyAddsNothing", "192.0.2.1:1", forwarded("10.0.0.1,"), "unknown"},
		{"Forwarded", "192.0.2.1:1", http.Header{"Forwarded": {"for=10.0.0.1"}, "X-Real-Ip": {"10.0.0.1"}, "X-Heartbeat-Token": {goodToken}}, "192.0.2.1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, &HeartbeatOptions{
				AllowedIPs:     []string{"198.51.100.7", " 10.0.0.0/8", "2001:db8::/32", "::ffff:203.0.113.0/120", "fe80::1", "fe80::2%eth1"},
				TrustedProxies: []string{"192.0.2.0/24"},
			})
			rec := e.send(request{peer: tt.peer, header: tt.header})
			if tt.address == "" {
				require.Equal(t, http.StatusAccepted, rec.Code, rec.Body)
				return
			}
			e.requireRefused(rec, http.StatusForbidden, "not allowed from this address")
			require.Zero(t, e.ticker.ticks())
			line := e.logged()
			require.Equal(t, tt.address, line["address"])
			require.Equal(t, tt.peer, line["peer"])
		})
	}
}

func TestHeartbeat_AnyAddress(t *testing.T) {
	t.Parallel()
	e := setup(t, nil)
	for _, peer := range []string{"203.0.113.1:1", "[2001:db8::1]:1", "@", ""} {
		require.Equal(t, http.StatusAccepted, e.send(request{peer: peer}).Code, peer)
	}
}

// FuzzClientAddress requires that a caller cannot forge its address, whatever it
// sends: the result is an address that a trusted proxy has seen.
func FuzzClientAddress(f *testing.F) {
	for _, sent := range []string{"", ",", "10.0.0.1", "203.0.113.1, 10.0.0.1", "[::1]:80,::ffff:10.0.0.1", "unknown,\x00", " ,10.1.2.3%a,", "10.0.0.1\n10.0.0.2", "fe80::1%10.0.0.1,10.0.0.1"} {
		f.Add(sent, 3)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	proxy, outside := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.77")
	f.Fuzz(func(t *testing.T, sent string, at int) {
		require.Equal(t, outside, clientAddress(proxies, outside, []string{sent}), "no proxy: the header is ignored")
		for _, added := range []string{"203.0.113.77", " [::ffff:203.0.113.77]:80 ", "203.0.113.77:1, 10.9.9.9", "203.0.113.77,::1,10.9.9.9:70"} {
			require.Equal(t, outside, clientAddress(proxies, proxy, []string{sent + "," + added}))
			require.Equal(t, outside, clientAddress(proxies, proxy, []string{sent, added}))
		}
		require.Equal(t, netip.Addr{}, clientAddress(proxies, proxy, []string{sent + ",unknown"}))

		// Without another entry, the result is the rightmost address that is not a proxy.
		got := clientAddress(proxies, proxy, []string{sent})
		require.Equal(t, reference(proxies, proxy, sent), got)
		require.Equal(t, plain(got), got)
		if comma := strings.IndexByte(sent, ','); comma >= 0 {
			require.Equal(t, got, clientAddress(proxies, proxy, []string{sent[:comma], sent[comma+1:]}), "lines are joined")
		}
		if got.IsValid() && !within(proxies, got) {
			cut := sent[:max(0, min(at, len(sent)))]
			require.Equal(t, got, clientAddress(proxies, proxy, []string{cut + "," + sent}), "what is further left does not matter")
		}
	})
}

// reference is another implementation of clientAddress.
func reference(proxies []netip.Prefix, peer netip.Addr, header string) netip.Addr {
	if strings.TrimSpace(header) == "" {
		return peer
	}
	hops := strings.Split(header, ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, ok := parseHop(strings.TrimSpace(hops[i]))
		if !ok {
			return netip.Addr{}
		}
		if i == 0 || !within(proxies, hop) {
			return hop
		}
	}
	return peer
}
