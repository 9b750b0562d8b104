package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/activedataflow/dataflow/internal/jsonview"
)

// show writes a value as JSON, or as text.
func (a *app) show(value any, text func(p *page)) error {
	var p page
	if a.format == "json" {
		enc := json.NewEncoder(&p.buf)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(value); err != nil {
			return err
		}
	} else {
		p.colours = a.Live && a.Env("NO_COLOR") == ""
		text(&p)
	}
	// A failed write changes neither what the command did nor what it returns. Run checks
	// for it at the end.
	_, _ = a.Out.Write(p.buf.Bytes())
	return nil
}

// showList is show for a page of a list. To a reader it says, on standard error, if there may be more
// rows than the page has, and which flag shows them. id is that of a row.
func showList[T, V any](s *session, rows []T, limit int, id func(T) int64, view func(T) V, text func(p *page)) error {
	if err := s.show(jsonview.All(rows, view), text); err != nil {
		return err
	}
	if len(rows) == limit && s.format != "json" {
		s.note(fmt.Sprintf("These are the newest %d: --before %d shows older ones, if there are any.", limit, id(rows[len(rows)-1])))
	}
	return nil
}

// page collects text that is written at once.
type page struct {
	buf     bytes.Buffer
	colours bool
}

// line adds a line, without characters that control the terminal.
func (p *page) line(format string, args ...any) {
	p.buf.WriteString(clean(fmt.Sprintf(format, args...)) + "\n")
}

// table adds a table whose columns are as wide as their widest cells.
func (p *page) table(head []string, rows [][]string) {
	if head != nil {
		rows = append([][]string{head}, rows...)
	}
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(clean(row[i]), "\n", " ")
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(p.paint(cell))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		p.buf.WriteString(strings.TrimRight(b.String(), " ") + "\n")
	}
}

// paint colours a cell that holds a state.
func (p *page) paint(cell string) string {
	if !p.colours {
		return cell
	}
	colour := 0
	switch cell {
	case "success", "active", "ok", "applied":
		colour = 32 // green
	case "failed", "problem":
		colour = 31 // red
	case jsonview.Paused, "warning", "pending", "disabled", "tripped":
		colour = 33 // yellow
	case "in_progress":
		colour = 36 // cyan
	}
	if colour == 0 {
		return cell
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", colour, cell)
}

// clean replaces characters that control a terminal. Line ends stay.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control):
			return unicode.ReplacementChar
		default:
			return r
		}
	}, text)
}

// clip shortens a text to one line of at most so many runes.
func clip(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// moment formats a time for people.
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// orDash is the text, or a dash if it is empty.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// plural is a number of things.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
