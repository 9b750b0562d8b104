// Package mask hides the values of keys that look like secrets, in JSON and in texts.
package mask

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// Mark stands in place of a hidden value.
const Mark = "***"

// usual finds the names of keys that look like secrets.
var usual = regexp.MustCompile(`(?i)passw|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|credential|cookie|iban|card[_-]?number|signature|^(sig|dsn|pin|cvc|cvv)$`)

// In a text, a key and its value are "key=value" up to the next separator, or "key": "value".
var (
	assigned = regexp.MustCompile(`([\w.-]+)(=)(\\?"[^"]*"|'[^']*'|[^\s&;,"')\]}]+)`)
	quoted   = regexp.MustCompile(`([\w.-]+)(\\?["']?\s*:\s*)(\\?"(?:[^"\\]|\\[^"])*\\?"|'[^']*')`)
	bearer   = regexp.MustCompile(`(?i)\b((?:bearer|basic) )[\w.~+/=-]+`)
	userinfo = regexp.MustCompile(`(://[^/?#\s:@]*:)[^/?#\s]+(@)`) // up to the last @, as url.Parse reads it
)

// How Postgres and MySQL name the values of a key, without saying where a value ends.
var (
	detail    = regexp.MustCompile(`(?s)\(((?:[^()]|\([^()]*\))*)\)=\(.*\)`)
	duplicate = regexp.MustCompile(`(?s)(Duplicate entry )'.*'( for key '([^']*)')`)
)

// Masker hides values by the names of their keys. It is safe for concurrent use.
type Masker struct{ keys *regexp.Regexp }

// New returns a masker of the keys that match. Nil: of those that look like secrets, such as
// password, token and api_key.
func New(keys *regexp.Regexp) *Masker {
	if keys == nil {
		keys = usual
	}
	return &Masker{keys: keys}
}

// JSON hides values at any depth, and in texts that are JSON themselves. It returns data as it is
// if there is nothing that could have keys.
func (m *Masker) JSON(data json.RawMessage) json.RawMessage {
	if text := bytes.TrimSpace(data); len(text) == 0 || !bytes.ContainsRune([]byte(`{["`), rune(text[0])) {
		return data
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if d.Decode(&v) != nil {
		return data
	}
	changed := false
	v = m.value(v, &changed)
	if !changed {
		return data
	}
	out, err := json.Marshal(v)
	if err != nil {
		return data
	}
	return out
}

func (m *Masker) value(v any, changed *bool) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if m.keys.MatchString(key) && value != nil {
				v[key], *changed = Mark, true
			} else {
				v[key] = m.value(value, changed)
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = m.value(v[i], changed)
		}
		return v
	case string:
		masked := m.Text(v)
		*changed = *changed || masked != v
		return masked
	default:
		return v
	}
}

// Text hides values in a text, such as an error, an address with a query, or a line of JSON.
func (m *Masker) Text(text string) string {
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		switch {
		case json.Valid([]byte(trimmed)):
			return string(m.JSON(json.RawMessage(text)))
		case m.keys.MatchString(trimmed): // it was meant as JSON, and nobody knows where a value ends
			return Mark
		}
	}
	for _, pair := range []*regexp.Regexp{quoted, assigned} {
		text = pair.ReplaceAllStringFunc(text, func(found string) string {
			parts := pair.FindStringSubmatch(found)
			if !m.keys.MatchString(parts[1]) {
				return found
			}
			return parts[1] + parts[2] + Mark
		})
	}
	text = m.keyValues(text)
	return userinfo.ReplaceAllString(bearer.ReplaceAllString(text, "${1}"+Mark), "${1}"+Mark+"${2}")
}

// keyValues hides the values of a key in what a database says of rows that clash.
func (m *Masker) keyValues(text string) string {
	if strings.Contains(text, ")=(") {
		text = detail.ReplaceAllStringFunc(text, func(found string) string {
			columns := detail.FindStringSubmatch(found)[1]
			if !slices.ContainsFunc(strings.Split(columns, ", "), m.keys.MatchString) {
				return found
			}
			return "(" + columns + ")=(" + Mark + ")"
		})
	}
	return duplicate.ReplaceAllStringFunc(text, func(found string) string {
		parts := duplicate.FindStringSubmatch(found)
		if !m.keys.MatchString(parts[3]) {
			return found
		}
		return parts[1] + Mark + parts[2]
	})
}

// Hidden reports whether data has a hidden value, which must not be stored for the true one.
func (m *Masker) Hidden(data json.RawMessage) bool {
	// A value that is hidden already stays as it is. One of another length does not.
	const other = Mark + Mark
	again := bytes.ReplaceAll(data, []byte(Mark), []byte(other))
	return bytes.Contains(data, []byte(Mark)) && bytes.Count(m.JSON(again), []byte(other)) < bytes.Count(again, []byte(other))
}
