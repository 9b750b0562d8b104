//go:build linux

package jsonl

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// fullSink writes to a full disk until a write has failed.
type fullSink struct {
	*appendSink[row]
	failed []error
}

func (s *fullSink) WriteFenced(ctx context.Context, b dataflow.FencedBatch[row]) error {
	err := s.appendSink.WriteFenced(ctx, b)
	if err != nil {
		s.failed = append(s.failed, err)
		err = errors.Join(err, os.Remove(s.files.Path))
	}
	return err
}

// exhausted opens no file the first time, and has files later.
type exhausted struct {
	fs.FS
	failed *int
}

func (e exhausted) Open(name string) (fs.File, error) {
	if *e.failed == 0 && name != "." {
		*e.failed++
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return e.FS.Open(name)
}

// A full disk, or a process without file descriptors, costs no attempt, and no file counts as one that cannot be read.
func TestFlow_FileSystemPasses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	body, err := encode(numbered(25), nil, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(in, body, 0o600))
	require.NoError(t, os.Symlink("/dev/full", out))
	failed := 0
	sink := &fullSink{appendSink: newAppendSink[row](out, nil)}
	flow := dataflow.NewFlow("lines", OpenFS[row](exhausted{os.DirFS(dir), &failed}, "in*", &Options{SkipUnreadable: true}), dataflow.Identity[row](),
		dataflow.ToFenced[row](sink), &dataflow.FlowOptions{OnBadRecord: dataflow.SkipUpTo(5), MaxAttempts: 1})
	run, err := dataflowtest.New(t, flow).Client().Trigger(t.Context(), "lines", nil)
	require.NoError(t, err)
	require.Equal(t, numbered(25), readAll(t, out))
	require.Equal(t, 1, failed)
	require.Len(t, sink.failed, 1)
	require.ErrorIs(t, sink.failed[0], syscall.ENOSPC)
	require.Zero(t, run.Counters.Dropped)
}
