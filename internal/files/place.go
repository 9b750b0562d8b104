// Package files finds, opens and appends to text files, for the connectors that
// know what is in them.
package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/activedataflow/dataflow"
)

// A Place is where the files of a source are. The zero value is none.
type Place struct {
	name string // a path, a pattern, or what a stream is called
	many bool
	fsys fs.FS
	// isFS tells a nil fsys of FS from a place that has none.
	isFS bool
	open func(ctx context.Context) (io.ReadCloser, error)
}

// Path is the one file at a path.
func Path(path string) Place { return Place{name: path} }

// Glob is all files whose paths match a pattern of [filepath.Match].
func Glob(pattern string) Place { return Place{name: pattern, many: true} }

// FS is all files of fsys whose names match a pattern of [path.Match].
func FS(fsys fs.FS, pattern string) Place {
	return Place{name: pattern, many: true, fsys: fsys, isFS: true}
}

// Func is what open returns each time.
func Func(open func(ctx context.Context) (io.ReadCloser, error)) Place {
	if open == nil {
		open = func(context.Context) (io.ReadCloser, error) { return nil, errNil }
	}
	return Place{name: "stream", open: open}
}

var errNil = errors.New("it is nil")

// Reader is what r reads, once.
func Reader(r io.Reader) Place {
	used := make(chan struct{}, 1)
	return Func(func(context.Context) (io.ReadCloser, error) {
		if r == nil {
			return nil, errNil
		}
		select {
		case used <- struct{}{}:
			return io.NopCloser(r), nil
		default:
			return nil, dataflow.Permanent(errors.New("the reader was read before, and cannot be read from its beginning again: use FromFunc, which opens it each time"))
		}
	})
}

// Many reports whether there may be several files, which a cursor must name.
func (p Place) Many() bool { return p.many }

// Validate returns what is wrong with the place. noun says what its files are.
func (p Place) Validate(noun string) error {
	wrong := func(field, reason string, args ...any) error {
		return &dataflow.ConfigError{Field: field, Reason: fmt.Sprintf(reason, args...)}
	}
	switch {
	case p.isFS && p.fsys == nil:
		return wrong("FS", "it is nil: use os.DirFS or an embed.FS")
	case p.many && p.name == "":
		return wrong("Pattern", "it is empty: give a pattern of %ss, such as \"in/*\"", noun)
	case p.name == "":
		return wrong("Path", "it is empty: give the path of a %s", noun)
	}
	if p.many {
		if _, err := path.Match(p.name, ""); err != nil {
			return wrong("Pattern", "%q cannot be read: see the syntax of path.Match", p.name)
		}
	}
	return nil
}

// Describe is what tells the place from others.
func (p Place) Describe() map[string]any {
	switch {
	case p.open != nil:
		return nil
	case p.many:
		return map[string]any{"pattern": p.name}
	default:
		return map[string]any{"path": p.name}
	}
}

// List returns the names of the files, in the order of their bytes. A pattern finds
// no files in which this package keeps something of its own.
func (p Place) List() ([]string, error) {
	if !p.many {
		return []string{p.name}, nil
	}
	list := filepath.Glob
	if p.isFS {
		list = func(pattern string) ([]string, error) { return fs.Glob(p.fsys, pattern) }
	}
	names, err := list(p.name)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p.name, err)
	}
	names = slices.DeleteFunc(names, isOwn)
	slices.Sort(names)
	return names, nil
}

// isOwn reports whether a file is one that Appender or WriteAtomic writes beside
// those that they are for, and no rows are in, or rows that will have another name.
func isOwn(name string) bool {
	base := filepath.Base(name)
	return strings.HasSuffix(base, CheckpointSuffix) || strings.HasSuffix(base, lockSuffix) ||
		strings.HasPrefix(base, ".") && strings.HasSuffix(base, tempSuffix)
}

// After returns the names of the files from the one that a cursor names on, the
// ones before it being read. That one need not be there any more.
func (p Place) After(cursor string) ([]string, error) {
	names, err := p.List()
	if err != nil || !p.many || cursor == "" {
		return names, err
	}
	at, _ := slices.BinarySearch(names, cursor)
	return names[at:], nil
}

// gzipMagic is how a gzip file begins, and no text does.
const gzipMagic = "\x1f\x8b"

// Open opens one of the files. A file that begins like a gzip file is read as
// one, whatever its name.
func (p Place) Open(ctx context.Context, name string) (*File, error) {
	if p.open != nil {
		r, err := p.open(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the stream: %w", err)
		}
		return newFile(r)
	}
	f, err := p.openFile(name)
	if err != nil {
		return nil, err // names the file
	}
	return newFile(f)
}

func (p Place) openFile(name string) (fs.File, error) {
	if p.isFS {
		return p.fsys.Open(name)
	}
	return os.Open(name)
}

// newFile looks at how the file begins. It closes r if it returns an error.
func newFile(r io.ReadCloser) (*File, error) {
	f := &File{closers: []io.Closer{r}}
	if at, ok := r.(readerAt); ok && isRegular(at) {
		head := make([]byte, len(gzipMagic))
		if n, err := at.ReadAt(head, 0); err == nil || errors.Is(err, io.EOF) {
			if string(head[:n]) != gzipMagic {
				f.at = at
				return f, nil
			}
		}
	}
	f.stream = &stream{r: r}
	head, err := f.stream.bytes(0, int64(len(gzipMagic)))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if string(head) != gzipMagic {
		return f, nil
	}
	plain, err := gzip.NewReader(io.MultiReader(bytes.NewReader(f.stream.buf), r))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("it begins like a gzip file: %w", err), f.Close())
	}
	f.stream = &stream{r: plain}
	return f, nil
}

// readerAt is a file that can be read anywhere.
type readerAt interface {
	io.ReaderAt
	Stat() (fs.FileInfo, error)
}

func isRegular(f readerAt) bool {
	stat, err := f.Stat()
	return err == nil && stat.Mode().IsRegular()
}
