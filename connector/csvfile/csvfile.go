package csvfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"

	"github.com/activedataflow/dataflow"
)

// checkEvery is how many records are read between two looks at the context.
const checkEvery = 128

// Open returns a source that reads the file at path into structs of type T. See
// the package's documentation for how columns find their fields. opts may be nil.
//
// Open does not touch the file: each read opens it, and closes it at its end.
// What is wrong with T or opts is reported by [dataflow.NewClient], or by the
// first read. The source also is a [dataflow.Counter], a [dataflow.Validator]
// and a [dataflow.Describer]. It is safe for concurrent use.
func Open[T any](path string, opts *Options) dataflow.Source[T, Cursor] {
	s := &source[T]{path: path, opts: opts.withDefaults()}
	s.plan, s.planErr = compile(reflect.TypeFor[T]())
	return s
}

type source[T any] struct {
	path    string
	opts    Options
	plan    []column
	planErr error
}

func (s *source[T]) Validate() error {
	var errs []error
	if s.path == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Path", Reason: "it is empty: give the path of a CSV file"})
	}
	return errors.Join(append(errs, s.opts.validate(), s.planErr)...)
}

func (s *source[T]) Describe() dataflow.Description {
	return dataflow.Description{Type: "csvfile", Detail: map[string]any{"path": s.path}}
}

func (s *source[T]) Read(ctx context.Context, r dataflow.Request[Cursor]) iter.Seq2[dataflow.Item[T, Cursor], error] {
	return func(yield func(dataflow.Item[T, Cursor], error) bool) {
		if err := s.each(ctx, r, yield); err != nil {
			yield(dataflow.Item[T, Cursor]{}, err)
		}
	}
}

// each yields the records that r asks for. It returns the error that ended the
// read, which is then still to be yielded.
func (s *source[T]) each(ctx context.Context, r dataflow.Request[Cursor], yield func(dataflow.Item[T, Cursor], error) bool) error {
	f, recs, err := s.open(ctx, r)
	if err != nil {
		return err
	}
	defer f.close()
	if f.header == nil {
		return nil
	}
	// The fields of one row are looked up once; each record fills it anew and is
	// yielded as a copy.
	row := new(T)
	dec, err := newDecoder(reflect.ValueOf(row).Elem(), s.plan, f)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		cells, err := recs.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		item := dataflow.Item[T, Cursor]{Cursor: recs.at, Resume: true}
		if err == nil {
			if err = dec.decode(cells); err != nil {
				err = &dataflow.RecordError{Key: recs.at.String(), Raw: f.raw(cells), Err: err}
			} else {
				item.Value = *row
			}
		}
		if err != nil && !isRecordError(err) {
			return err
		}
		if !yield(item, err) {
			return nil
		}
		if n%checkEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// open opens the file and finds the place at which r begins. The caller closes
// the file.
func (s *source[T]) open(ctx context.Context, r dataflow.Request[Cursor]) (*file, *records, error) {
	if err := s.Validate(); err != nil {
		return nil, nil, dataflow.Permanent(fmt.Errorf("CSV file: %w", err))
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	f, err := openFile(s.path, &s.opts)
	if err != nil {
		return nil, nil, err
	}
	start, at, err := f.find(r)
	if err != nil {
		f.close()
		return nil, nil, err
	}
	return f, newRecords(f, start, at), nil
}

func (s *source[T]) Count(ctx context.Context, r dataflow.Request[Cursor]) (int64, error) {
	f, recs, err := s.open(ctx, r)
	if err != nil {
		return 0, err
	}
	defer f.close()
	if f.header == nil {
		return 0, nil
	}
	return count(ctx, recs.in, &s.opts)
}

func isRecordError(err error) bool {
	var bad *dataflow.RecordError
	return errors.As(err, &bad)
}
