// Package files finds, opens and appends to text files for the connectors that know
// their formats.
package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/notes"
)

// Place says where the files of a source are. The zero value is invalid.
type Place struct {
	name string // a path, a pattern, or a stream's name
	many bool
	fsys fs.FS
	// isFS is true for a place made by FS, even if fsys is nil.
	isFS bool
	open func(ctx context.Context) (io.ReadCloser, error)
	// rest is how long a file must be unchanged to count as whole; 0 means not at all.
	rest time.Duration
}

// Path is the place of the one file at path.
func Path(path string) Place { return Place{name: path} }

// Glob is the place of all files whose paths match a pattern of [filepath.Match].
func Glob(pattern string) Place { return Place{name: pattern, many: true} }

// FS is the place of all files in fsys whose names match a pattern of [path.Match].
func FS(fsys fs.FS, pattern string) Place {
	return Place{name: pattern, many: true, fsys: fsys, isFS: true}
}

// Func is the place of the stream that open returns. Each read calls open once and
// closes the stream.
func Func(open func(ctx context.Context) (io.ReadCloser, error)) Place {
	if open == nil {
		open = func(context.Context) (io.ReadCloser, error) { return nil, errNil }
	}
	return Place{name: "stream", open: open}
}

var errNil = errors.New("the reader or function is nil")

// Reader is the place of the stream r, which can be read once. r is not closed.
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
			return nil, dataflow.Permanent(errors.New("the reader was already read and cannot start again: use FromFunc, which opens a new reader each time"))
		}
	})
}

// Many reports whether the place may have several files. A cursor must then name
// its file.
func (p Place) Many() bool { return p.many }

// Partial says what a read does with a last line that has no line break.
type Partial int

// The ways to treat a last line without a line break.
const (
	Leave Partial = iota // for a later read
	Take                 // as it is
)

// Rest is for [Place.Resting]: how long a file must be unchanged.
func (p Partial) Rest(rest time.Duration) time.Duration {
	if p == Take {
		return 0
	}
	return rest
}

// Validate returns a [dataflow.ConfigError] if either setting is invalid.
func (p Partial) Validate(rest time.Duration) error {
	var errs []error
	if p != Leave && p != Take {
		errs = append(errs, &dataflow.ConfigError{Field: "Partial", Reason: fmt.Sprintf("%d is unknown: use Leave or Take", p)})
	}
	if rest < 0 {
		errs = append(errs, &dataflow.ConfigError{Field: "Rest", Reason: fmt.Sprintf("%s is negative: use a time, or 0 for %s", rest, DefaultRest)})
	}
	return errors.Join(errs...)
}

// DefaultRest is how long a file must usually be unchanged to count as whole.
const DefaultRest = time.Minute

// Resting returns the place with a rule for files that other programs may still be
// writing: a file that has changed within rest may go on. See [File.Grows].
func (p Place) Resting(rest time.Duration) Place {
	p.rest = rest
	return p
}

// Validate returns a [dataflow.ConfigError] if the place is invalid. noun names the
// kind of file.
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
			return wrong("Pattern", "%q is not a pattern: see the syntax of path.Match", p.name)
		}
	}
	return nil
}

// Describe returns the path or pattern, for a [dataflow.Description].
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

// List returns the names of the files, sorted by their bytes. It leaves out the
// files that this package writes for itself, and hidden ones.
func (p Place) List() ([]string, error) {
	if !p.many {
		return []string{p.name}, nil
	}
	names, err := p.glob(p.name)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", p.name, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return isOwn(name) || p.hides(name) })
	slices.Sort(names)
	return names, nil
}

// isOwn reports whether a file is a checkpoint, a lock or a temporary file of this
// package.
func isOwn(name string) bool {
	base := filepath.Base(name)
	return strings.HasSuffix(base, CheckpointSuffix) || strings.HasSuffix(base, lockSuffix) ||
		strings.HasPrefix(base, ".") && strings.HasSuffix(base, tempSuffix)
}

// After returns the names of the files still to read: the cursor's file, if it
// still exists, and all later ones. It leaves out those that gzip is making of others, and says so in the log.
func (p Place) After(ctx context.Context, cursor string) ([]string, error) {
	all, err := p.List()
	if err != nil || !p.many {
		return all, err
	}
	var names []string
	at, _ := slices.BinarySearch(all, cursor)
	for _, name := range all[at:] {
		if p.isDir(name) {
			continue
		}
		plain, packed := strings.CutSuffix(name, gzipSuffix)
		_, both := slices.BinarySearch(all, plain)
		if packed && both {
			if both, err = p.compresses(ctx, plain, name); err != nil {
				return nil, fmt.Errorf("compare %s with %s: %w", name, plain, err)
			}
		}
		if packed && both {
			notes.Info(ctx, "a file is left out: gzip has made it of another one that is there too", slog.String("file", name))
			continue
		}
		names = append(names, name)
	}
	return names, nil
}

// Holds reports whether a file of [Place.After] holds the records of a cursor's file: it is that file,
// or gzip has made it of that file, as a rotation of logs lets it do. Offsets are the same in both.
func (p Place) Holds(name, cursor string) bool {
	return name == cursor || p.many && name == cursor+gzipSuffix
}

// isDir reports whether a name that matches a pattern is that of a directory.
func (p Place) isDir(name string) bool {
	stat, err := p.stat(name)
	return err == nil && stat.IsDir()
}

// gzipMagic is how a gzip file begins. No text begins so.
const gzipMagic = "\x1f\x8b"

// packedBytes is the length of the longest magic number of packed.
const packedBytes = 6

// packed returns the name of the program that has compressed a file that begins so, or "". Both zstd and
// lz4 may begin with a frame that readers skip, as pzstd does.
func packed(head []byte) string {
	if len(head) >= 4 && head[0]&0xF0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18" {
		return "zstd or lz4"
	}
	if len(head) >= 6 && string(head[:3]) == "BZh" && string(head[4:6]) == "1A" { // a level is between
		return "bzip2"
	}
	for magic, name := range map[string]string{"\x28\xb5\x2f\xfd": "zstd", "\xfd7zXZ": "xz", "PK\x03\x04": "zip, as spreadsheets are", "\x04\x22\x4d\x18": "lz4"} {
		if strings.HasPrefix(string(head), magic) {
			return name
		}
	}
	return ""
}

// mayBePacked reports whether a magic number of packed begins with these two bytes.
func mayBePacked(head []byte) bool {
	return len(head) == 2 && (slices.Contains([]string{"\x28\xb5", "BZ", "\xfd7", "PK", "\x04\x22"}, string(head)) || head[0]&0xF0 == 0x50 && head[1] == '\x2a')
}

// checkPacked returns an error for a file that is compressed by another program than gzip.
func checkPacked(head []byte) error {
	if name := packed(head); name != "" {
		return dataflow.Permanent(fmt.Errorf("the file is compressed by %s: decompress it, or open it by FromFunc with a reader that does", name))
	}
	return nil
}

// Open opens one of the files. The caller must close it. A file that begins with
// the gzip magic number is decompressed, whatever its name.
func (p Place) Open(ctx context.Context, name string) (*File, error) {
	if p.open != nil {
		r, err := p.open(ctx)
		if err != nil {
			return nil, fmt.Errorf("open the stream: %w", err)
		}
		return newFile(r, 0)
	}
	f, err := p.openFile(name)
	if err != nil {
		return nil, err // names the file
	}
	return newFile(f, p.rest)
}

func (p Place) openFile(name string) (fs.File, error) {
	if _, asks := p.fsys.(fs.StatFS); asks || p.many && !p.isFS { // others would open it to tell
		if stat, err := p.stat(name); err == nil && stat.Mode()&fs.ModeNamedPipe != 0 {
			return nil, dataflow.Permanent(fmt.Errorf("%s: it is a named pipe, which waits for a writer: leave it out of the pattern, or read it by Open", name))
		}
	}
	if p.isFS {
		return p.fsys.Open(name)
	}
	return os.Open(name)
}

// newFile detects gzip by the first bytes. It closes r if it returns an error.
func newFile(r io.ReadCloser, rest time.Duration) (*File, error) {
	f := &File{closers: []io.Closer{r}, rest: rest}
	f.info, _ = r.(stater)
	if at, ok := r.(readerAt); ok && isRegular(at) {
		head := make([]byte, packedBytes)
		if n, err := at.ReadAt(head, 0); err == nil || errors.Is(err, io.EOF) {
			if err := checkPacked(head[:n]); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			switch {
			case n < len(gzipMagic): // by the time it is read, it may be a gzip file
				f.stream = &stream{r: bytes.NewReader(head[:n])}
				return f, nil
			case !strings.HasPrefix(string(head[:n]), gzipMagic):
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
	if mayBePacked(head) { // otherwise a slow stream would have to give more than two bytes
		if head, err = f.stream.bytes(0, packedBytes); err == nil {
			err = checkPacked(head)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	if string(head) != gzipMagic {
		return f, nil
	}
	plain, err := newMembers(io.MultiReader(bytes.NewReader(f.stream.buf), r))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) && f.Grows():
		f.cut = true
		f.stream = &stream{err: io.EOF}
	case err != nil:
		return nil, errors.Join(fmt.Errorf("the file begins like a gzip file: %w", err), f.Close())
	default:
		f.stream = &stream{r: &growing{r: plain, f: f}}
	}
	return f, nil
}

// growing reads a gzip file to where it ends now.
type growing struct {
	r *members
	f *File
}

func (g *growing) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	unfinished := errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) && g.r.padded
	if unfinished && g.f.Grows() {
		g.f.cut, err = true, io.EOF
	}
	return n, err
}

// readerAt is a file that can be read at any offset.
type readerAt interface {
	io.ReaderAt
	stater
}

// stater is a file that knows when it was changed.
type stater interface{ Stat() (fs.FileInfo, error) }

func isRegular(f readerAt) bool {
	stat, err := f.Stat()
	return err == nil && stat.Mode().IsRegular()
}

// Unreadable returns the record error of a file that cannot be read. The mark of its cause,
// if any, is about the file, and not about the attempt.
func Unreadable(name string, err error) *dataflow.RecordError {
	return &dataflow.RecordError{Key: name, Err: errors.New(err.Error())}
}
