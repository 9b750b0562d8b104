package dataflowhttp

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

// minToken is how many characters a token has at least.
const minToken = 16

// tokens are the hashes of the tokens.
type tokens [][sha256.Size]byte

// include reports whether a token is one of them. The time that it takes tells
// nothing about them: hashes are as long as each other, and all are compared.
func (t tokens) include(token string) bool {
	if token == "" {
		return false
	}
	sum := sha256.Sum256([]byte(token))
	found := 0
	for i := range t {
		found |= subtle.ConstantTimeCompare(sum[:], t[i][:])
	}
	return found == 1
}

// shown returns the token of a request, or what is missing. X-Heartbeat-Token
// goes before Authorization, which a platform in front of the service may need
// for itself. Of several none is taken, so that a request is one guess.
func shown(header http.Header) (token, missing string) {
	own, auth := header.Values("X-Heartbeat-Token"), header.Values("Authorization")
	switch {
	case len(own) > 1:
		return "", "more than one token"
	case len(own) == 1 && own[0] != "":
		return own[0], ""
	case len(auth) > 1:
		return "", "more than one token"
	case len(auth) == 1:
		scheme, bearer, _ := strings.Cut(auth[0], " ")
		if bearer = strings.Trim(bearer, " "); strings.EqualFold(scheme, "Bearer") && bearer != "" {
			return bearer, ""
		}
	}
	return "", "no token"
}

// hashTokens checks the tokens. What it says of one that is bad does not hold it.
func (o *HeartbeatOptions) hashTokens(bad func(field, reason string, args ...any)) tokens {
	switch {
	case o.AllowAnonymous && len(o.Tokens) > 0:
		bad("AllowAnonymous", "it is set, and there are Tokens, which nobody would have to show: leave out one or the other")
	case !o.AllowAnonymous && len(o.Tokens) == 0:
		bad("Tokens", "there is none: give one of %d or more characters, or set AllowAnonymous to serve whoever reaches the endpoint", minToken)
	}
	hashes := make(tokens, 0, len(o.Tokens))
	for i, token := range o.Tokens {
		field := fmt.Sprintf("Tokens[%d]", i)
		switch {
		case strings.TrimSpace(token) == "":
			bad(field, "it is empty: is the variable set that it comes from?")
		case strings.TrimSpace(token) != token:
			bad(field, "it begins or ends with white space, which a header cannot: use strings.TrimSpace on what was read from a file")
		case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
			bad(field, "it holds something else than visible ASCII characters, which a header cannot: use `openssl rand -hex 32`")
		case len(token) < minToken:
			bad(field, "it has %d characters, which can be guessed: use %d or more, such as from `openssl rand -hex 32`", len(token), minToken)
		}
		hashes = append(hashes, sha256.Sum256([]byte(token)))
	}
	return hashes
}
