package cli

import (
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// flowName is the grammar of names for generated flows: the name is also used for files,
// types and a table. A flow written by hand may have any name.
var flowName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([_-][A-Za-z0-9]+)*$`)

const nameMost = 40

// checkName refuses a text that cannot be the name of a generated flow.
func checkName(name string) error {
	hint := ""
	if like := slug(name); like != "" && like != name {
		hint = ", such as " + like
	}
	switch {
	case len(name) > nameMost:
		return usage("a name of %d bytes is too long for files and tables: use up to %d%s", len(name), nameMost, hint)
	case strings.HasPrefix(strings.ToLower(name), "sqlite"):
		return usage("%q cannot be the name of a table: SQLite reserves names that begin with sqlite", name)
	case !flowName.MatchString(name):
		return usage("%q cannot be the name of a file and a table: use English letters and digits, with single - and _ between them%s", clip(name, nameMost), hint)
	}
	return nil
}

// slug makes a valid name of a text, or returns "" if it cannot.
func slug(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || b.Len() > 0 && unicode.IsDigit(r)):
			b.WriteRune(unicode.ToLower(r))
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	text = b.String()
	return strings.Trim(text[:min(len(text), nameMost)], "-")
}

// camel joins the words of a name: daily-orders is DailyOrders.
func camel(name string) string {
	var b strings.Builder
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return r == '-' || r == '_' }) {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}

// lowerCamel is camel with a lower-case first letter.
func lowerCamel(name string) string {
	c := camel(name)
	return strings.ToLower(c[:1]) + c[1:]
}

// snake turns a name into that of a file or a table: daily-orders is daily_orders.
func snake(name string) string { return strings.ToLower(strings.ReplaceAll(name, "-", "_")) }

var modulePath = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_~-]*(\.[A-Za-z0-9_~-]+)*(/[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*)*$`)

// checkModule refuses a text that cannot be the path of a module.
func checkModule(path string) error {
	if len(path) > 200 || !modulePath.MatchString(path) {
		return usage("%q cannot be the path of a module: use one such as example.com/shop", clip(path, nameMost))
	}
	return nil
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_./-]+$`)

// quoted quotes a text as one word for the shell.
func quoted(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// dirName makes the name of a program of the name of a folder.
func dirName(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		if name := slug(filepath.Base(abs)); name != "" {
			return name
		}
	}
	return "flows"
}
