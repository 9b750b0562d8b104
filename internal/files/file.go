package files

import (
	"errors"
	"io"
	"math"
	"time"
)

// File is an open file, or a stream that is read like a file. Offsets count
// uncompressed bytes. A File is not safe for concurrent use.
type File struct {
	at      readerAt // nil: use stream
	stream  *stream
	closers []io.Closer
	info    stater        // nil for a stream
	rest    time.Duration // see Place.Resting
	cut     bool          // a gzip file that ends within itself
	head    head
}

// otherClock is the most by which the clock of a file's server may be ahead.
const otherClock = 24 * time.Hour

// Grows reports whether another program may still be writing the file: it has changed
// lately. What stands after its last whole record is then no record yet. A stream does
// not grow. Call it after the end of the file was read.
func (f *File) Grows() bool {
	if f.rest <= 0 || f.info == nil {
		return false
	}
	stat, err := f.info.Stat()
	if err != nil {
		return passing(err) // then nobody knows
	}
	if !stat.Mode().IsRegular() {
		return false
	}
	// A time far in the future was set: by a copy that keeps times, or an archive. A nearer one may be
	// by another clock.
	age := time.Since(stat.ModTime())
	return age < f.rest && age > -otherClock
}

// Cut reports whether the read has met the end of a gzip file that is still being
// written.
func (f *File) Cut() bool { return f.cut }

// Close closes the file. Files are only read, so callers may ignore the error.
func (f *File) Close() error {
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// From returns a reader that starts at offset. The offset must not lie before a
// forgotten one.
func (f *File) From(offset int64) io.Reader {
	if f.at != nil {
		return io.NewSectionReader(f.at, offset, math.MaxInt64-offset)
	}
	return &streamReader{s: f.stream, at: offset}
}

// Bytes returns the bytes from one offset up to another, or to the end of the file.
// The slice is valid until the next call on the file.
func (f *File) Bytes(from, to int64) ([]byte, error) {
	if f.at != nil {
		return io.ReadAll(io.NewSectionReader(f.at, from, to-from))
	}
	return f.stream.bytes(from, to)
}

// Forget promises that no byte before offset will be read again, so a stream need
// not keep it.
func (f *File) Forget(offset int64) {
	if f.stream != nil {
		f.stream.keep = max(f.stream.keep, offset)
	}
}

// Size returns the number of bytes in the file, or read so far from a stream.
func (f *File) Size() (int64, error) {
	if f.at == nil {
		return f.stream.end(), nil
	}
	stat, err := f.at.Stat()
	if err != nil {
		return 0, err
	}
	return stat.Size(), nil
}

// chunk is the number of bytes read from a stream at once.
const chunk = 64 << 10

// stream keeps a window of the bytes it has read, from keep on.
type stream struct {
	r    io.Reader
	base int64 // the offset of buf[0]
	buf  []byte
	keep int64
	err  error // what ended the stream
}

func (s *stream) end() int64 { return s.base + int64(len(s.buf)) }

// fill reads the next chunk. It returns false once the stream has ended.
func (s *stream) fill() bool {
	if s.err != nil {
		return false
	}
	if waste := min(s.keep, s.end()) - s.base; waste > 0 && waste >= int64(len(s.buf))/2 {
		s.buf = s.buf[:copy(s.buf, s.buf[waste:])]
		s.base += waste
	}
	if cap(s.buf)-len(s.buf) < chunk {
		s.buf = append(make([]byte, 0, 2*cap(s.buf)+chunk), s.buf...)
	}
	var n int
	n, s.err = s.r.Read(s.buf[len(s.buf) : len(s.buf)+chunk])
	s.buf = s.buf[:len(s.buf)+n]
	return true
}

// errForgotten reports a mistake of a connector: it reads bytes that it has
// forgotten.
var errForgotten = errors.New("the stream cannot go back to bytes that were already dropped")

// part returns the buffered bytes from offset on. It is empty only at the end of
// the stream.
func (s *stream) part(offset int64) ([]byte, error) {
	for offset >= s.end() {
		if !s.fill() {
			if errors.Is(s.err, io.EOF) {
				return nil, nil
			}
			return nil, s.err
		}
	}
	if offset < s.base {
		return nil, errForgotten
	}
	return s.buf[offset-s.base:], nil
}

func (s *stream) bytes(from, to int64) ([]byte, error) {
	for {
		b, err := s.part(from)
		switch {
		case err != nil:
			return nil, err
		case int64(len(b)) >= to-from:
			return b[:max(0, to-from)], nil
		case len(b) == 0 || !s.fill():
			if s.err != nil && !errors.Is(s.err, io.EOF) {
				return nil, s.err
			}
			return b, nil
		}
	}
}

// streamReader reads a stream from an offset.
type streamReader struct {
	s  *stream
	at int64
}

func (r *streamReader) Read(p []byte) (int, error) {
	b, err := r.s.part(r.at)
	if err != nil {
		return 0, err
	}
	if len(b) == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	n := copy(p, b)
	r.at += int64(n)
	return n, nil
}
