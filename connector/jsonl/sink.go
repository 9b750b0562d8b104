package jsonl

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
)

// SinkOptions are the optional settings of [AppendTo]. The zero value is ready to
// use.
type SinkOptions struct {
	// MaxFileBytes begins another file when one has as many bytes, at the end of
	// a batch. The files then have numbers: "out.jsonl" is "out-000001.jsonl",
	// "out-000002.jsonl" and so on, and all but the last are finished. 0: there
	// is one file.
	MaxFileBytes int64
}

// AppendTo appends a line for each row to the file at path: exactly once, because
// the flow's checkpoint is kept beside the file, in path + ".checkpoint", with the
// file's length. What a crash has left behind that length is cut off before the
// next line is written. A path that ends in ".gz" is compressed. opts may be nil.
//
// The source must have a cursor. A file belongs to one flow; what is in it
// already when the flow first writes to it stays. The directory must be there,
// and be on a disk of this machine: writers are kept apart by a lock of the file
// system, in path + ".lock". Whoever reads the file while the flow runs may see
// lines of a batch that is not committed yet.
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

func (s *appendSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonl.append_to", Detail: map[string]any{"path": s.files.Path}}
}

func (s *appendSink[T]) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	return s.files.Claim(ctx, flow, fence)
}

func (s *appendSink[T]) WriteFenced(ctx context.Context, b dataflow.FencedBatch[T]) error {
	body, err := encode(b.Rows, nil)
	if err != nil {
		return err
	}
	return s.files.Write(ctx, b.Flow, b.Fence, b.State, body)
}

// WriteFiles writes each batch to a file of its own in the directory dir, named
// by the batch's ID: whoever opens one finds all of it. A batch that is written
// again, after a crash, takes the place of the file that is there, so that no row
// is there twice as long as one process writes at a time.
//
// The directory must be there. Files that begin with a dot and end in ".tmp" are
// what a crash has left, and can be removed.
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

func (s *filesSink[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonl.write_files", Detail: map[string]any{"dir": s.dir}}
}

func (s *filesSink[T]) Write(ctx context.Context, b dataflow.SinkBatch[T]) error {
	if err := ctx.Err(); err != nil || len(b.Rows) == 0 {
		return err
	}
	if b.ID == "" || b.ID != filepath.Base(b.ID) {
		return dataflow.Permanent(fmt.Errorf("the batch's ID %q cannot be the name of a file", b.ID))
	}
	body, err := encode(b.Rows, b.Keys)
	if err != nil {
		return err
	}
	return files.WriteAtomic(filepath.Join(s.dir, b.ID+".jsonl"), body)
}

// encode writes rows as lines. A row that cannot be written is a *RecordError.
func encode[T any](rows []T, keys []string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range rows {
		if err := enc.Encode(&rows[i]); err != nil {
			key := fmt.Sprintf("%d of the batch", i+1)
			if i < len(keys) {
				key = keys[i]
			}
			return nil, &dataflow.RecordError{Stage: dataflow.StageWrite, Key: key, Err: err}
		}
	}
	return b.Bytes(), nil
}
