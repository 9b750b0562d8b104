package csvfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/files"
	"github.com/activedataflow/dataflow/internal/notes"
)

// checkEvery is the number of records read between two checks of the context.
const checkEvery = 128

// Open returns a source that reads the file at path into structs of type T. See the
// package documentation for how columns and fields match. opts may be nil.
//
// Open does not touch the file: each read opens the file and closes it at the end.
// An invalid T or opts is reported by [dataflow.NewClient], or by the first read.
// The source is also a [dataflow.Counter], a [dataflow.Validator] and a
// [dataflow.Describer]. It is safe for concurrent use.
func Open[T any](path string, opts *Options) dataflow.Source[T, Cursor] {
	return newSource[T](files.Path(path), opts)
}

// OpenGlob is [Open] for all files that match a pattern of [path/filepath.Match],
// in the order of their paths. Each file has its own header. See the package
// documentation for which files a later run reads.
func OpenGlob[T any](pattern string, opts *Options) dataflow.Source[T, Cursor] {
	return newSource[T](files.Glob(pattern), opts)
}

// OpenFS is [OpenGlob] for the files of fsys and a pattern of [path.Match].
func OpenFS[T any](fsys fs.FS, pattern string, opts *Options) dataflow.Source[T, Cursor] {
	return newSource[T](files.FS(fsys, pattern), opts)
}

type source[T any] struct {
	place   files.Place
	opts    Options
	plan    []column
	planErr error
	// streamed is true if the place must be opened by Read only.
	streamed bool
}

func newSource[T any](place files.Place, opts *Options) *source[T] {
	s := &source[T]{opts: opts.withDefaults()}
	s.place = place.Resting(s.opts.Partial.Rest(s.opts.Rest))
	s.plan, s.planErr = compile(reflect.TypeFor[T]())
	return s
}

func (s *source[T]) Validate() error {
	return errors.Join(s.place.Validate("CSV file"), s.opts.validate(), s.planErr)
}

func (s *source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "csvfile", Detail: s.place.Describe()}
}

func (s *source[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		if err := s.each(ctx, r, yield); err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
		}
	}
}

// each yields the requested records. It returns the error that ended the read; the
// caller must yield it.
func (s *source[T]) each(ctx context.Context, r dataflow.Request[Cursor], yield func(dataflow.Item[T, Cursor], error) bool) error {
	return s.files(ctx, r, func(f *file, recs *records) (bool, error) {
		return s.records(ctx, f, recs, yield)
	}, func(bad error) bool { return yield(dataflow.Item[T, Cursor]{}, bad) })
}

// records yields the records of one file. It reports whether the caller wants more.
func (s *source[T]) records(ctx context.Context, f *file, recs *records, yield func(dataflow.Item[T, Cursor], error) bool) (bool, error) {
	// The fields of one row are looked up once. Each record is read into this row
	// and yielded as a copy.
	row := new(T)
	dec, err := newDecoder(reflect.ValueOf(row).Elem(), s.plan, f)
	if err != nil {
		return false, err
	}
	keyAt := -1
	if s.opts.Key != "" {
		if keyAt = slices.Index(f.header, s.opts.Key); keyAt < 0 {
			return false, f.permanent("Options.Key: the header has no column %q. The columns are %s", s.opts.Key, quoted(f.header))
		}
	}
	for n := 1; ; n++ {
		cells, err := recs.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		item := dataflow.Item[T, Cursor]{Cursor: recs.at, Resume: true}
		if err == nil {
			if keyAt >= 0 && keyAt < len(cells) {
				item.Key = strings.Clone(cells[keyAt])
			}
			if err = dec.decode(cells); err != nil {
				err = &dataflow.RecordError{Key: cmp.Or(item.Key, recs.at.String()), Raw: f.raw(cells), Err: err}
			} else {
				item.Value = *row
			}
		}
		if err != nil && !isRecordError(err) {
			return false, err
		}
		if !yield(item, err) {
			return false, nil
		}
		if n%checkEvery == 0 && ctx.Err() != nil {
			return false, ctx.Err()
		}
	}
}

// files opens the requested files in turn. It calls f for each file that has a
// header, until f returns false. It calls skipped for each file that cannot be read, if
// the options say so.
func (s *source[T]) files(ctx context.Context, r dataflow.Request[Cursor], f func(f *file, recs *records) (bool, error), skipped func(bad error) bool) (err error) {
	defer func() { err = files.Passing(err) }()
	if err := s.Validate(); err != nil {
		return dataflow.Permanent(fmt.Errorf("CSV file: %w", err))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	names, err := s.place.After(ctx, r.From.File)
	if err != nil {
		return fmt.Errorf("CSV files: %w", err)
	}
	for _, name := range names {
		at := Cursor{}
		if s.place.Many() {
			at.File = name
		}
		if r.Resumed && s.place.Holds(at.File, r.From.File) {
			file := at.File
			at = r.From
			at.File = file
			r.Resumed = false // no other file holds the cursor's records
		}
		more, err := s.file(ctx, name, at, f)
		if at.Offset > 0 && at.File != r.From.File && files.IsStale(err) { // another file than the one that was compressed
			more, err = s.file(ctx, name, Cursor{File: name}, f)
		}
		if err != nil && s.opts.SkipUnreadable && s.place.Many() && files.OfFile(err) && ctx.Err() == nil {
			more, err = skipped(files.Unreadable(name, err)), nil
		}
		if err != nil || !more {
			return err
		}
	}
	return nil
}

func (s *source[T]) file(ctx context.Context, name string, at Cursor, use func(f *file, recs *records) (bool, error)) (bool, error) {
	f, err := openFile(ctx, s.place, name, at, &s.opts)
	if err != nil {
		return false, err
	}
	defer f.close()
	start, at, err := f.find(ctx, at)
	if err != nil {
		return false, err
	}
	if f.header == nil { // it may still be written
		return !f.left, nil
	}
	recs := newRecords(f, start, at)
	more, err := use(f, recs)
	if err == nil && recs.ended {
		err = f.unchanged(recs.at.Offset)
	}
	switch {
	case recs.hole:
		notes.Info(ctx, files.HoleNote, slog.String("file", name), slog.Int64("line", recs.at.lines()+1))
	case recs.left:
		notes.Info(ctx, "the file ends within a record and was changed lately; a later run reads the record", slog.String("file", name), slog.Int64("line", recs.at.lines()+1))
		more = false
	}
	return more, err
}

func (s *source[T]) Count(ctx context.Context, r dataflow.Request[Cursor]) (n int64, err error) {
	err = s.files(ctx, r, func(_ *file, recs *records) (bool, error) {
		more, err := count(ctx, recs)
		n += more
		return true, err
	}, func(error) bool { n++; return true })
	return n, err
}

// Notes says which files a read passes, although they may hold records that were not read.
func (s *source[T]) Notes(ctx context.Context, r dataflow.Request[Cursor]) ([]string, error) {
	return s.place.Passed(ctx, r.From.File)
}

func isRecordError(err error) bool {
	var bad *dataflow.RecordError
	return errors.As(err, &bad)
}
