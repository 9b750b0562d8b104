package csvfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// file is an open CSV file.
type file struct {
	*files.File
	name string
	opts *Options
	// header holds the column names. It is nil if the file has no header yet.
	header []string
	// unique is true if no two columns have the same name.
	unique bool
	// oldMac is true if the header takes in other lines, which end in CR alone.
	oldMac bool
	// body is the cursor directly after the header.
	body Cursor
	// left is true if the file ends within the header, which may still be written.
	left bool
}

// openFile opens the file of a cursor and reads its header.
func openFile(ctx context.Context, place files.Place, name string, at Cursor, opts *Options) (*file, error) {
	opened, err := place.Open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("CSV file: %w", err) // err names the path
	}
	f := &file{File: opened, name: name, opts: opts, body: Cursor{File: at.File}}
	if err := f.readHeader(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// close closes the file. The file was only read, so its error does not matter.
func (f *file) close() { _ = f.Close() }

func (f *file) readHeader() error {
	offset, err := f.TextStart()
	switch {
	case errors.Is(err, files.ErrUTF16):
		return f.permanent("%w", err)
	case err != nil:
		return f.wrap(err)
	}
	recs, err := f.preamble(Cursor{File: f.body.File, Offset: offset})
	if err != nil {
		return err
	}
	from := recs.at.Offset
	header, err := recs.next()
	for f.opts.HeaderAt != "" && (err == nil || isRecordError(err)) && !f.hasCell(header, f.opts.HeaderAt) {
		from = recs.at.Offset
		header, err = recs.next()
	}
	f.left = recs.left && !recs.hole
	switch bad := (*dataflow.RecordError)(nil); {
	case errors.Is(err, io.EOF) && f.opts.HeaderAt != "" && recs.lines > 0 && !recs.left:
		return f.permanent("no record has the column %q of HeaderAt: it ends at line %d", f.opts.HeaderAt, recs.lines)
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &bad):
		return f.permanent("header on %s: %w", bad.Key, bad.Err)
	case err != nil:
		return err
	}
	if slices.ContainsFunc(header, func(name string) bool { return strings.Contains(name, "\r") }) {
		size := recs.at.Offset - from
		text, err := f.Bytes(from, recs.at.Offset+1)
		if f.oldMac = err == nil && bareCR(text[:min(size, int64(len(text)))], f.opts.dialect().quote); f.oldMac && int64(len(text)) <= size {
			return f.endsInCR(header) // otherwise the file would have no records, if T needs the first column alone
		}
	}
	// The body gets its own reader, so these strings stay valid.
	f.header, f.body = header, recs.at
	f.body.Head, f.body.Tail = 0, 0
	f.Body(f.body.Offset)
	seen := make(map[string]bool, len(header))
	for i, name := range header {
		if f.opts.TrimSpace {
			header[i] = strings.TrimSpace(name)
		}
		seen[header[i]] = true
	}
	f.unique = len(seen) == len(header)
	return nil
}

// bareCR reports whether a text has a CR within a line and outside of quotes.
func bareCR(text []byte, quote int) bool {
	quoted := false
	for i, c := range text {
		switch {
		case int(c) == quote:
			quoted = !quoted
		case c == '\r' && !quoted && i+1 < len(text) && text[i+1] != '\r' && text[i+1] != '\n':
			return true
		}
	}
	return false
}

// endsInCR is the error of a file whose header takes in other lines.
func (f *file) endsInCR(header []string) error {
	return f.permanent("its lines end in CR alone, as in files of old Macs: convert them to LF. The file then has more lines than one; as it is, its columns are %s", quoted(header))
}

// preamble passes the lines before the header: one that names the separator, and those of
// SkipLines. It returns what reads the header.
func (f *file) preamble(at Cursor) (*records, error) {
	recs := newRecords(f, at.Offset, at)
	first, err := recs.line(0)
	if sep, ok := separator(first); ok && err == nil {
		switch opts := *f.opts; {
		case opts.sepMayDiffer && sep != opts.Quote:
			opts.Comma = sep
			f.opts = &opts
		case sep != opts.Comma:
			return nil, f.permanent("its first line says that %q separates the cells, but Comma is %q: leave Comma out", sep, opts.Comma)
		}
		at = at.span(recs.offset, 1, 1)
	}
	recs = newRecords(f, at.Offset, at)
	for range f.opts.SkipLines {
		if _, err := recs.line(0); err != nil {
			return recs, ignoreEOF(err)
		}
	}
	return recs, nil
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// separator returns the character that a line such as "sep=;" names.
func separator(line []byte) (rune, bool) {
	text := strings.Trim(strings.TrimRight(string(line), "\r\n"), `"`)
	if len(text) < 5 || !strings.EqualFold(text[:4], "sep=") {
		return 0, false
	}
	sep, size := utf8.DecodeRuneInString(text[4:])
	return sep, len(text) == 4+size && validDelimiter(sep)
}

// hasCell reports whether a record has a cell with a text.
func (f *file) hasCell(cells []string, text string) bool {
	return slices.ContainsFunc(cells, func(cell string) bool {
		return cell == text || f.opts.TrimSpace && strings.TrimSpace(cell) == text
	})
}

// visible returns text with the bytes that are not UTF-8 written as \xE9.
func visible(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, size := utf8.DecodeRuneInString(text)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02X`, text[0])
		} else {
			b.WriteString(text[:size])
		}
		text = text[size:]
	}
	return b.String()
}

// raw returns a record as JSON: an object with the column names, or an array if the
// names are not unique or their number differs. A record that is not UTF-8 is a text,
// which cannot be taken for the record.
func (f *file) raw(cells []string) json.RawMessage {
	if !utf8.ValidString(strings.Join(cells, "")) {
		return marshal(visible(strings.Join(cells, string(f.opts.Comma))))
	}
	if len(cells) != len(f.header) || !f.unique {
		return marshal(cells)
	}
	out := []byte{'{'}
	for i, cell := range cells {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, marshal(f.header[i])...), ':'), marshal(cell)...)
	}
	return append(out, '}')
}

// marshal returns text as JSON.
func marshal[T string | []string](text T) json.RawMessage {
	b, err := json.Marshal(text)
	if err != nil {
		return nil // cannot happen: every string can be written as JSON
	}
	return b
}

// wrap adds the file's name to an error.
func (f *file) wrap(err error) error { return fmt.Errorf("CSV file %s: %w", f.name, err) }

// permanent returns an error of the file that no retry can fix.
func (f *file) permanent(format string, args ...any) error {
	return dataflow.Permanent(f.wrap(fmt.Errorf(format, args...)))
}
