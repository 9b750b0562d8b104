package csvfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

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
	// body is the cursor directly after the header.
	body Cursor
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
	recs := newRecords(f, offset, Cursor{File: f.body.File, Offset: offset})
	header, err := recs.next()
	switch bad := (*dataflow.RecordError)(nil); {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &bad):
		return f.permanent("header on %s: %w", bad.Key, bad.Err)
	case err != nil:
		return err
	}
	// The body gets its own reader, so these strings stay valid.
	f.header, f.body = header, recs.at
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

// raw returns a record as JSON: an object with the column names, or an array if the
// names are not unique or their number differs.
func (f *file) raw(cells []string) json.RawMessage {
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
