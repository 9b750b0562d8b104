package csvfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// ParseRecord implements [dataflow.RecordParser]. It takes what file.raw and records.text have
// kept of a record: an object with the columns, the list of its cells, or its line as a text.
// The last two need the header of the file.
func (s *source[T]) ParseRecord(ctx context.Context, r dataflow.RawRecord) (row T, err error) {
	if err := s.Validate(); err != nil {
		return row, err
	}
	f := &file{name: "of the record", opts: &s.opts}
	var cells []string
	if f.header, cells, err = columnsOf(r.Raw, &s.opts); err != nil {
		return row, err
	}
	if f.header == nil {
		opened, err := s.fileOf(ctx, r.Key)
		if err != nil {
			return row, fmt.Errorf("the header is needed, unless the record is an object with the names of the columns: %w", err)
		}
		opened.close()
		f = opened
		if cells, err = cellsOf(r, f.opts); err != nil {
			return row, err
		}
	}
	dec, err := newDecoder(reflect.ValueOf(&row).Elem(), s.plan, f)
	switch {
	case err != nil:
		return row, err
	case f.repeats(cells):
		return row, errRepeated
	}
	err = dec.decode(cells)
	return row, err
}

// fileOf opens the file of a record with a key such as "in/a.csv line 17", and reads its header.
func (s *source[T]) fileOf(ctx context.Context, key string) (*file, error) {
	if s.streamed {
		return nil, errors.New("a stream is not opened for it")
	}
	names, err := s.place.After(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if s.place.Many() && !strings.HasPrefix(key, name+" line ") {
			continue
		}
		f, err := openFile(ctx, s.place, name, Cursor{}, &s.opts)
		if err == nil && f.header == nil {
			f.close()
			err = f.permanent("it has no header")
		}
		return f, err
	}
	return nil, fmt.Errorf("there is no file of the record %q any more", key)
}

// columnsOf returns the columns and the cells of an object, and none for any other value.
func columnsOf(raw json.RawMessage, opts *Options) (header, cells []string, err error) {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return nil, nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if _, err := d.Token(); err != nil {
		return nil, nil, err
	}
	header = []string{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, nil, err
		}
		var value any
		if err := d.Decode(&value); err != nil {
			return nil, nil, err
		}
		cell, err := cellOf(value, opts)
		if err != nil {
			return nil, nil, fmt.Errorf("column %q: %w", name, err)
		}
		header, cells = append(header, fmt.Sprint(name)), append(cells, cell)
	}
	return header, cells, nil
}

// cellOf is the text of a cell, which somebody may have edited into another kind of value.
func cellOf(value any, opts *Options) (string, error) {
	switch v := value.(type) {
	case string:
		return v, nil
	case json.Number:
		return v.String(), nil
	case bool:
		return fmt.Sprint(v), nil
	case nil:
		if len(opts.Null) > 0 {
			return opts.Null[0], nil
		}
		return "", errors.New("it is null, and no text is null in the file: set Null, or use a text")
	default:
		return "", errors.New("it is neither a text nor a number: a cell is a text")
	}
}

// escaped matches a byte that visible has written, because it was not UTF-8.
var escaped = regexp.MustCompile(`\\x[0-9A-F]{2}`)

// cellsOf returns the cells of a record that was kept as a list of them or as its line.
func cellsOf(r dataflow.RawRecord, opts *Options) ([]string, error) {
	var list []any
	if json.Unmarshal(r.Raw, &list) == nil {
		cells := make([]string, len(list))
		for i, value := range list {
			cell, err := cellOf(value, opts)
			if err != nil {
				return nil, fmt.Errorf("cell %d: %w", i+1, err)
			}
			cells[i] = cell
		}
		return cells, nil
	}
	var text string
	switch err := json.Unmarshal(r.Raw, &text); {
	case err != nil:
		return nil, errors.New("it is neither an object with the columns, nor a list of cells, nor a line as a text")
	case !r.Edited && escaped.MatchString(text):
		return nil, errors.New(`it held bytes that are not UTF-8, which stand in it as \x and two digits: put the right characters in their place by an edit, or convert the file to UTF-8 and read it again`)
	case !r.Edited && len(text) >= maxRawBytes:
		return nil, fmt.Errorf("it is longer than the %d bytes that were kept: mend the file, and read it again", maxRawBytes)
	}
	return split(text, opts)
}

// split returns the cells of one record.
func split(text string, opts *Options) ([]string, error) {
	lines := bytes.SplitAfter([]byte(text), []byte("\n"))
	if n := len(lines); n > 1 && len(lines[n-1]) == 0 {
		lines = lines[:n-1]
	}
	scan := scanner{dialect: opts.dialect()}
	scan.begin()
	for i, line := range lines {
		last := i == len(lines)-1
		if err := scan.line(line, last); err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		switch more := scan.more(); {
		case more && last:
			return nil, errors.New("its quote is never closed")
		case !more && !last:
			return nil, fmt.Errorf("it is more than one record: the first ends on line %d", i+1)
		}
	}
	return slices.Clone(scan.record()), nil
}
