package jsonl

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
	"github.com/activedataflow/dataflow/internal/notes"
)

// line is one line of a file.
type line struct {
	at    Cursor // after the line
	start int64  // its first byte
	text  []byte // without the line break; if tooLong, only the beginning
	// tooLong is true for a line over the limit.
	tooLong bool
	// unreadable is why the file as a whole cannot be read; the line is none.
	unreadable error
}

// lines calls each with the requested lines that are not blank, until each returns
// false. A line's text is valid until each returns.
func (s *source[T]) lines(ctx context.Context, r dataflow.Request[Cursor], each func(line) bool) (err error) {
	defer func() { err = files.Passing(err) }()
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("JSON lines: %w", err))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := s.place.After(ctx, r.From.File)
	if err != nil {
		return fmt.Errorf("JSON lines: %w", err)
	}
	for _, name := range names {
		from := Cursor{}
		if s.place.Many() {
			from.File = name
		}
		if r.Resumed && s.place.Holds(from.File, r.From.File) {
			from.Offset, from.Line, from.Head, from.Tail = r.From.Offset, r.From.Line, r.From.Head, r.From.Tail
			r.Resumed = false // no other file holds the cursor's records
		}
		more, err := s.file(ctx, name, from, each)
		if from.Offset > 0 && from.File != r.From.File && files.IsStale(err) { // another file than the one that was compressed
			more, err = s.file(ctx, name, Cursor{File: name}, each)
		}
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			err = fmt.Errorf("JSON lines of %s: %w", name, err)
			if !s.opts.SkipUnreadable || !s.place.Many() || !files.OfFile(err) {
				return err
			}
			more = each(line{at: Cursor{File: name}, unreadable: err})
		}
		if !more {
			return nil
		}
	}
	return nil
}

// file reads one file. It reports whether the caller wants more.
func (s *source[T]) file(ctx context.Context, name string, at Cursor, each func(line) bool) (more bool, err error) {
	f, err := s.place.Open(ctx, name)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // the file was only read
	start, err := begin(ctx, f, at)
	if err != nil {
		return false, err
	}
	in := files.NewLines(f, start, s.opts.MaxLineBytes)
	in.Whole = isWhole
	for n := 1; ; n++ {
		if n%checkEvery == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
		l := line{start: in.Offset}
		l.text, err = in.Next()
		tail := files.Tail(l.text)
		l.text = files.TrimMark(l.text)
		if errors.Is(err, io.EOF) {
			if err := f.Unchanged(at.Offset); err != nil {
				return false, permanent(err)
			}
			switch at := slog.Int64("line", at.Line+1); {
			case in.Hole:
				notes.Info(ctx, files.HoleNote, slog.String("file", name), at)
			case in.Left:
				notes.Info(ctx, "the file ends within a line and was changed lately; a later run reads the line", slog.String("file", name), at)
			}
			return !in.Left || in.Hole, nil
		}
		l.tooLong = errors.Is(err, files.ErrTooLong)
		if err != nil && !l.tooLong {
			return false, fmt.Errorf("after line %d: %w", at.Line, err)
		}
		at.Line, at.Offset, at.Head, at.Tail = at.Line+1, in.Offset, f.Head(in.Offset), tail
		if l.tooLong {
			at.Tail = 0
		}
		l.at = at
		if !l.tooLong && len(bytes.TrimSpace(l.text)) == 0 {
			continue
		}
		if !each(l) {
			return false, nil
		}
	}
}

// isWhole reports whether a line is a JSON value that cannot go on. A number could.
func isWhole(line []byte) bool {
	text := bytes.TrimSpace(line)
	return len(text) > 0 && bytes.IndexByte([]byte(`}]"el`), text[len(text)-1]) >= 0 && json.Valid(text)
}

// begin returns the byte at which a read begins.
func begin(ctx context.Context, f *files.File, at Cursor) (int64, error) {
	var start int64
	var err error
	f.Body(0)
	if at.Offset > 0 {
		if start, err = f.Resume(ctx, at.Offset, at.Line, at.Line); err != nil {
			start, err = afterSpace(f, at.Offset, err)
		}
		if err == nil {
			err = f.SameHead(at.Head, at.Offset)
		}
		if err == nil {
			err = f.SameTail(at.Tail, at.Offset, at.Line)
		}
	} else {
		start, err = f.TextStart()
	}
	return start, permanent(err)
}

// maxSpace is the most white space that may follow a value on its line after the value was read.
const maxSpace = 64

// afterSpace returns the byte at which a read goes on if only white space has come after the last value, and
// the line break, if any. Otherwise it returns the error of a changed line.
func afterSpace(f *files.File, offset int64, changed error) (int64, error) {
	stale := (*files.StaleError)(nil)
	if !errors.As(changed, &stale) || stale.Cut {
		return 0, changed
	}
	after, err := f.Bytes(offset, offset+maxSpace)
	if err != nil {
		return 0, err
	}
	switch rest := bytes.TrimLeft(after, " \t\r"); {
	case len(rest) > 0 && rest[0] == '\n':
		return offset + int64(len(after)-len(rest)) + 1, nil
	case len(rest) == 0 && len(after) < maxSpace:
		return offset, nil
	default:
		return 0, changed
	}
}

// permanent marks an error that no retry can fix.
func permanent(err error) error {
	if stale := (*files.StaleError)(nil); errors.As(err, &stale) || errors.Is(err, files.ErrUTF16) {
		return dataflow.Permanent(err)
	}
	return err
}
