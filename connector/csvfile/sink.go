package csvfile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// SinkOptions are the optional settings of [AppendTo] and [WriteFiles]. The zero
// value is ready to use.
type SinkOptions struct {
	// Comma separates the cells of a record. 0 means a comma.
	Comma rune

	// TimeLayout is the layout of [time.Time.Format] for the cells of a time. A
	// layout in the field's tag replaces it. Empty means [time.RFC3339Nano]. A time in a zone whose offset
	// has seconds, as before 1893 in Berlin, is written in UTC if the layout has an offset.
	TimeLayout string

	// Null is the text of a nil pointer's cell. Empty means an empty cell. A pointer to the same text is
	// written in quotes: copy of Postgres does not take that for null, but [Open] does.
	Null string

	// MaxFileBytes makes [AppendTo] start another file, at the end of a batch, once
	// the current file has this many bytes. The files then have numbers: "out.csv"
	// becomes "out-000001.csv", "out-000002.csv" and so on. All but the last are
	// finished. 0 means one file.
	MaxFileBytes int64
}

// AppendTo returns a target that appends a record for each row to the file at path,
// exactly once. A new file begins with a header. A path that ends in ".gz" is
// compressed, with a gzip member for each batch, of which some readers outside Go
// read the first alone. T is as for [Open], but with [encoding.TextMarshaler]. opts
// may be nil.
//
// The flow's checkpoint and the file's committed length are kept next to the file,
// in path + ".checkpoint". Bytes that a crash left after that length are cut off
// before the next record is written.
//
// The source must have a cursor. A file belongs to one flow. Existing content stays
// when the flow first writes to the file, and must have the same header. The
// directory must exist on a local disk: a lock of the file system, in path +
// ".lock", keeps writers apart. A reader of the file may see records of a batch
// that is not committed yet.
func AppendTo[T any](path string, opts *SinkOptions) dataflow.Target[T] {
	return dataflow.ToFenced[T](newAppendSink[T](path, opts))
}

type appendSink[T any] struct {
	files files.Appender
	*encoder
}

func newAppendSink[T any](path string, opts *SinkOptions) *appendSink[T] {
	s := &appendSink[T]{encoder: newEncoder(reflect.TypeFor[T](), opts)}
	s.files = files.Appender{Path: path, MaxBytes: s.opts.MaxFileBytes, Header: s.header()}
	return s
}

func (s *appendSink[T]) Validate() error { return errors.Join(s.files.Validate(), s.validate()) }

// AppendOnly is true: a record that is written twice is in the file twice.
func (s *appendSink[T]) AppendOnly() bool { return true }

func (s *appendSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "csvfile.append_to", Detail: map[string]any{"path": s.files.Path}}
}

func (s *appendSink[T]) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	if err := s.Validate(); err != nil {
		return nil, dataflow.Permanent(fmt.Errorf("CSV file: %w", err))
	}
	return s.files.Claim(ctx, flow, fence)
}

func (s *appendSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	body, err := encodeRows(s.encoder, nil, b.Rows, nil, nil)
	if err != nil {
		return err
	}
	return s.files.Write(ctx, b.Flow, b.Fence, b.State, body)
}

// WriteFiles returns a target that writes each batch, with a header, to its own
// file in the directory dir, named by the batch's ID. A file appears in one step. A
// batch that is written again after a crash replaces its file. If the source has got
// more records before that, or the flow another BatchSize, it is another batch, and the
// rows of the first are in two files. [AppendTo] has each row once. opts may be nil.
//
// The directory must exist. Files that begin with a dot and end in ".tmp" are left
// by a crash and can be removed.
func WriteFiles[T any](dir string, opts *SinkOptions) dataflow.Target[T] {
	return dataflow.To[T](newFilesSink[T](dir, opts))
}

type filesSink[T any] struct {
	dir string
	*encoder
}

func newFilesSink[T any](dir string, opts *SinkOptions) *filesSink[T] {
	return &filesSink[T]{dir: dir, encoder: newEncoder(reflect.TypeFor[T](), opts)}
}

func (s *filesSink[T]) Validate() error {
	var errs []error
	if s.dir == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Dir", Reason: "it is empty: give the directory to write to"})
	}
	return errors.Join(append(errs, s.validate())...)
}

// PerBatch is true: a record that comes in another batch is in another file, too.
func (s *filesSink[T]) PerBatch() bool { return true }

func (s *filesSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "csvfile.write_files", Detail: map[string]any{"dir": s.dir}}
}

func (s *filesSink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("CSV files: %w", err))
	}
	if err := ctx.Err(); err != nil || len(b.Rows) == 0 {
		return err
	}
	if b.ID == "" || b.ID != filepath.Base(b.ID) {
		return dataflow.Permanent(fmt.Errorf("the batch's ID %q cannot be a file name: use an ID without a path separator", b.ID))
	}
	body, err := encodeRows(s.encoder, s.header(), b.Rows, b.Keys, b.Refuse)
	if err != nil {
		return err
	}
	return files.WriteAtomic(filepath.Join(s.dir, b.ID+".csv"), body)
}
