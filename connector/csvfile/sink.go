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
	// Comma separates the cells of a record. 0: a comma.
	Comma rune

	// TimeLayout is the layout of [time.Time.Format] of a time's cell. A layout in
	// the field's tag takes its place. Empty: [time.RFC3339Nano].
	TimeLayout string

	// Null is the cell of a nil pointer. Empty: an empty cell.
	Null string

	// MaxFileBytes makes [AppendTo] begin another file when one has as many bytes,
	// at the end of a batch. The files then have numbers: "out.csv" is
	// "out-000001.csv", "out-000002.csv" and so on, and all but the last are
	// finished. 0: there is one file.
	MaxFileBytes int64
}

// AppendTo appends a record for each row to the file at path, and begins a file
// with a header: exactly once, because the flow's checkpoint is kept beside the
// file, in path + ".checkpoint", with the file's length. What a crash has left
// behind that length is cut off before the next record is written. A path that
// ends in ".gz" is compressed. T is as for [Open], but with
// [encoding.TextMarshaler]. opts may be nil.
//
// The source must have a cursor. A file belongs to one flow; what is in it
// already when the flow first writes to it stays, and must have the same header.
// The directory must be there, and be on a disk of this machine: writers are kept
// apart by a lock of the file system, in path + ".lock". Whoever reads the file
// while the flow runs may see records of a batch that is not committed yet.
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
	body, err := encodeRows(s.encoder, nil, b.Rows, nil)
	if err != nil {
		return err
	}
	return s.files.Write(ctx, b.Flow, b.Fence, b.State, body)
}

// WriteFiles writes each batch to a file of its own in the directory dir, with a
// header, and named by the batch's ID: whoever opens one finds all of it. A batch
// that is written again, after a crash, takes the place of the file that is there,
// so that no row is there twice as long as one process writes at a time. opts may
// be nil.
//
// The directory must be there. Files that begin with a dot and end in ".tmp" are
// what a crash has left, and can be removed.
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
		return dataflow.Permanent(fmt.Errorf("the batch's ID %q cannot be the name of a file", b.ID))
	}
	body, err := encodeRows(s.encoder, s.header(), b.Rows, b.Keys)
	if err != nil {
		return err
	}
	return files.WriteAtomic(filepath.Join(s.dir, b.ID+".csv"), body)
}
