package dataflowhttp

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"
)

// minToken is the least number of characters of a token.
const minToken = 16

// tokens are the hashes of the valid tokens.
type tokens [][sha256.Size]byte

// include reports whether a token is valid. Its duration reveals nothing about the
// valid tokens: all hashes have the same length, and all are compared.
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

// shown returns the token of a request, or what is missing. X-Heartbeat-Token takes
// precedence over Authorization, which a platform in front of the service may need
// for itself. Several tokens are refused, so that a request is one guess.
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

// hashTokens checks and hashes the tokens. Its errors never contain a token.
func (o *HeartbeatOptions) hashTokens(bad func(field, reason string, args ...any)) tokens {
	switch {
	case o.AllowAnonymous && len(o.Tokens) > 0:
		bad("AllowAnonymous", "it is set together with Tokens, which would then not be checked: unset one of them")
	case !o.AllowAnonymous && len(o.Tokens) == 0:
		bad("Tokens", "there is none: give one of %d or more characters, or set AllowAnonymous to serve every caller that reaches the endpoint", minToken)
	}
	hashes := make(tokens, 0, len(o.Tokens))
	for i, token := range o.Tokens {
		field := fmt.Sprintf("Tokens[%d]", i)
		switch {
		case strings.TrimSpace(token) == "":
			bad(field, "it is empty: set the variable from which it comes")
		case strings.TrimSpace(token) != token:
			bad(field, "it begins or ends with white space, which a header cannot hold: use strings.TrimSpace on a token from a file")
		case strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
			bad(field, "it holds other characters than visible ASCII, which a header cannot hold: use `openssl rand -hex 32`")
		case len(token) < minToken:
			bad(field, "it has only %d characters and can be guessed: use %d or more, such as from `openssl rand -hex 32`", len(token), minToken)
		}
		hashes = append(hashes, sha256.Sum256([]byte(token)))
	}
	return hashes
}
