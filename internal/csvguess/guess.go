// Package csvguess guesses how a CSV file is written, and says what it is not sure of.
package csvguess

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sample is the number of bytes of a file that are looked at.
const Sample = 256 << 10

// Row is a record of which no cell is read. csvfile reads it to try a guess.
type Row struct{}

// Guess is how a file seems to be written.
type Guess struct {
	// Encoding is such as "UTF-8".
	Encoding string
	// Comma separates the cells, Quote encloses them, and Escape stands before a quote. 0 is
	// no such character.
	Comma, Quote, Escape rune
	// Lazy is true if some quotes are misplaced, and Surplus if records have more cells than
	// the header, which are empty.
	Lazy, Surplus bool
	// Comment begins lines that are no records. Skip is the number of lines before the first
	// record.
	Comment rune
	Skip    int
	// Footer begins the first cell of the lines after the last record.
	Footer string
	// Null is the text of a null cell besides the empty one.
	Null string
	// First are the cells of the first record. Header is true if they seem to be names.
	First  []string
	Header bool
	// Records of the sample, of which Fit have Width cells.
	Records, Fit, Width int
	// Whole is true if the sample is the whole file.
	Whole bool
	// Refused says why the file cannot be read by any options; "" if it can.
	Refused string
	// Doubts are what may be otherwise.
	Doubts []string
}

// File guesses how a file is written. It may be compressed with gzip.
func File(path string) (*Guess, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	head := make([]byte, 2)
	n, _ := io.ReadFull(f, head)
	in := io.MultiReader(bytes.NewReader(head[:n]), f)
	if string(head[:n]) == "\x1f\x8b" {
		if in, err = gzip.NewReader(in); err != nil {
			return nil, fmt.Errorf("%s begins like a gzip file: %w", path, err)
		}
	}
	data, err := io.ReadAll(io.LimitReader(in, Sample+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return Bytes(data[:min(len(data), Sample)], len(data) <= Sample), nil
}

// Bytes guesses how a file is written that begins with data. whole is true if that is all of
// it.
func Bytes(data []byte, whole bool) *Guess {
	g := &Guess{Whole: whole}
	text, ok := g.decode(data)
	if !ok {
		return g
	}
	if end := strings.LastIndexByte(text, '\n') + 1; !whole && end > 0 { // the last line is not whole
		text = text[:end]
	}
	if !strings.Contains(text, "\n") && strings.Contains(strings.TrimRight(text, "\r"), "\r") {
		g.Refused = `its lines end with CR alone: convert them, such as by tr '\r' '\n'`
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	if strings.TrimSpace(text) == "" {
		g.Refused = "it has no text"
		return g
	}
	g.dialect(text)
	return g
}

// decode finds the encoding. It returns false for a file that is no text.
func (g *Guess) decode(data []byte) (string, bool) {
	wide := func(name string) (string, bool) {
		g.Encoding, g.Refused = name, "it is "+name+": convert it, such as by iconv -f "+strings.ReplaceAll(name, " ", "")+" -t UTF-8"
		return "", false
	}
	switch {
	case bytes.HasPrefix(data, []byte("\xEF\xBB\xBF")):
		g.Encoding, data = "UTF-8 with a byte order mark", data[3:]
	case bytes.HasPrefix(data, []byte("\xFF\xFE")):
		return wide("UTF-16 LE")
	case bytes.HasPrefix(data, []byte("\xFE\xFF")):
		return wide("UTF-16 BE")
	case zeros(data, 1) > len(data)/4:
		return wide("UTF-16 LE")
	case zeros(data, 0) > len(data)/4:
		return wide("UTF-16 BE")
	default:
		g.Encoding = "UTF-8"
	}
	if n := zeros(data, 0) + zeros(data, 1); n > 0 {
		g.doubt("it has %d NUL bytes: they are kept as text, and Postgres refuses them", n)
	}
	for cut := 0; cut == 0 || !g.Whole && cut < utf8.UTFMax; cut++ { // a sample may end within a character
		if utf8.Valid(data[:max(0, len(data)-cut)]) {
			return string(data), true
		}
	}
	g.Encoding = "not UTF-8, perhaps Windows-1252"
	bad := data
	for len(bad) > 0 {
		r, size := utf8.DecodeRune(bad)
		if r == utf8.RuneError && size == 1 {
			break
		}
		bad = bad[size:]
	}
	at := bytes.Count(data[:len(data)-len(bad)], []byte("\n")) + 1
	g.doubt("line %d is not UTF-8 (byte %#x): its text would be wrong, so convert the file, such as by iconv -f WINDOWS-1252 -t UTF-8", at, bad[0])
	return string(data), true
}

// zeros counts the NUL bytes at even or odd places.
func zeros(data []byte, odd int) (n int) {
	for i := odd; i < len(data); i += 2 {
		if data[i] == 0 {
			n++
		}
	}
	return n
}

func (g *Guess) doubt(format string, args ...any) {
	g.Doubts = append(g.Doubts, fmt.Sprintf(format, args...))
}

// Options writes the options as Go code, without those that have their default.
func (g *Guess) Options() string {
	var set []string
	add := func(name, value string) { set = append(set, name+": "+value) }
	if g.Comma != ',' {
		add("Comma", strconv.QuoteRune(g.Comma))
	}
	switch g.Quote {
	case '"':
	case 0:
		add("Quote", "csvfile.None")
	default:
		add("Quote", strconv.QuoteRune(g.Quote))
	}
	for name, r := range map[string]rune{"Escape": g.Escape, "Comment": g.Comment} {
		if r != 0 {
			add(name, strconv.QuoteRune(r))
		}
	}
	if g.Lazy {
		add("LazyQuotes", "true")
	}
	if g.Surplus {
		add("SurplusEmpty", "true")
	}
	if g.Skip > 0 {
		add("SkipLines", strconv.Itoa(g.Skip))
	}
	if g.Footer != "" {
		add("Footer", strconv.Quote(g.Footer))
	}
	if g.Null != "" {
		add("Null", fmt.Sprintf("[]string{\"\", %s}", "`"+g.Null+"`"))
	}
	slices.Sort(set)
	if len(set) == 0 {
		return "nil"
	}
	return "&csvfile.Options{" + strings.Join(set, ", ") + "}"
}
