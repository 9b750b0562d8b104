package csvfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"

	"github.com/activedataflow/dataflow"
)

// The bytes with which a program may begin a text file, to say how it is encoded.
const (
	bomUTF8    = "\xEF\xBB\xBF"
	bomUTF16LE = "\xFF\xFE"
	bomUTF16BE = "\xFE\xFF"
)

// file is an open CSV file.
type file struct {
	f    *os.File
	path string
	opts *Options
	// header holds the column names. It is nil if the file has no header yet.
	header []string
	// unique is true if no two columns have the same name.
	unique bool
	// body is the place right behind the header.
	body Cursor
}

// openFile opens a file and reads its header.
func openFile(path string, opts *Options) (*file, error) {
	osFile, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("CSV file: %w", err) // err names the path
	}
	f := &file{f: osFile, path: path, opts: opts}
	if err := f.readHeader(); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// close closes the file. Nothing was written to it, so that an error of that
// would tell nothing.
func (f *file) close() { _ = f.f.Close() }

func (f *file) readHeader() error {
	start, err := f.bytes(0, int64(len(bomUTF8)))
	if err != nil {
		return f.wrap(err)
	}
	var offset int64
	switch text := string(start); {
	case text == bomUTF8:
		offset = int64(len(bomUTF8))
	case strings.HasPrefix(text, bomUTF16LE), strings.HasPrefix(text, bomUTF16BE):
		return f.permanent("it is encoded as UTF-16: save it as UTF-8")
	}
	recs := newRecords(f, offset, Cursor{Offset: offset})
	header, err := recs.next()
	switch bad := (*dataflow.RecordError)(nil); {
	case errors.Is(err, io.EOF):
		return nil
	case errors.As(err, &bad):
		return f.permanent("header on %s: %w", bad.Key, bad.Err)
	case err != nil:
		return err
	}
	// The body has a reader of its own, so that these strings stay as they are.
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

// bytes returns the file's bytes from one offset to another, or to its end.
func (f *file) bytes(from, to int64) ([]byte, error) {
	b, err := io.ReadAll(io.NewSectionReader(f.f, from, to-from))
	if err != nil {
		return nil, err
	}
	return b, nil
}

// from returns a reader of all from offset on.
func (f *file) from(offset int64) io.Reader {
	return io.NewSectionReader(f.f, offset, math.MaxInt64-offset)
}

// raw returns a record as JSON: an object with the column names, or an array if
// these do not fit.
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
		return nil // strings can always be written as JSON
	}
	return b
}

// wrap says which file an error is of.
func (f *file) wrap(err error) error { return fmt.Errorf("CSV file %s: %w", f.path, err) }

// permanent is an error of the file that no retry can mend.
func (f *file) permanent(format string, args ...any) error {
	return dataflow.Permanent(f.wrap(fmt.Errorf(format, args...)))
}
