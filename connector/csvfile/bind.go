package csvfile

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// bind returns a function that reads text into the field v, which must be zero. It
// examines v's type once, not for each record.
func bind(v reflect.Value, layouts []string) func(text string) error {
	if v.Kind() == reflect.Pointer {
		return bindPointer(v, layouts)
	}
	switch bits := v.Type(); kindOf(v.Type()) {
	case custom:
		return bindCustom(v)
	case moment:
		return bindTime(v, layouts)
	case duration:
		return func(text string) error {
			d, err := time.ParseDuration(text)
			if err != nil {
				return strconv.ErrSyntax // the error of package time only repeats the text
			}
			v.SetInt(int64(d))
			return nil
		}
	case boolean:
		return func(text string) error {
			b, err := strconv.ParseBool(text)
			v.SetBool(b)
			return err
		}
	case integer:
		return func(text string) error {
			n, err := strconv.ParseInt(text, 10, bits.Bits())
			v.SetInt(n)
			return err
		}
	case unsigned:
		return func(text string) error {
			n, err := strconv.ParseUint(text, 10, bits.Bits())
			v.SetUint(n)
			return err
		}
	case float:
		return func(text string) error {
			n, err := strconv.ParseFloat(text, bits.Bits())
			v.SetFloat(n)
			return err
		}
	default: // str
		return func(text string) error {
			v.SetString(text)
			return nil
		}
	}
}

// bindPointer returns a function that allocates a new value each time, because the
// previous one may still be in use.
func bindPointer(v reflect.Value, layouts []string) func(string) error {
	elem := v.Type().Elem()
	if kindOf(elem) == custom {
		// Such a type may hold something that must not be copied.
		return func(text string) error {
			p := reflect.New(elem)
			v.Set(p)
			return bindCustom(p.Elem())(text)
		}
	}
	value := reflect.New(elem).Elem()
	set := bind(value, layouts)
	return func(text string) error {
		if err := set(text); err != nil {
			return err
		}
		p := reflect.New(elem)
		p.Elem().Set(value)
		v.Set(p)
		return nil
	}
}

func bindCustom(v reflect.Value) func(string) error {
	u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
	if !ok { // cannot happen: kindOf has checked it
		return func(string) error { return fmt.Errorf("%s is not an encoding.TextUnmarshaler", v.Type()) }
	}
	var buf []byte // reused: UnmarshalText must not keep it
	return func(text string) error {
		buf = append(buf[:0], text...)
		return u.UnmarshalText(buf)
	}
}

func bindTime(v reflect.Value, layouts []string) func(string) error {
	p, ok := v.Addr().Interface().(*time.Time)
	if !ok { // cannot happen: kindOf has checked it
		return func(string) error { return fmt.Errorf("%s is not a time.Time", v.Type()) }
	}
	return func(text string) (err error) {
		if len(layouts) == 0 {
			*p, err = time.Parse(usualLayout(text), text)
		}
		for _, layout := range layouts {
			if *p, err = time.Parse(layout, text); err == nil {
				return checkZone(*p, layout)
			}
		}
		if err != nil {
			return fmt.Errorf("want %s", wanted(layouts))
		}
		return nil
	}
}

// checkZone rejects the abbreviation of a zone. Package time knows only those of the machine's
// own zone, and takes all others for UTC. It moves the clock of GMT+3 (Go 1.26, time.Parse).
// Beside an offset, as time.Time.String writes it, the abbreviation says nothing.
func checkZone(t time.Time, layout string) error {
	if !strings.Contains(layout, "MST") || strings.Contains(layout, "-07") || strings.Contains(layout, "Z07") {
		return nil
	}
	if name, _ := t.Zone(); name != "UTC" && name != "GMT" {
		return fmt.Errorf("the abbreviation %q does not say which zone it is: want UTC, GMT, or an offset, with -0700 in the layout", name)
	}
	return nil
}

// usualLayout picks the one default layout that text can have. Trying the others
// first would cost more than the successful parse.
func usualLayout(text string) string {
	switch n := len(time.DateOnly); {
	case len(text) <= n:
		return time.DateOnly
	case text[n] == ' ':
		return time.DateTime
	default:
		return time.RFC3339
	}
}

func wanted(layouts []string) string {
	if len(layouts) == 0 {
		layouts = []string{time.DateOnly, time.DateTime, time.RFC3339}
	}
	return strings.Join(layouts, " or ")
}
