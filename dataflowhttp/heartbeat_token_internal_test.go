package dataflowhttp

import (
	"encoding/base64"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

const noToken = "no valid token: send one as X-Heartbeat-Token, or as Authorization: Bearer"

func TestHeartbeat_Token(t *testing.T) {
	t.Parallel()
	header := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		return h
	}
	const own, auth = "X-Heartbeat-Token", "Authorization"
	tests := []struct {
		name   string
		header http.Header
		target string
		reason string // empty means served
	}{
		{"Own", header(own, goodToken), "", ""},
		{"Bearer", header(auth, "Bearer "+goodToken), "", ""},
		{"BearerInAnyCase", header(auth, "bEARER  "+goodToken), "", ""},
		{"Second", header(own, newToken), "", ""},
		{"SecondBearer", header(auth, "Bearer "+newToken), "", ""},
		{"OwnBeforeAnothersBearer", header(own, goodToken, auth, "Bearer of.the.platform"), "", ""},
		{"EmptyOwnThenBearer", header(own, "", auth, "Bearer "+goodToken), "", ""},
		{"None", header(), "", "no token"},
		{"EmptyOwn", header(own, ""), "", "no token"},
		{"BlankOwn", header(own, " "), "", "wrong token"},
		{"EmptyBearer", header(auth, "Bearer "), "", "no token"},
		{"BareBearer", header(auth, "Bearer"), "", "no token"},
		{"BareToken", header(auth, goodToken), "", "no token"},
		{"Basic", header(auth, "Basic "+base64.StdEncoding.EncodeToString([]byte(goodToken+":"+goodToken))), "", "no token"},
		{"Wrong", header(own, wrongToken), "", "wrong token"},
		{"WrongBearer", header(auth, "Bearer "+wrongToken), "", "wrong token"},
		{"WrongOwnBeforeRightBearer", header(own, wrongToken, auth, "Bearer "+goodToken), "", "wrong token"},
		{"BeginningOnly", header(own, goodToken[:15]), "", "wrong token"},
		{"MoreBehindIt", header(own, goodToken+"0"), "", "wrong token"},
		{"Both", header(own, goodToken+","+newToken), "", "wrong token"},
		{"TwoOwn", header(own, wrongToken, own, goodToken), "", "more than one token"},
		{"TwoBearers", header(auth, "Bearer "+wrongToken, auth, "Bearer "+goodToken), "", "more than one token"},
		{"InTheQuery", header(), "/?token=" + goodToken + "&X-Heartbeat-Token=" + goodToken + "&access_token=" + goodToken, "no token"},
		{"InTheCookie", header("Cookie", "X-Heartbeat-Token="+goodToken), "", "no token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := setup(t, &HeartbeatOptions{Tokens: []string{goodToken, newToken}})
			rec := e.send(request{header: tt.header, target: tt.target})
			require.NotContains(t, e.log.String()+rec.Body.String(), goodToken[:15])
			if tt.reason == "" {
				require.Equal(t, http.StatusAccepted, rec.Code, rec.Body)
				require.Empty(t, e.log.String())
				require.Equal(t, 1, e.ticker.ticks())
				return
			}
			e.requireRefused(rec, http.StatusUnauthorized, noToken)
			require.Equal(t, "Bearer", rec.Header().Get("WWW-Authenticate"))
			require.Zero(t, e.ticker.ticks())
			line := e.logged()
			require.Equal(t, "WARN", line["level"])
			require.Equal(t, tt.reason, line["reason"])
			require.Equal(t, "192.0.2.1", line["address"])
			require.Equal(t, "192.0.2.1:1234", line["peer"])
			require.Equal(t, "POST", line["method"])
			require.InDelta(t, 401, line["status"], 0)
		})
	}
}

func TestHeartbeat_Anonymous(t *testing.T) {
	t.Parallel()
	e := setup(t, &HeartbeatOptions{AllowAnonymous: true})
	for range guessesPerMinute + 1 {
		require.Equal(t, http.StatusAccepted, e.send(request{header: http.Header{}}).Code)
		require.Equal(t, http.StatusAccepted, e.send(request{token: wrongToken}).Code)
	}
}
