package httpcall

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// Stream reads the records of a response while it arrives.
type Stream struct {
	// Path is the path of the records, as for [Records].
	Path string
	// Lines: each line is a record.
	Lines bool
	// Max is the most bytes of a record, and of all else in the response.
	Max int64

	in     *bufio.Reader
	value  []byte       // the record
	last   []byte       // the last record
	rest   bytes.Buffer // the response, with only the last record
	emit   func(record json.RawMessage) error
	emits  int
	direct bool // the records were found while the response arrived
}

// emitError is an error of the function that receives the records.
type emitError struct{ error }

func (e emitError) Unwrap() error { return e.error }

// Read calls emit for each record. The record is kept until emit returns, and may be invalid
// JSON. Read returns the
// response without its records except the last, or emit's error, unchanged. A response that
// ends too early is a Transient error.
func (s *Stream) Read(body io.Reader, emit func(record json.RawMessage) error) (rest json.RawMessage, err error) {
	s.in, s.emit = bufio.NewReaderSize(body, 64<<10), emit
	if mark, _ := s.in.Peek(3); string(mark) == "\xEF\xBB\xBF" {
		_, _ = s.in.Discard(3)
	}
	if err := s.page(); err != nil {
		return nil, err
	}
	if s.Lines {
		err = s.lines()
	} else if err = s.walk(s.Path); err == nil {
		err = s.atEnd()
	}
	var own emitError
	switch {
	case errors.As(err, &own):
		return nil, own.error
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, broken(errors.New("the response ends within a JSON value"))
	case err != nil:
		return nil, err
	case s.Lines:
		return s.rest.Bytes(), nil
	}
	records, _, err := Records(s.rest.Bytes(), s.Path)
	if err == nil && !s.direct {
		for _, record := range records {
			if err := emit(record); err != nil {
				return nil, err
			}
		}
	}
	return s.rest.Bytes(), err
}

// page returns an error if the response is a web page. As JSON lines, each of its lines would be a bad record.
func (s *Stream) page() error {
	switch c, err := s.peek(); {
	case errors.Is(err, io.EOF):
		return nil // an empty response
	case err != nil:
		return err
	case c != '<':
		return nil
	}
	enough := min(max(s.in.Buffered(), len("<!doctype html")), maxShown) // more may never come
	head, _ := s.in.Peek(enough)                                         // an error comes again
	return WebPage(head)
}

// broken marks an error of the connection.
func broken(err error) error { return dataflow.Transient(&failure{err: err}) }

// IsBroken reports whether an error is one of the connection.
func IsBroken(err error) bool {
	var failed *failure
	return errors.As(err, &failed)
}

// lines reads JSON lines.
func (s *Stream) lines() error {
	for {
		s.value = s.value[:0]
		for {
			part, err := s.in.ReadSlice('\n')
			s.value = append(s.value, part...)
			switch {
			case int64(len(s.value)) > s.Max:
				return s.tooLong()
			case errors.Is(err, bufio.ErrBufferFull):
				continue
			case errors.Is(err, io.EOF):
				line := bytes.TrimSpace(s.value)
				if len(line) > 0 && !json.Valid(line) {
					return io.ErrUnexpectedEOF
				}
				err = s.send(line)
				s.rest.WriteByte('[')
				s.rest.Write(s.last)
				s.rest.WriteByte(']')
				return err
			case err != nil:
				return broken(err)
			}
			break
		}
		if err := s.send(bytes.TrimSpace(s.value)); err != nil {
			return err
		}
	}
}

// send hands a record to emit.
func (s *Stream) send(record []byte) error {
	if len(record) == 0 {
		return nil
	}
	if s.Lines && bytes.HasPrefix(record, []byte(`{"error`)) {
		if err := onlyError(record); err != nil {
			return err
		}
	}
	s.emits++
	s.last = append(s.last[:0], record...)
	if err := s.emit(record); err != nil {
		return emitError{err}
	}
	return nil
}

// peek returns the next byte that is no white space, and leaves it there.
func (s *Stream) peek() (byte, error) {
	for {
		c, err := s.in.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return 0, err
		case err != nil:
			return 0, broken(err)
		case c != ' ' && c != '\n' && c != '\t' && c != '\r':
			return c, s.in.UnreadByte()
		}
	}
}

// expect reads a byte, and puts it in the rest.
func (s *Stream) expect(want byte) error {
	c, err := s.peek()
	if err != nil {
		return err
	}
	if c != want {
		return notJSON(c)
	}
	_, _ = s.in.Discard(1)
	s.rest.WriteByte(c)
	return nil
}

func notJSON(c byte) error {
	return fmt.Errorf("the response is not JSON: invalid character %q", c)
}

// atEnd requires that nothing follows.
func (s *Stream) atEnd() error {
	c, err := s.peek()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("%w after the first value", notJSON(c))
	}
}

// walk reads a value. It emits the records at a path, and keeps all else.
func (s *Stream) walk(path string) error {
	c, err := s.peek()
	switch {
	case err != nil:
		return err
	case c == '[' && path == "", c == '{' && path == "*":
		s.direct = true
		return s.records(c == '{')
	case c == '{':
		return s.object(path)
	case c == '[' && path != "":
		return s.array(path)
	default:
		return s.keep()
	}
}

// records emits the elements of an array, or the values of an object.
func (s *Stream) records(object bool) error {
	return s.each(object, func(string, int) error {
		s.value = s.value[:0]
		var err error
		if s.value, err = s.read(s.value); err != nil {
			return err
		}
		return s.send(s.value)
	}, true)
}

func (s *Stream) object(path string) error {
	return s.each(true, func(name string, _ int) error {
		switch rest, ok := strings.CutPrefix(path, name); {
		case ok && rest == "":
			return s.walk("")
		case ok && rest[0] == '.':
			return s.walk(rest[1:])
		default:
			return s.keep()
		}
	}, false)
}

func (s *Stream) array(path string) error {
	name, rest, _ := strings.Cut(path, ".")
	return s.each(false, func(_ string, i int) error {
		if strconv.Itoa(i) == name {
			return s.walk(rest)
		}
		return s.keep()
	}, false)
}

// each calls f at each member of an object, or element of an array. Of records, it keeps only
// the last.
func (s *Stream) each(object bool, f func(name string, i int) error, records bool) error {
	open, closed := byte('['), byte(']')
	if object {
		open, closed = '{', '}'
	}
	if err := s.expect(open); err != nil {
		return err
	}
	start := s.rest.Len()
	end := func() {
		if records && s.emits > 0 {
			if s.rest.Truncate(start); object {
				s.rest.WriteString(`"":`)
			}
			s.rest.Write(s.last)
		}
		s.rest.WriteByte(closed)
	}
	c, err := s.peek()
	if err == nil && c == closed {
		_, _ = s.in.Discard(1)
		end()
		return nil
	}
	for i := 0; ; i++ {
		if records {
			s.rest.Truncate(start)
		}
		name := ""
		if object {
			if name, err = s.name(); err != nil {
				return err
			}
		}
		if err := f(name, i); err != nil {
			return err
		}
		c, err := s.peek()
		switch {
		case err != nil:
			return err
		case c != ',' && c != closed:
			return notJSON(c)
		}
		_, _ = s.in.Discard(1)
		if c == closed {
			end()
			return nil
		}
		s.rest.WriteByte(',')
	}
}

// name reads the name of a member, and the colon.
func (s *Stream) name() (string, error) {
	c, err := s.peek()
	if err != nil {
		return "", err
	}
	if c != '"' {
		return "", notJSON(c)
	}
	text, err := s.read(nil)
	if err != nil {
		return "", err
	}
	s.rest.Write(text)
	return Text(text), s.expect(':')
}

// keep puts the next value in the rest.
func (s *Stream) keep() error {
	value, err := s.read(nil)
	if err != nil {
		return err
	}
	s.rest.Write(value)
	if int64(s.rest.Len()) > s.Max {
		return s.tooLong()
	}
	return nil
}

func (s *Stream) tooLong() error {
	return fmt.Errorf("a record, or all else in the response, has more than %d bytes: raise MaxBodyBytes", s.Max)
}

// read appends the next value to dst. It checks only where the value ends.
func (s *Stream) read(dst []byte) ([]byte, error) {
	if _, err := s.peek(); err != nil {
		return dst, err
	}
	depth, inString, escaped := 0, false, false
	for {
		if s.in.Buffered() == 0 {
			switch _, err := s.in.Peek(1); {
			case errors.Is(err, io.EOF) && depth == 0 && !inString:
				return dst, nil
			case errors.Is(err, io.EOF):
				return dst, io.ErrUnexpectedEOF
			case err != nil:
				return dst, broken(err)
			}
		}
		chunk, _ := s.in.Peek(s.in.Buffered())
		n, done := 0, false
		for !done && n < len(chunk) {
			c := chunk[n]
			switch {
			case escaped:
				escaped = false
			case inString && c == '\\':
				escaped = true
			case c == '"':
				inString = !inString
				done = !inString && depth == 0
			case inString:
			case c == '{' || c == '[':
				depth++
			case (c == '}' || c == ']') && depth > 0:
				depth--
				done = depth == 0
			case depth == 0 && isEnd(c):
				_, _ = s.in.Discard(n)
				if dst = append(dst, chunk[:n]...); len(dst) == 0 {
					return dst, notJSON(c)
				}
				return dst, nil
			}
			n++
		}
		dst = append(dst, chunk[:n]...)
		_, _ = s.in.Discard(n)
		switch {
		case int64(len(dst)) > s.Max:
			return dst, s.tooLong()
		case done:
			return dst, nil
		}
	}
}
