package sqltable

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// mysqlKeyChange says what an upsert's key column would hold in place of a value that other columns may cut, "" for the
// value itself: two keys would be one.
func mysqlKeyChange(v any, declared string) string {
	parts := columnTypePattern.FindStringSubmatch(strings.ToLower(declared))
	if parts == nil {
		return ""
	}
	switch v := v.(type) {
	case float64:
		scale, _ := strconv.Atoi(parts[3])
		if parts[1] == "decimal" && !isWhole(strconv.FormatFloat(v, 'f', -1, 64), scale) {
			return fmt.Sprintf("a number with %d digits after the point", scale)
		}
	case time.Time:
		digits, _ := strconv.Atoi(parts[2])
		if (parts[1] == "datetime" || parts[1] == "timestamp") && v.Nanosecond()%int(math.Pow10(9-digits)) != 0 {
			return digitsOfTime(digits)
		}
	}
	return ""
}

func digitsOfTime(digits int) string {
	return fmt.Sprintf("a time with %d digits after the second", digits)
}

// yearChange is mysqlChange for a year of one or two digits, which MySQL puts into the years 1970 to 2069.
func yearChange(v any) string {
	text, isText := v.(string)
	if !isText {
		text = fmt.Sprint(v)
	}
	text = strings.TrimSpace(text)
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || n < 0 || n >= 100 || n != math.Trunc(n), n == 0 && (!isText || text == "0000"):
		return ""
	case n < 70:
		return strconv.Itoa(2000 + int(n))
	default:
		return strconv.Itoa(1900 + int(n))
	}
}

var labelPattern = regexp.MustCompile(`'((?:[^']|'')*)'`)

// labelChange is mysqlChange for the text of an enum or a set: MySQL takes the label that is equal by the collation.
func labelChange(text, declared string, set bool) string {
	given := []string{text}
	if set {
		given = strings.Split(text, ",")
	}
	labels := labelPattern.FindAllStringSubmatch(declared, -1)
	for _, one := range given {
		other := ""
		for _, label := range labels {
			name := strings.ReplaceAll(label[1], "''", "'")
			if name == one {
				other = ""
				break
			}
			if looksLike(name, one) {
				other = name
			}
		}
		if other != "" {
			return "the label " + strconv.Quote(other)
		}
	}
	return ""
}

// looksLike reports whether two texts may be equal by a collation: they differ in case, in accents, or in blanks at the end.
func looksLike(a, b string) bool {
	x, y := []rune(strings.TrimRight(a, " ")), []rune(strings.TrimRight(b, " "))
	if len(x) != len(y) || len(x) == 0 {
		return false
	}
	for i := range x {
		if unicode.ToLower(x[i]) != unicode.ToLower(y[i]) && x[i] < utf8.RuneSelf && y[i] < utf8.RuneSelf {
			return false
		}
	}
	return true
}

var (
	secondsPattern  = regexp.MustCompile(`:\d{1,2}\.(\d+)\s*$`)
	withDatePattern = regexp.MustCompile(`^\s*\d+-\d+-\d+[ T]+\d`)
)

// timeChange is mysqlChange for a column of times. A number is one whose digits are hours, minutes and seconds.
func timeChange(v any, typ, digits, declared string) string {
	text, isText := v.(string)
	switch {
	case v == nil && typ == "timestamp" && strings.Contains(declared, "not null"):
		return "the time of the write"
	case isText && typ == "time" && withDatePattern.MatchString(text):
		return "a time without its date"
	case isText && secondsPattern.MatchString(text):
		most, _ := strconv.Atoi(digits)
		if fraction := secondsPattern.FindStringSubmatch(text)[1]; len(strings.TrimRight(fraction[:min(len(fraction), 6)], "0")) > most {
			return digitsOfTime(most)
		}
		return ""
	case typ != "time" || v == nil || isText && !numberText.MatchString(text):
		return ""
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(fmt.Sprint(v)), 64)
	if seconds := int64(math.Abs(n)); err == nil && n != 0 && seconds < 8390000 {
		return fmt.Sprintf("the time %02d:%02d:%02d", seconds/10000, seconds/100%100, seconds%100)
	}
	return ""
}

// blankChange is mysqlChange for a text whose blanks go over the bytes that a column has. The type names another
// character set than utf8.
func blankChange(text, typ, declared string) string {
	most := map[string]int{"tinytext": 1<<8 - 1, "text": 1<<16 - 1, "mediumtext": 1<<24 - 1}[typ]
	size := len(text)
	if strings.Contains(declared, " character set ") {
		size = utf8.RuneCountInString(text)
	}
	if text != strings.TrimRight(text, mysqlBlanks) && size > most {
		return "a shorter text"
	}
	return ""
}
