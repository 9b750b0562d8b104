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
	// Up to the last @, as url.Parse reads it, but not from there into another value of a line of JSON.
	userinfo = regexp.MustCompile(`(://[^/?#\s:@]*:)[^/?#\s][^/?#\s@]*(?:@[^/?#\s@"]*)*(@)`)
	// A text that begins as "[OPS-12] " does is no JSON.
	label = regexp.MustCompile(`^\[[^][{}"':=]*\] `)
)

// How MySQL names the value of a key, without saying where the value ends.
const clash = "Duplicate entry '"

var ofKey = regexp.MustCompile(`(?s)^.*'( for key '([^']*)')`)

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

// Secret reports whether a key looks as if its value were a secret.
func Secret(key string) bool { return usual.MatchString(key) }

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
	if trimmed := strings.TrimSpace(text); strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") && !label.MatchString(trimmed) {
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

// keyValues hides the values of keys in what a database says of rows that clash.
func (m *Masker) keyValues(text string) string {
	if strings.Contains(text, ")=(") {
		text = m.postgresKeys(text)
	}
	before, after, found := strings.Cut(text, clash)
	if !found {
		return text
	}
	entries, hidden := strings.Split(after, clash), false
	for i, entry := range entries {
		parts := ofKey.FindStringSubmatch(entry)
		if parts == nil { // a value that has these words, or a text that was cut off
			entries[i] = Mark
			continue
		}
		hidden = hidden || m.keys.MatchString(parts[2])
		entries[i] = Mark + parts[1] + entry[len(parts[0]):]
	}
	if !hidden {
		return text
	}
	const shown = "Duplicate entry "
	return before + shown + strings.Join(entries, shown)
}

// mostColumns is how long the columns of a key are at most, as a text.
const mostColumns = 4 << 10

// postgresKeys hides the values in "Key (columns)=(values)". A column may be an expression. Nothing says where the
// values end: at the latest, with the last parenthesis.
func (m *Masker) postgresKeys(text string) string {
	var open []int
	for i := range len(text) {
		switch {
		case text[i] == '(':
			open = append(open, i)
		case text[i] == ')' && len(open) > 0:
			from := open[len(open)-1] + 1
			open = open[:len(open)-1]
			const equal = ")=("
			if !strings.HasPrefix(text[i:], equal) || i-from > mostColumns || !slices.ContainsFunc(strings.Split(text[from:i], ", "), m.keys.MatchString) {
				continue
			}
			if last := strings.LastIndexByte(text, ')'); last > i {
				return text[:i] + equal + Mark + text[last:]
			}
		}
	}
	return text
}

// Hidden reports whether data has a hidden value, which must not be stored for the true one.
func (m *Masker) Hidden(data json.RawMessage) bool {
	// A value that is hidden already stays as it is. One of another length does not.
	const other = Mark + Mark
	again := bytes.ReplaceAll(data, []byte(Mark), []byte(other))
	return bytes.Contains(data, []byte(Mark)) && bytes.Count(m.JSON(again), []byte(other)) < bytes.Count(again, []byte(other))
}
