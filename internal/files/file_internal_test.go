package files

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// Memory stays bounded for a long stream and for a long line in it.
func TestFile_ForgetsStream(t *testing.T) {
	t.Parallel()
	f, err := Reader(io.LimitReader(endless{}, 16<<20)).Open(t.Context(), "")
	require.NoError(t, err)
	lines := NewLines(f, 0, 100)
	text, err := lines.Next()
	require.ErrorIs(t, err, ErrTooLong)
	require.Len(t, text, 100)
	require.EqualValues(t, 16<<20, lines.Offset)
	require.LessOrEqual(t, cap(f.stream.buf)+cap(lines.long), 8*chunk)
	_, err = lines.Next()
	require.ErrorIs(t, err, io.EOF)
	_, err = f.Bytes(0, 1)
	require.ErrorIs(t, err, errForgotten)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A stream has to be read up to the cursor. Cancelling the context ends that read.
func TestFile_ResumeCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	f, err := Reader(cancelling{cancel}).Open(t.Context(), "")
	require.NoError(t, err)
	_, err = f.Resume(ctx, 1<<40, 1, 1)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, f.stream.end(), int64(4*chunk))
}

// cancelling is an endless reader that calls cancel at its first read.
type cancelling struct{ cancel context.CancelFunc }

func (c cancelling) Read(p []byte) (int, error) {
	c.cancel()
	return endless{}.Read(p)
}

// sizeless is a file system such as /proc, which reports the size 0 for each file.
type sizeless struct{ fs.FS }

func (s sizeless) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return sizelessFile{f.(*os.File)}, err
}

type sizelessFile struct{ *os.File }

func (f sizelessFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return sizelessInfo{info}, err
}

type sizelessInfo struct{ fs.FileInfo }

func (sizelessInfo) Size() int64 { return 0 }

// A file that reports no size is read to its end, and noticed if it is cut meanwhile.
func TestFile_UnchangedWithoutSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("line\n"), 1000), 0o600))
	f, err := FS(sizeless{os.DirFS(dir)}, "a").Open(t.Context(), "a")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	f.Body(0)
	require.NotZero(t, f.Head(5000))
	require.NoError(t, f.Unchanged(5000))
	require.NoError(t, os.Truncate(path, 0))
	require.ErrorContains(t, f.Unchanged(5000), "it was cut or replaced while it was read")
}

// Bytes after a gzip file are an error that says so, and not a file that seems to be cut.
func TestFile_GzipTrailing(t *testing.T) {
	t.Parallel()
	packed, err := compress([]byte("line\n"))
	require.NoError(t, err)
	for tail, text := range map[string]string{"": "", "\x00\x00": "", "\n": "stand after the end", "xyz": "stand after the end", "\x00x": "stand after the end", strings.Repeat("x", 20): "stand after the end", "\x1f": "unexpected EOF", string(packed[:9]): "unexpected EOF"} {
		f, err := Reader(strings.NewReader(string(packed)+tail)).Open(t.Context(), "")
		require.NoError(t, err)
		all, err := io.ReadAll(f.From(0))
		if require.Equal(t, "line\n", string(all)); text == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, text, "%q", tail)
	}
}

// written is a file to which a program writes as soon as somebody has looked at its beginning.
type written struct {
	*os.File
	text []byte
}

func (f *written) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	if f.text != nil {
		_ = os.WriteFile(f.Name(), f.text, 0o600)
		f.text = nil
	}
	return n, err
}

// A file that becomes a gzip file right after it was opened is not read as text.
func TestFile_BecomesGzip(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.NoCompression) // with a line break of its own
	require.NoError(t, err)
	_, err = w.Write([]byte("line\n"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	packed := b.Bytes()
	for _, first := range []int{0, 1} {
		path := filepath.Join(t.TempDir(), "a")
		require.NoError(t, os.WriteFile(path, packed[:first], 0o600))
		opened, err := os.Open(path)
		require.NoError(t, err)
		f, err := newFile(&written{opened, packed}, DefaultRest)
		require.NoError(t, err)
		lines := NewLines(f, 0, 100)
		text, err := lines.Next()
		require.ErrorIs(t, err, io.EOF, "%q", text)
		require.Zero(t, lines.Offset)
		require.NoError(t, f.Close())
	}
}

// away is a file of a server that has lost the connection.
type away struct{}

func (away) Stat() (fs.FileInfo, error) {
	return nil, &fs.PathError{Op: "stat", Path: "a", Err: syscall.EIO}
}

// A last line stays for a later read if the server cannot say when the file was changed.
func TestFile_GrowsUnknown(t *testing.T) {
	t.Parallel()
	require.True(t, (&File{info: away{}, rest: DefaultRest}).Grows())
	require.False(t, (&File{info: away{}}).Grows(), "nobody asks")
}
