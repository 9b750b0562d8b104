package csvguess

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// commas are the separators that are tried, the likeliest first.
const commas = ",;\t|"

// way is a way to read a text, and how well it fits.
type way struct {
	comma, quote rune
	escape       bool
	rows         []row
	width        int // cells of most records
	fit          int // records with that many cells
	misplaced    int // quotes at wrong places
	ignored      int // records with a quote that is text
}

// row is a record and its first line, from 1.
type row struct {
	cells []string
	line  int
}

// score is between 0 and 1. A file of one column fits every separator, and says nothing.
func (w *way) score() float64 {
	if w.width < 2 {
		return 0
	}
	return (float64(w.fit) - float64(min(w.misplaced, w.fit))/2 - float64(w.ignored)/4) / float64(len(w.rows))
}

// dialect guesses how the cells are separated.
func (g *Guess) dialect(text string) {
	text, named := g.named(text)
	text = g.comments(text)
	var ways []*way
	for _, comma := range commas {
		if named != 0 {
			comma = named
		}
		for _, quote := range []rune{'"', '\'', 0} {
			if quote != 0 && !strings.ContainsRune(text, quote) && quote != '"' {
				continue
			}
			ways = append(ways, read(text, comma, quote, false))
			if quote == '"' && strings.Contains(text, `\"`) {
				ways = append(ways, read(text, comma, quote, true))
			}
		}
	}
	// Of equal ways, the first counts.
	slices.SortStableFunc(ways, func(a, b *way) int {
		switch {
		case a.score() > b.score():
			return -1
		case a.score() < b.score():
			return 1
		default:
			return 0
		}
	})
	best := ways[0]
	if best.score() == 0 {
		g.oneColumn(text, ways)
		return
	}
	g.take(best)
	for _, other := range ways[1:] {
		if other.comma != best.comma && other.score() > best.score()-0.1 {
			g.doubt("%q would fit nearly as well: %d of %d records have %d cells", other.comma, other.fit, len(other.rows), other.width)
			break
		}
	}
	if best.score() < 0.8 && !g.Surplus {
		g.doubt("no separator fits well: with %q, %d of %d records have %d cells", best.comma, best.fit, len(best.rows), best.width)
	}
}

// oneColumn is the guess of a file in which no separator stands.
func (g *Guess) oneColumn(text string, ways []*way) {
	g.take(read(text, ',', '"', false))
	if len(ways) > 0 && strings.ContainsAny(text, " :^~") {
		g.doubt("no comma, semicolon, tab or bar separates cells: if another character does, set Comma")
	}
}

// named finds a first line such as "sep=;".
func (g *Guess) named(text string) (rest string, comma rune) {
	line, rest, _ := strings.Cut(text, "\n")
	line = strings.Trim(strings.TrimRight(line, "\r"), `"`)
	if len(line) < 5 || !strings.EqualFold(line[:4], "sep=") {
		return text, 0
	}
	comma, size := utf8.DecodeRuneInString(line[4:])
	if len(line) != 4+size {
		return text, 0
	}
	g.doubt("its first line names the separator %q, so that Comma may be left out", comma)
	return rest, comma
}

// comments leaves out the lines that begin with "#", if there are some beside others.
func (g *Guess) comments(text string) string {
	lines := strings.SplitAfter(text, "\n")
	var kept []string
	for _, line := range lines {
		if !strings.HasPrefix(line, "#") {
			kept = append(kept, line)
		}
	}
	left := len(lines) - len(kept)
	if left == 0 || len(kept) <= 1 {
		return text
	}
	if left == 1 && strings.HasPrefix(text, "#") && strings.ContainsAny(lines[0], ",;\t|") && sameCells(lines[0], lines[1]) {
		g.doubt("its first line begins with # and may be the header, %q, or a comment", strings.TrimSpace(lines[0]))
		return text
	}
	g.Comment = '#'
	return strings.Join(kept, "")
}

func sameCells(a, b string) bool {
	for _, comma := range commas {
		if n := strings.Count(a, string(comma)); n > 0 && n == strings.Count(b, string(comma)) {
			return true
		}
	}
	return false
}

// take fills the guess by the best way.
func (g *Guess) take(w *way) {
	g.Comma, g.Quote, g.Width = w.comma, w.quote, w.width
	if w.escape {
		g.Escape = '\\'
	}
	if w.misplaced > 0 {
		g.Lazy = true
		g.doubt("%d quotes are misplaced: if the file has no quotes, set Quote to csvfile.None in place of LazyQuotes", w.misplaced)
	}
	if w.quote == 0 {
		g.doubt("quotes do not fit as quotes, and are taken as text")
	}
	rows := w.rows
	for len(rows) > 1 && len(rows[0].cells) != w.width && len(rows[0].cells) < w.width-1 || len(rows) > 1 && w.width > 1 && len(rows[0].cells) == 1 {
		rows = rows[1:]
	}
	if len(rows) < len(w.rows) {
		g.Skip = rows[0].line - 1
		g.doubt("its first %d lines seem to be a title: HeaderAt with the name of a column also finds the header", g.Skip)
	}
	rows = g.footer(rows)
	g.First = rows[0].cells
	g.surplus(rows)
	g.nulls(rows)
	g.header(rows)
	for _, r := range rows {
		g.Records++
		if len(r.cells) == g.Width {
			g.Fit++
		}
	}
	for _, r := range rows {
		if len(r.cells) != len(g.First) && !g.Surplus {
			g.doubt("line %d has %d cells, the first record has %d: such a record is a bad one", r.line, len(r.cells), len(g.First))
			break
		}
	}
}

// footer leaves out totals at the end of a whole file.
func (g *Guess) footer(rows []row) []row {
	last := rows[len(rows)-1]
	if !g.Whole || len(rows) < 3 || last.cells[0] == "" {
		return rows
	}
	word := strings.ToLower(strings.TrimSpace(last.cells[0]))
	for _, total := range []string{"total", "sum", "grand total", "summe", "gesamt"} {
		if strings.HasPrefix(word, total) && !strings.HasPrefix(strings.ToLower(rows[len(rows)-2].cells[0]), total) {
			g.Footer = last.cells[0]
			g.doubt("its last line begins with %q and seems to be a footer", last.cells[0])
			return rows[:len(rows)-1]
		}
	}
	return rows
}

// surplus looks for records that are longer than the header by empty cells.
func (g *Guess) surplus(rows []row) {
	if len(rows) < 2 || len(rows[0].cells) == len(rows[1].cells) {
		return
	}
	names := len(rows[0].cells)
	for _, r := range rows[1:] {
		if len(r.cells) < names || strings.Join(r.cells[names:], "") != "" {
			return
		}
	}
	g.Surplus = true
}

// nulls looks for cells that other databases write for a null.
func (g *Guess) nulls(rows []row) {
	for _, r := range rows {
		for _, cell := range r.cells {
			switch cell {
			case `\N`:
				g.Null = cell
				return
			case "NULL", "null", "NA", "N/A":
				g.doubt("line %d has a cell %s: it is text, unless Null lists it", r.line, cell)
				return
			}
		}
	}
}

// header guesses whether the first record holds the names of the columns.
func (g *Guess) header(rows []row) {
	g.Header = true
	seen := map[string]bool{}
	for i, name := range g.First {
		name = strings.TrimSpace(name)
		switch {
		case name == "" && g.Surplus:
		case name == "":
			g.doubt("column %d of the first record has no name: a field cannot read it", i+1)
		case isValue(name):
			g.Header = false
			g.doubt("the first record has the value %q, so that it may be no header: csvfile needs a line with the columns' names", name)
			return
		case seen[name]:
			g.doubt("two columns have the name %q: no field can read them", name)
		}
		seen[name] = true
	}
	for _, r := range rows[1:] {
		if slices.ContainsFunc(r.cells, isValue) {
			return
		}
	}
	if len(rows) > 1 {
		g.doubt("all cells are text, so that the first record may be the header or not")
	}
}

// isValue reports whether a text is a number or begins like a date, as names rarely do.
func isValue(text string) bool {
	text = strings.TrimSpace(text)
	if _, err := strconv.ParseFloat(strings.ReplaceAll(text, ",", "."), 64); err == nil {
		return true
	}
	return len(text) >= 10 && text[4] == '-' && text[7] == '-' && strings.Trim(text[:4], "0123456789") == ""
}

// read splits a text into records. Blank lines are none.
func read(text string, comma, quote rune, escape bool) *way {
	w := &way{comma: comma, quote: quote, escape: escape}
	line := 1
	for len(text) > 0 {
		var r row
		r.line = line
		var n int
		r.cells, n = w.record(text)
		line += strings.Count(text[:n], "\n")
		text = text[n:]
		if quote == 0 && strings.Contains(strings.Join(r.cells, ""), `"`) {
			w.ignored++
		}
		if len(r.cells) > 1 || r.cells[0] != "" {
			w.rows = append(w.rows, r)
		}
	}
	counts := map[int]int{}
	for _, r := range w.rows {
		counts[len(r.cells)]++
		if n := counts[len(r.cells)]; n > w.fit || n == w.fit && len(r.cells) > w.width {
			w.fit, w.width = n, len(r.cells)
		}
	}
	return w
}

// record splits the first record of a text, and returns its length.
func (w *way) record(text string) (cells []string, n int) {
	var cell strings.Builder
	began, quoted, closed := true, false, false
	for i, c := range text {
		switch {
		case i < n: // the second of two quotes, or an escaped character
			continue
		case quoted && w.escape && c == '\\' && i+1 < len(text):
			cell.WriteByte(text[i+1])
			n = i + 2
		case quoted && c == w.quote:
			if strings.HasPrefix(text[i+1:], string(w.quote)) {
				cell.WriteRune(c)
				n = i + 2
				continue
			}
			quoted, closed = false, true
		case quoted:
			cell.WriteRune(c)
		case c == w.comma:
			cells, began, closed = append(cells, cell.String()), true, false
			cell.Reset()
			continue
		case c == '\n':
			return append(cells, strings.TrimSuffix(cell.String(), "\r")), i + 1
		case w.quote != 0 && c == w.quote && began:
			quoted = true
		default:
			if c == w.quote && w.quote != 0 || closed && c != '\r' {
				w.misplaced++
				closed = false
			}
			cell.WriteRune(c)
		}
		began = false
	}
	if quoted {
		w.misplaced++
	}
	return append(cells, strings.TrimSuffix(cell.String(), "\r")), len(text)
}
