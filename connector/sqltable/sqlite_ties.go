package sqltable

import (
	"context"
	"fmt"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// checkTies returns an error if two rows of a page have keys that differ and that SQLite takes for equal: they have no
// order, and one would be lost if a page or a run ended between them. It asks SQLite, which alone knows the collations
// of the columns.
func (r *reader[T]) checkTies(ctx context.Context, page *rowmap.Page) error {
	if r.mysql != nil {
		return nil // the page has a column for it
	}
	width := len(r.query.Key)
	for keys := page.Keys; len(keys) >= 2*width; keys = keys[width:] {
		before, key := keys[:width], keys[width:2*width]
		kind, maybe := alike(before, key)
		if !maybe || r.differ[kind] {
			continue
		}
		equal, err := r.hasTwo(ctx, key)
		if err != nil {
			return err
		}
		switch {
		case equal && kind == anyNumbers:
			return dataflow.Permanent(fmt.Errorf("the key (%s) is not unique: %s and %s are equal as numbers: add a column to the key that distinguishes them", strings.Join(r.query.Key, ", "), rowmap.Text(before), rowmap.Text(key)))
		case equal:
			return r.query.EqualError(before, key)
		}
		if kind != anyNumbers {
			if r.differ == nil {
				r.differ = make(map[string]bool)
			}
			r.differ[kind] = true
		}
	}
	return nil
}

// hasTwo reports whether two rows have a key.
func (r *reader[T]) hasTwo(ctx context.Context, key Cursor) (bool, error) {
	args, err := r.with(key)
	if err != nil {
		return false, err
	}
	rows, err := r.run(ctx, r.query.EqualQuery(), args)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	found := 0
	for rows.Next() {
		found++
	}
	return found > 1, rows.Err()
}

// anyNumbers is the kind of pairs about which SQLite is asked each time.
const anyNumbers = "numbers"

// alike reports whether two keys differ, and SQLite may take them for equal: texts that differ in case or in
// blanks at their end, and numbers such as 1 and 1.0. If it takes one pair of a kind for
// different, it does so with all.
func alike(before, key []string) (kind string, maybe bool) {
	for i, b := range key {
		a := before[i]
		if a == b {
			kind += "-"
			continue
		}
		one, isText := strings.CutSuffix(a, "'")
		other, isToo := strings.CutSuffix(b, "'")
		switch {
		case !isText && !isToo:
			if !sameNumber(a, b) {
				return "", false
			}
			return anyNumbers, restAlike(before[i+1:], key[i+1:])
		case isText != isToo:
			return "", false
		case lower(one) == lower(other):
			kind += "c"
		case strings.EqualFold(one, other): // nocase takes them for different
			kind += "u"
		case strings.TrimRight(one, " ") == strings.TrimRight(other, " "):
			kind += "b"
		case lower(strings.TrimRight(one, " ")) == lower(strings.TrimRight(other, " ")):
			kind += "d"
		case strings.EqualFold(strings.TrimRight(one, " "), strings.TrimRight(other, " ")):
			kind += "v"
		default:
			return "", false
		}
	}
	return kind, strings.Trim(kind, "-") != "" // those that do not differ at all have an error of their own
}

// lower makes the letters A to Z small, as nocase does.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

func restAlike(before, key []string) bool {
	_, maybe := alike(before, key)
	return maybe || strings.Join(before, "\x00") == strings.Join(key, "\x00")
}

// sameNumber reports whether two literals that differ are the same number.
func sameNumber(a, b string) bool {
	if !strings.ContainsAny(a, ".e") && !strings.ContainsAny(b, ".e") {
		return false
	}
	x, xerr := parseLiteral(a)
	y, yerr := parseLiteral(b)
	return xerr == nil && yerr == nil && asFloat(x) == asFloat(y)
}

func asFloat(v any) float64 {
	switch v := v.(type) {
	case int64:
		return float64(v)
	case float64:
		return v
	default:
		return 0
	}
}
