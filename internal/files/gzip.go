package files

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"strings"
)

// gzipSuffix is what gzip appends to the name of a file that it compresses. It removes that file in the end.
const gzipSuffix = ".gz"

// compresses reports whether a compressed file has the same text as another, as far as it is written.
func (p Place) compresses(ctx context.Context, plain, packed string) (bool, error) {
	text, err := p.start(ctx, plain)
	var copied []byte
	if err == nil {
		copied, err = p.start(ctx, packed)
	}
	if passing(err) { // otherwise the records of both would be read
		return false, err
	}
	return err == nil && bytes.HasPrefix(text, copied), nil
}

// start returns the first bytes of a file: more than a header, which may be that of each file.
func (p Place) start(ctx context.Context, name string) ([]byte, error) {
	f, err := p.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // the file was only read
	return f.Bytes(0, chunk)
}

// errTrailing is the error of a gzip file with other bytes after its end.
var errTrailing = errors.New("other bytes than gzip stand after the end of the compressed data: cut them off")

// members reads the members of a gzip file, one after the other. It passes NUL bytes after a
// member, with which tapes and block devices fill up a file, as gzip itself does.
type members struct {
	in     *bufio.Reader
	member *gzip.Reader
	padded bool // the file ends in NUL bytes
}

func newMembers(r io.Reader) (*members, error) {
	m := &members{in: bufio.NewReaderSize(r, chunk)}
	var err error
	if m.member, err = gzip.NewReader(m.in); err != nil {
		return nil, err
	}
	m.member.Multistream(false)
	return m, nil
}

func (m *members) Read(p []byte) (int, error) {
	for {
		n, err := m.member.Read(p)
		if errors.Is(err, io.EOF) {
			err = m.next()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// next goes to the next member. It returns io.EOF if there is none.
func (m *members) next() error {
	m.padded = false
	c, err := m.in.ReadByte()
	for ; err == nil && c == 0; c, err = m.in.ReadByte() {
		m.padded = true
	}
	if err != nil {
		return err
	}
	if err := m.in.UnreadByte(); err != nil {
		return err
	}
	if next, _ := m.in.Peek(len(gzipMagic)); !strings.HasPrefix(gzipMagic, string(next)) {
		return errTrailing
	}
	err = m.member.Reset(m.in)
	m.member.Multistream(false)
	return err
}
