package jsonl

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowtest"
)

var errCut = errors.New("the wire was cut")

// cutSink fails in two ways. After every third write it returns an error, so the
// engine does not learn that the write succeeded. Before every fifth write it
// writes only a part and returns an error.
type cutSink struct {
	*appendSink[row]
	writes int
}

func (s *cutSink) WriteFenced(ctx context.Context, b dataflow.FencedBatch[row]) error {
	s.writes++
	if s.writes%5 == 0 {
		f, err := os.OpenFile(s.files.Path, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteString(strings.Repeat(`{"n":7,"text":"torn"}`+"\n", 100) + `{"n":`)
		return errors.Join(errCut, err, f.Close())
	}
	if err := s.appendSink.WriteFenced(ctx, b); err != nil {
		return err
	}
	if s.writes%3 == 0 {
		return errCut
	}
	return nil
}

// Wherever a run breaks off, each record is in the file once.
func TestAppendTo_FlowBreaks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	rows := numbered(95)
	body, err := encode(rows, nil, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(in, body, 0o600))
	sink := &cutSink{appendSink: newAppendSink[row](out, nil)}
	flow := dataflow.NewFlow("lines", Open[row](in, nil), dataflow.Identity[row](), dataflow.ToFenced[row](sink), &dataflow.FlowOptions{
		Runtime: dataflow.Heartbeat{BatchSize: 10}, MaxAttempts: 1,
	})
	client := dataflowtest.New(t, flow).Client()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	broke := 0
	for {
		_, err := client.Trigger(ctx, "lines", nil)
		if err == nil {
			break
		}
		require.ErrorIs(t, err, errCut)
		broke++
	}
	require.Greater(t, broke, 3)
	require.Equal(t, rows, readAll(t, out))
	_, err = client.Trigger(ctx, "lines", nil)
	require.NoError(t, err)
	require.Equal(t, rows, readAll(t, out), "a run that finds nothing writes nothing")
}
