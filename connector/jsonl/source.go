package jsonl

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
	"github.com/activedataflow/dataflow/internal/jsonrow"
)

// checkEvery is the number of lines read between two checks of the context.
const checkEvery = 128

// Open returns a source that reads the file at path into values of type T. opts may
// be nil.
//
// Open does not touch the file: each read opens the file and closes it at the end.
// Invalid opts are reported by [dataflow.NewClient], or by the first read. The
// source is also a [dataflow.Counter], a [dataflow.Validator] and a
// [dataflow.Describer]. It is safe for concurrent use.
func Open[T any](path string, opts *Options) dataflow.Source[T, Cursor] {
	return newSource[T](files.Path(path), opts)
}

// OpenGlob is [Open] for all files that match a pattern of [path/filepath.Match],
// in the order of their paths. See the package documentation for which files a
// later run reads.
func OpenGlob[T any](pattern string, opts *Options) dataflow.Source[T, Cursor] {
	return newSource[T](files.Glob(pattern), opts)
}

// OpenFS is [OpenGlob] for the files of fsys and a pattern of [path.Match].
func OpenFS[T any](fsys fs.FS, pattern string, opts *Options) dataflow.Source[T, Cursor] {
	return newSource[T](files.FS(fsys, pattern), opts)
}

// From returns a source that reads r. It does not close r. It can be read once: a
// second run or attempt fails with a permanent error.
func From[T any](r io.Reader, opts *Options) dataflow.Source[T, dataflow.NoCursor] {
	return stream[T]{newSource[T](files.Reader(r), opts)}
}

// FromFunc returns a source that reads and closes what open returns, such as an
// object of a store. It cannot resume: every run, and every retry, calls open again
// and reads from the beginning.
func FromFunc[T any](open func(ctx context.Context) (io.ReadCloser, error), opts *Options) dataflow.Source[T, dataflow.NoCursor] {
	return stream[T]{newSource[T](files.Func(open), opts)}
}

type source[T any] struct {
	place files.Place
	opts  Options
}

func newSource[T any](place files.Place, opts *Options) *source[T] {
	s := &source[T]{opts: opts.withDefaults()}
	s.place = place.Resting(s.opts.Partial.Rest(s.opts.Rest))
	return s
}

func (s *source[T]) Validate() error {
	return errors.Join(s.place.Validate("JSON lines file"), s.opts.validate())
}

func (s *source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonl", Detail: s.place.Describe()}
}

func (s *source[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		dec := jsonrow.NewDecoder[T](s.opts.Strict)
		err := s.lines(ctx, r, func(l line) bool {
			if l.unreadable != nil {
				return yield(dataflow.Item[T, Cursor]{}, files.Unreadable(l.at.File, l.unreadable))
			}
			item := dataflow.Item[T, Cursor]{Key: s.key(l), Cursor: l.at, Resume: true}
			if err := s.decode(dec, l); err != nil {
				return yield(item, &dataflow.RecordError{Key: cmp.Or(item.Key, l.at.String()), Raw: jsonrow.Raw(l.text), Err: fmt.Errorf("at byte %d: %w", l.start, err)})
			}
			item.Value = dec.Value()
			return yield(item, nil)
		})
		if err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
		}
	}
}

// ParseRecord implements [dataflow.RecordParser].
func (s *source[T]) ParseRecord(_ context.Context, r dataflow.RawRecord) (T, error) {
	return jsonrow.Parse[T](r.Raw, r.Edited, s.opts.Strict)
}

// key returns the name of a line's record, or "" if it has none.
func (s *source[T]) key(l line) string {
	if s.opts.Key == "" || l.tooLong {
		return ""
	}
	return jsonrow.Text(l.text, s.opts.Key)
}

func (s *source[T]) decode(dec *jsonrow.Decoder[T], l line) error {
	if l.tooLong {
		return fmt.Errorf("the line has more than %d bytes: raise MaxLineBytes", s.opts.MaxLineBytes)
	}
	return dec.Decode(l.text)
}

func (s *source[T]) Count(ctx context.Context, r dataflow.Request[Cursor]) (n int64, err error) {
	err = s.lines(ctx, r, func(line) bool { n++; return true }) // a file that cannot be read counts as one
	return n, err
}

// Notes says which files a read passes, although they may hold records that were not read.
func (s *source[T]) Notes(ctx context.Context, r dataflow.Request[Cursor]) ([]string, error) {
	return s.place.Passed(ctx, r.From.File)
}

// stream reads a place without resume points.
type stream[T any] struct{ *source[T] }

func (s stream[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "jsonl.stream"}
}

func (s stream[T]) Read(ctx context.Context, _ dataflow.Request[dataflow.NoCursor]) iter.Seq2[dataflow.Item[T, dataflow.NoCursor], error] {
	return func(yield func(dataflow.Item[T, dataflow.NoCursor], error) bool) {
		for item, err := range s.source.Read(ctx, dataflow.Request[Cursor]{}) {
			streamed := dataflow.Item[T, dataflow.NoCursor]{Value: item.Value}
			if item.Resume { // true for every record, good or bad
				streamed.Key = cmp.Or(item.Key, item.Cursor.String())
			}
			if !yield(streamed, err) {
				return
			}
		}
	}
}
