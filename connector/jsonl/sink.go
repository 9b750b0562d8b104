package jsonl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
	"github.com/activedataflow/dataflow/internal/jsonrow"
)

// SinkOptions are the optional settings of [AppendTo]. The zero value is ready to
// use.
type SinkOptions struct {
	// MaxFileBytes starts another file, at the end of a batch, once the current
	// file has this many bytes. The files then have numbers: "out.jsonl" becomes
	// "out-000001.jsonl", "out-000002.jsonl" and so on. All but the last are
	// finished. 0 means one file.
	MaxFileBytes int64
}

// AppendTo returns a target that appends a line for each row to the file at path,
// exactly once. A path that ends in ".gz" is compressed, with a gzip member for each
// batch, of which some readers outside Go read the first alone. opts may be nil.
//
// The flow's checkpoint and the file's committed length are kept next to the file,
// in path + ".checkpoint". Bytes that a crash left after that length are cut off
// before the next line is written.
//
// The source must have a cursor. A file belongs to one flow. Existing content stays
// when the flow first writes to the file. The directory must exist on a local disk:
// a lock of the file system, in path + ".lock", keeps writers apart. A reader of
// the file may see lines of a batch that is not committed yet.
func AppendTo[T any](path string, opts *SinkOptions) dataflow.Target[T] {
	return dataflow.ToFenced[T](newAppendSink[T](path, opts))
}

type appendSink[T any] struct{ files files.Appender }

func newAppendSink[T any](path string, opts *SinkOptions) *appendSink[T] {
	if opts == nil {
		opts = &SinkOptions{}
	}
	return &appendSink[T]{files: files.Appender{Path: path, MaxBytes: opts.MaxFileBytes}}
}

func (s *appendSink[T]) Validate() error { return s.files.Validate() }

// AppendOnly is true: a record that is written twice is in the file twice.
func (s *appendSink[T]) AppendOnly() bool { return true }

func (s *appendSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonl.append_to", Detail: map[string]any{"path": s.files.Path}}
}

func (s *appendSink[T]) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	return s.files.Claim(ctx, flow, fence)
}

func (s *appendSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	body, err := encode(b.Rows, nil, nil)
	if err != nil {
		return err
	}
	return s.files.Write(ctx, b.Flow, b.Fence, b.State, body)
}

// WriteFiles returns a target that writes each batch to its own file in the
// directory dir, named by the batch's ID. A file appears in one step. A batch that
// is written again after a crash replaces its file. If the source has got more records
// before that, or the flow another BatchSize, it is another batch, and the rows of the
// first are in two files. [AppendTo] has each row once.
//
// The directory must exist. Files that begin with a dot and end in ".tmp" are left
// by a crash and can be removed.
func WriteFiles[T any](dir string) dataflow.Target[T] {
	return dataflow.To[T](&filesSink[T]{dir: dir})
}

type filesSink[T any] struct{ dir string }

func (s *filesSink[T]) Validate() error {
	if s.dir == "" {
		return &dataflow.ConfigError{Field: "Dir", Reason: "it is empty: give the directory to write to"}
	}
	return nil
}

// PerBatch is true: a record that comes in another batch is in another file, too.
func (s *filesSink[T]) PerBatch() bool { return true }

func (s *filesSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonl.write_files", Detail: map[string]any{"dir": s.dir}}
}

func (s *filesSink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := ctx.Err(); err != nil || len(b.Rows) == 0 {
		return err
	}
	if b.ID == "" || b.ID != filepath.Base(b.ID) {
		return dataflow.Permanent(fmt.Errorf("the batch's ID %q cannot be a file name: use an ID without a path separator", b.ID))
	}
	body, err := encode(b.Rows, b.Keys, b.Refuse)
	if err != nil {
		return err
	}
	return files.WriteAtomic(filepath.Join(s.dir, b.ID+".jsonl"), body)
}

// encode writes rows as lines. A row that cannot be written goes to refuse, and is left out.
// Without refuse, it is a *RowError.
func encode[T any](rows []T, keys []string, refuse func(row int, err error) error) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range rows {
		start := b.Len()
		err := enc.Encode(&rows[i]) // writes nothing if it fails
		if err == nil {
			err = jsonrow.CheckWritten(b.Bytes()[start:], &rows[i])
		}
		if err == nil {
			continue
		}
		b.Truncate(start)
		key := fmt.Sprintf("%d of the batch", i+1)
		if i < len(keys) {
			key = keys[i]
		}
		err = &dataflow.RecordError{Stage: dataflow.StageWrite, Key: key, Err: err}
		if refuse == nil {
			return nil, &dataflow.RowError{Row: i, Alone: true, Err: err}
		}
		if err := refuse(i, err); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}
