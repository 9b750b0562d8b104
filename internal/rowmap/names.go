package rowmap

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// snake returns a Go name in snake case: "OrderID" becomes "order_id".
func snake(name string) string {
	runes := []rune(name)
	var b strings.Builder
	for i, r := range runes {
		if i > 0 && unicode.IsUpper(r) && startsWord(runes, i) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// startsWord reports whether the capital at i begins a word. It does after a small
// letter or a digit. In a row of capitals it does if a small letter follows, except
// for the s of a plural, as in "IDs".
func startsWord(runes []rune, i int) bool {
	switch rest := string(runes[i+1:]); {
	case runes[i-1] == '_':
		return false
	case !unicode.IsUpper(runes[i-1]):
		return true
	default:
		return rest != "" && rest != "s" && unicode.IsLower(runes[i+1])
	}
}

// SplitTable splits the name of a table into its schema, if any, and its own name.
// Case counts. A part with a dot is written in double quotes, as in SQL.
func SplitTable(name string) ([]string, error) {
	var parts []string
	for rest := name; ; {
		part, after, err := cutPart(rest)
		if err != nil {
			return nil, err
		}
		if part == "" {
			return nil, errors.New(`it is empty or has an empty part: use "table" or "schema.table"`)
		}
		if strings.ContainsRune(part, 0) || !utf8.ValidString(part) {
			return nil, fmt.Errorf("%q cannot be the name of a table: remove zero bytes and invalid UTF-8", name)
		}
		parts = append(parts, part)
		if after == nil {
			break
		}
		rest = *after
	}
	if len(parts) > 2 {
		return nil, fmt.Errorf(`%s has %d parts: use "table" or "schema.table"; put a name with a dot in double quotes`, name, len(parts))
	}
	return parts, nil
}

// cutPart cuts the first part off a name. after is nil for the last part.
func cutPart(name string) (part string, after *string, err error) {
	if !strings.HasPrefix(name, `"`) {
		part, rest, more := strings.Cut(name, ".")
		if more {
			after = &rest
		}
		return part, after, nil
	}
	var b strings.Builder
	for i := 1; i < len(name); i++ {
		if name[i] != '"' {
			b.WriteByte(name[i])
			continue
		}
		rest := name[i+1:]
		switch {
		case rest == "":
			return b.String(), nil, nil
		case rest[0] == '"':
			b.WriteByte('"')
			i++
		case rest[0] == '.':
			rest = rest[1:]
			return b.String(), &rest, nil
		default:
			return "", nil, fmt.Errorf("%s has text after a closing quote: separate the parts with a dot", name)
		}
	}
	return "", nil, fmt.Errorf("%s has a double quote that is not closed: close it", name)
}

// Quote puts a name in double quotes, as SQL does.
func Quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// QuoteAll quotes names and joins them.
func QuoteAll(names []string, separator string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = Quote(name)
	}
	return strings.Join(quoted, separator)
}

// Clip shortens a query for an error message, on one line.
func Clip(query string) string {
	const most = 200
	s := strings.Join(strings.Fields(query), " ")
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
