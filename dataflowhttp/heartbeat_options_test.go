package dataflowhttp_test

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowhttp"
	"github.com/activedataflow/dataflow/dataflowsqlite"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

const token = "0123456789abcdef"

// faults returns the settings that an error names. It requires that each is a
// ConfigError with a reason.
func faults(t *testing.T, err error) (fields []string) {
	t.Helper()
	var walk func(err error)
	walk = func(err error) {
		if ce, ok := err.(*dataflow.ConfigError); ok { //nolint:errorlint // the tree is walked here
			require.NotEmpty(t, ce.Reason)
			fields = append(fields, ce.Field)
			return
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, err := range joined.Unwrap() {
				walk(err)
			}
			return
		}
		if inner := errors.Unwrap(err); inner != nil {
			walk(inner)
		}
	}
	walk(err)
	return fields
}

func TestHeartbeatOptions(t *testing.T) {
	t.Parallel()
	client, err := dataflow.NewClient(dataflowsqlite.New(dbtest.SQLite(t)), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	type options = dataflowhttp.HeartbeatOptions
	tokens := []string{token}
	tests := []struct {
		name string
		opts *options
		want []string
		says string
	}{
		{"OneToken", &options{Tokens: tokens}, nil, ""},
		{"TwoTokens", &options{Tokens: []string{token, "~!" + token}}, nil, ""},
		{"Anonymous", &options{AllowAnonymous: true}, nil, ""},
		{"All", &options{
			Tokens: tokens, AllowedIPs: []string{"10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "0.0.0.0/0", "::/0", "::ffff:10.0.0.0/104", "fe80::1%eth0", " 10.0.0.1 "},
			TrustedProxies: []string{"127.0.0.1", "::1/128"}, MaxPerMinute: -1, MaxWait: time.Hour, MaxBody: 1,
		}, nil, ""},
		{"Nil", nil, []string{"Tokens"}, "set AllowAnonymous"},
		{"NoToken", &options{}, []string{"Tokens"}, "set AllowAnonymous"},
		{"NoTokenInList", &options{Tokens: []string{}}, []string{"Tokens"}, ""},
		{"EmptyToken", &options{Tokens: []string{token, ""}}, []string{"Tokens[1]"}, "it is empty"},
		{"BlankToken", &options{Tokens: []string{"                    "}}, []string{"Tokens[0]"}, "it is empty"},
		{"ShortToken", &options{Tokens: []string{token[:15]}}, []string{"Tokens[0]"}, "15 characters"},
		{"NewLineAtEnd", &options{Tokens: []string{token + "\n"}}, []string{"Tokens[0]"}, "strings.TrimSpace"},
		{"BlankWithin", &options{Tokens: []string{token + " " + token}}, []string{"Tokens[0]"}, "ASCII"},
		{"NotASCII", &options{Tokens: []string{token + "é"}}, []string{"Tokens[0]"}, "ASCII"},
		{"ControlCharacter", &options{Tokens: []string{token + "\x7f0"}}, []string{"Tokens[0]"}, "ASCII"},
		{"AnonymousWithToken", &options{Tokens: tokens, AllowAnonymous: true}, []string{"AllowAnonymous"}, "unset one of them"},
		{"NobodyAllowed", &options{Tokens: tokens, AllowedIPs: []string{}}, []string{"AllowedIPs"}, "no caller would be allowed"},
		{"BadAddress", &options{Tokens: tokens, AllowedIPs: []string{"10.0.0.1", "10.0.0.256"}}, []string{"AllowedIPs[1]"}, `"10.0.0.256" is neither`},
		{"BadPrefix", &options{Tokens: tokens, AllowedIPs: []string{"10.0.0.0/33"}}, []string{"AllowedIPs[0]"}, `"10.0.0.0/33" is neither`},
		{"Name", &options{Tokens: tokens, AllowedIPs: []string{"localhost", ""}}, []string{"AllowedIPs[0]", "AllowedIPs[1]"}, `"localhost" is neither`},
		{"BitsBehindPrefix", &options{Tokens: tokens, AllowedIPs: []string{"10.1.2.3/8"}}, []string{"AllowedIPs[0]"}, `"10.1.2.3/8" has bits after its /8: use 10.0.0.0/8, or 10.1.2.3`},
		{"MappedTooWide", &options{Tokens: tokens, AllowedIPs: []string{"::ffff:0:0/90"}}, []string{"AllowedIPs[0]"}, "use an IPv4 prefix"},
		{"BadProxy", &options{Tokens: tokens, TrustedProxies: []string{"nginx"}}, []string{"TrustedProxies[0]"}, `"nginx" is neither`},
		{"TrustsEverybody", &options{Tokens: tokens, TrustedProxies: []string{"10.0.0.1", "0.0.0.0/0", "::/0", "::ffff:0:0/96"}}, []string{"TrustedProxies[1]", "TrustedProxies[2]", "TrustedProxies[3]"}, "could forge its address"},
		{"Negative", &options{Tokens: tokens, MaxPerMinute: -2, MaxWait: -1, MaxBody: -1}, []string{"MaxPerMinute", "MaxWait", "MaxBody"}, "-1 for no limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			handler, err := dataflowhttp.Heartbeat(client, tt.opts)
			require.Equal(t, tt.want, faults(t, err))
			if tt.want == nil {
				require.NoError(t, err)
				require.NotNil(t, handler)
				return
			}
			require.Nil(t, handler)
			require.ErrorContains(t, err, tt.says)
			require.Regexp(t, `^dataflow: `, err.Error())
			require.NotContains(t, err.Error(), token[:15])
		})
	}
	t.Run("NilClient", func(t *testing.T) {
		t.Parallel()
		handler, err := dataflowhttp.Heartbeat(nil, &options{AllowedIPs: []string{"x"}})
		require.Nil(t, handler)
		require.Equal(t, []string{"client", "Tokens", "AllowedIPs[0]"}, faults(t, err))
	})
}
