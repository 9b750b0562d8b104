package pgtable

import (
	"encoding/binary"
	"errors"
	"io"
	"reflect"
	"sync"

	"github.com/jackc/pgx/v5/pgtype"
)

// copyChunk is the number of bytes encoded at once. pgconn sends messages of that
// size.
const copyChunk = 64 << 10

// errCopyEnded is what pgx reads after CopyFrom has returned. Nobody sees it.
var errCopyEnded = errors.New("the COPY has ended")

// copyReader reads a batch in COPY's binary format. It encodes rows while earlier
// ones are sent, so the server works on those meanwhile.
type copyReader struct {
	columns  []*column
	encoders []encoder
	rows     reflect.Value
	numbered bool  // true if each row begins with its number
	first    int64 // the number of the first row
	row      int   // the next row
	began    bool
	ended    bool
	enc      rowEncoder
	sent     int   // bytes of enc.buf already read
	large    int   // values of enc.large already read
	err      error // the error that ended the read
}

// lentReader lends a reader to a COPY. When the connection is lost, or the context ends, pgx v5.12
// returns from CopyFrom while a goroutine of its own goes on to read.
type lentReader struct {
	mu sync.Mutex  // held while r reads
	r  *copyReader // nil after end
}

// end takes the reader back. It waits for a read that has begun.
func (l *lentReader) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.r = nil
}

// Read implements io.Reader.
func (l *lentReader) Read(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.r == nil {
		return 0, errCopyEnded
	}
	return l.r.Read(p)
}

// start makes the reader begin with other rows and reuse its memory.
func (r *copyReader) start(m *pgtype.Map, rows reflect.Value) {
	r.rows, r.row, r.began, r.ended, r.sent, r.large, r.err = rows, 0, false, false, 0, 0, nil
	r.enc.m = m
	r.enc.reset()
}

// reset forgets the values and keeps the memory of the buffer.
func (e *rowEncoder) reset() {
	clear(e.large)
	e.buf, e.large = e.buf[:0], e.large[:0]
}

// Read implements io.Reader.
func (r *copyReader) Read(p []byte) (int, error) {
	if r.err == nil && r.sent == len(r.enc.buf) && r.large == len(r.enc.large) {
		if r.ended {
			return 0, io.EOF
		}
		r.sent, r.large = 0, 0
		r.enc.reset()
		r.err = r.fill()
	}
	if r.err != nil {
		return 0, r.err
	}
	if r.large == len(r.enc.large) {
		n := copy(p, r.enc.buf[r.sent:])
		r.sent += n
		return n, nil
	}
	large := &r.enc.large[r.large]
	if r.sent < large.at {
		n := copy(p, r.enc.buf[r.sent:large.at])
		r.sent += n
		return n, nil
	}
	n := copy(p, large.text)
	large.text = large.text[n:]
	if n == 0 {
		n = copy(p, large.bytes)
		large.bytes = large.bytes[n:]
	}
	if len(large.text)+len(large.bytes) == 0 {
		r.large++
	}
	return n, nil
}

// fill encodes the next chunk.
func (r *copyReader) fill() error {
	e := &r.enc
	if !r.began {
		r.began = true
		e.buf = append(e.buf, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	}
	width := len(r.columns)
	if r.numbered {
		width++
	}
	for ; r.row < r.rows.Len() && len(e.buf)+len(e.large)*largeFrom < copyChunk; r.row++ {
		e.buf = binary.BigEndian.AppendUint16(e.buf, uint16(width))
		if r.numbered {
			e.length(8)
			e.buf = binary.BigEndian.AppendUint64(e.buf, uint64(r.first)+uint64(r.row))
		}
		row := r.rows.Index(r.row)
		for i, c := range r.columns {
			null, err := r.encoders[i](e, c.field.In(row))
			if err != nil {
				return err
			}
			if null && c.key {
				return errNotPlain
			}
		}
	}
	if r.row == r.rows.Len() {
		r.ended = true
		e.buf = append(e.buf, 0xff, 0xff)
	}
	return nil
}
