package files

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// CheckpointSuffix is appended to the path of a file to name the file that holds
// its checkpoint.
const CheckpointSuffix = ".checkpoint"

// lockSuffix is appended to the path of a file to name the lock file that keeps its
// writers apart.
const lockSuffix = ".lock"

// Appender appends batches to a file so that a crash leaves neither a torn nor a
// duplicate line. A checkpoint next to the file holds the file's committed length.
// It is replaced by a rename after the file is on the disk. Bytes after the
// committed length were never committed, and are cut off before anything else is
// written.
type Appender struct {
	// Path is the file. If its name ends in ".gz", each batch is a gzip member.
	Path string
	// MaxBytes starts a new numbered file once the current one has this many bytes.
	// 0 means one file without a limit.
	MaxBytes int64
	// Header is written at the start of each file.
	Header []byte
}

// checkpoint is the content of the checkpoint file.
type checkpoint struct {
	Flow  string `json:"flow"`
	Fence int64  `json:"fence"`
	// Part is the number of the current file, from 1; 0 without MaxBytes.
	Part  int64           `json:"part,omitempty"`
	Bytes int64           `json:"bytes"`
	State json.RawMessage `json:"state,omitempty"`
}

// Validate returns a [dataflow.ConfigError] for each invalid setting.
func (a *Appender) Validate() error {
	var errs []error
	if a.Path == "" {
		errs = append(errs, &dataflow.ConfigError{Field: "Path", Reason: "it is empty: give the path of the file to write"})
	}
	if a.MaxBytes < 0 {
		errs = append(errs, &dataflow.ConfigError{Field: "MaxFileBytes", Reason: fmt.Sprintf("%d is negative: use 1 or more, or 0 for one file", a.MaxBytes)})
	}
	return errors.Join(errs...)
}

// Claim implements [dataflow.FencedSink]: it takes the file for a fence, cuts off
// what was not committed, and returns the stored state.
func (a *Appender) Claim(ctx context.Context, flow string, fence int64) (json.RawMessage, error) {
	var state json.RawMessage
	err := a.locked(ctx, func() error {
		c, err := a.load(flow)
		switch {
		case err != nil:
			return err
		case c.Fence > fence:
			return dataflow.ErrFenced
		}
		if err := a.tidy(c); err != nil {
			return err
		}
		c.Fence, state = fence, c.State
		return a.save(c)
	})
	return state, a.wrap(err)
}

// Write appends body, which may be empty, and stores the state. It returns
// [dataflow.ErrFenced] if the file was claimed by another fence.
func (a *Appender) Write(ctx context.Context, flow string, fence int64, state json.RawMessage, body []byte) error {
	return a.wrap(a.locked(ctx, func() error {
		c, err := a.load(flow)
		switch {
		case err != nil:
			return err
		case c.Fence != fence:
			return dataflow.ErrFenced
		}
		c.State = state
		if len(body) > 0 {
			if a.MaxBytes > 0 && c.Bytes >= a.MaxBytes {
				c.Part, c.Bytes = c.Part+1, 0
			}
			if c.Bytes, err = a.append(a.part(c.Part), c.Bytes, body); err != nil {
				return err
			}
		}
		return a.save(c)
	}))
}

// part returns the path of the file with a number, or Path for 0.
func (a *Appender) part(n int64) string {
	if n == 0 {
		return a.Path
	}
	dir, stem, ext := a.partNames()
	return filepath.Join(dir, fmt.Sprintf("%s-%06d%s", stem, n, ext))
}

// partNames returns the parts of the path that all numbered files share.
func (a *Appender) partNames() (dir, stem, ext string) {
	dir, name := filepath.Split(a.Path)
	stem, ext, _ = strings.Cut(name, ".")
	if ext != "" {
		ext = "." + ext
	}
	return dir, stem, ext
}

// lastPart returns the greatest number of an existing file, or 0 if there is none.
// Earlier files may have been removed.
func (a *Appender) lastPart() (last int64, err error) {
	dir, stem, ext := a.partNames()
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), stem+"-")
		if !ok || !strings.HasSuffix(number, ext) {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(number, ext), 10, 64)
		if err == nil && filepath.Base(a.part(n)) == e.Name() {
			last = max(last, n)
		}
	}
	return last, nil
}

// load reads the checkpoint. Without a checkpoint, the file's existing content
// counts as committed.
func (a *Appender) load(flow string) (*checkpoint, error) {
	data, err := os.ReadFile(a.Path + CheckpointSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return a.first(flow)
	}
	if err != nil {
		return nil, err
	}
	var c checkpoint
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, dataflow.Permanent(fmt.Errorf("%s is not a checkpoint of this library: remove it, or use another path: %w", a.Path+CheckpointSuffix, err))
	}
	if c.Flow != flow {
		return nil, dataflow.Permanent(fmt.Errorf("the file belongs to the flow %q, as %s says, not to %q: give each flow its own file, or remove both files", c.Flow, filepath.Base(a.Path+CheckpointSuffix), flow))
	}
	if (c.Part > 0) != (a.MaxBytes > 0) {
		return nil, dataflow.Permanent(errors.New("MaxFileBytes was set or unset, which changes the file's name: give the flow another path"))
	}
	return &c, nil
}

func (a *Appender) first(flow string) (*checkpoint, error) {
	c := &checkpoint{Flow: flow}
	if a.MaxBytes > 0 {
		last, err := a.lastPart()
		if err != nil {
			return nil, err
		}
		c.Part = max(1, last)
	}
	stat, err := os.Stat(a.part(c.Part))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, nil
	case err != nil:
		return nil, err
	}
	c.Bytes = stat.Size()
	return c, a.requireWhole(c)
}

// requireWhole returns an error if the last line of an existing file has no line
// break, so that nothing can be appended.
func (a *Appender) requireWhole(c *checkpoint) error {
	if c.Bytes == 0 {
		return nil
	}
	f, err := os.Open(a.part(c.Part))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	last := make([]byte, 1)
	if a.gzipped() {
		last, err = lastOfGzip(f)
	} else {
		_, err = f.ReadAt(last, c.Bytes-1)
	}
	if err != nil {
		return err
	}
	if last[0] != '\n' {
		return dataflow.Permanent(errors.New("its last line has no line break: add one, or use another path"))
	}
	return nil
}

// lastOfGzip returns the last byte of a compressed text, or a line break if it is empty. It reads the file to its end.
func lastOfGzip(f *os.File) ([]byte, error) {
	last, buf := []byte{'\n'}, make([]byte, chunk)
	text, err := newMembers(f)
	for err == nil {
		var n int
		if n, err = text.Read(buf); n > 0 {
			last[0] = buf[n-1]
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		return last, nil
	case errors.Is(err, gzip.ErrHeader):
		return nil, notGzip(f.Name())
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrChecksum), errors.Is(err, errTrailing), errors.As(err, new(flate.CorruptInputError)):
		return nil, dataflow.Permanent(fmt.Errorf("nothing can be appended to it, as it is no whole gzip file: use another path: %w", err))
	default:
		return nil, err
	}
}

// notGzip is the error of a file whose name only says that it is compressed.
func notGzip(name string) error {
	return dataflow.Permanent(fmt.Errorf("%s is not compressed by gzip, as its name says: give the flow another path", name))
}

// tidy restores the file to what the checkpoint says.
func (a *Appender) tidy(c *checkpoint) error {
	if a.MaxBytes > 0 { // the next file may have been started, but not committed
		if err := os.Remove(a.part(c.Part + 1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	path := a.part(c.Part)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Bytes == 0:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return dataflow.Permanent(fmt.Errorf("%s is gone, but %d bytes of it were committed: restore it, or remove %s to start again", path, c.Bytes, a.Path+CheckpointSuffix))
	case err != nil:
		return err
	}
	return errors.Join(a.cut(f, c.Bytes), a.requireHeader(f, c.Bytes), f.Close())
}

// cut removes the bytes after the committed length. It returns an error if the file
// is shorter.
func (a *Appender) cut(f *os.File, length int64) error {
	stat, err := f.Stat()
	switch {
	case err != nil:
		return err
	case stat.Size() < length:
		return dataflow.Permanent(fmt.Errorf("%s has %d bytes, but %d were committed: it was cut or replaced: remove %s to continue with what is there", f.Name(), stat.Size(), length, a.Path+CheckpointSuffix))
	case stat.Size() > length:
		return f.Truncate(length)
	default:
		return nil
	}
}

// requireHeader returns an error if an existing file begins with another header, so that records would be
// read by the wrong columns.
func (a *Appender) requireHeader(f *os.File, length int64) error {
	if len(a.Header) == 0 || length == 0 {
		return nil
	}
	text := io.Reader(io.NewSectionReader(f, 0, length))
	if a.gzipped() {
		unpacked, err := gzip.NewReader(text)
		switch {
		case errors.Is(err, gzip.ErrHeader):
			return notGzip(f.Name())
		case err != nil:
			return err
		}
		text = unpacked
	}
	head := make([]byte, len(a.Header))
	if _, err := io.ReadFull(text, head); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if !bytes.Equal(head, a.Header) {
		return dataflow.Permanent(fmt.Errorf("%s does not begin with the header %q: give the changed flow another path", f.Name(), strings.TrimSpace(string(a.Header))))
	}
	return nil
}

// append writes body after length bytes, and returns the new length once the file
// is on the disk.
func (a *Appender) append(path string, length int64, body []byte) (int64, error) {
	_, err := os.Stat(path)
	isNew := errors.Is(err, fs.ErrNotExist)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return 0, err
	}
	write := func() error {
		if err := a.cut(f, length); err != nil {
			return err
		}
		if length == 0 {
			body = append(bytes.Clone(a.Header), body...)
		}
		if a.gzipped() {
			if body, err = compress(body); err != nil {
				return err
			}
		}
		if _, err := f.WriteAt(body, length); err != nil {
			return err
		}
		return f.Sync()
	}
	if err := errors.Join(write(), f.Close()); err != nil {
		return 0, err
	}
	if isNew {
		err = syncDir(filepath.Dir(path))
	} else {
		err = nil
	}
	return length + int64(len(body)), err
}

func (a *Appender) gzipped() bool { return strings.HasSuffix(a.Path, ".gz") }

func compress(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

func (a *Appender) save(c *checkpoint) error {
	data, err := json.Marshal(c)
	if err != nil {
		return dataflow.Permanent(err)
	}
	return WriteAtomic(a.Path+CheckpointSuffix, append(data, '\n'))
}

func (a *Appender) wrap(err error) error {
	if err == nil {
		return nil
	}
	return Passing(fmt.Errorf("file %s: %w", a.Path, err))
}
