package files

import (
	"bytes"
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

// CheckpointSuffix is behind the path of a file that is appended to, in the name
// of the file that holds its checkpoint.
const CheckpointSuffix = ".checkpoint"

// lockSuffix is that of the file by which writers are kept apart.
const lockSuffix = ".lock"

// Appender appends batches to a file so that a crash leaves no torn and no
// doubled line. How long the file is stands in a checkpoint beside it, which is
// replaced by a rename after the file is on the disk: what is behind that length
// was never committed, and is cut off before anything else is written.
type Appender struct {
	// Path is the file. If its name ends in ".gz", each batch is a gzip member.
	Path string
	// MaxBytes begins another file when one has as many. The files have numbers
	// then. 0: there is one file, as long as it gets.
	MaxBytes int64
	// Header is what each file begins with.
	Header []byte
}

// checkpoint is the file beside the file.
type checkpoint struct {
	Flow  string `json:"flow"`
	Fence int64  `json:"fence"`
	// Part is the number of the file, from 1; 0 if there is only one.
	Part  int64           `json:"part,omitempty"`
	Bytes int64           `json:"bytes"`
	State json.RawMessage `json:"state,omitempty"`
}

// Validate returns what is wrong with the settings.
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

// Claim is the Claim of a [dataflow.FencedSink].
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

// Write appends body, which may be empty, and stores the state.
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

// part is the path of a file by its number.
func (a *Appender) part(n int64) string {
	if n == 0 {
		return a.Path
	}
	dir, stem, ext := a.partNames()
	return filepath.Join(dir, fmt.Sprintf("%s-%06d%s", stem, n, ext))
}

// partNames returns what the names of the numbered files have in common.
func (a *Appender) partNames() (dir, stem, ext string) {
	dir, name := filepath.Split(a.Path)
	stem, ext, _ = strings.Cut(name, ".")
	if ext != "" {
		ext = "." + ext
	}
	return dir, stem, ext
}

// lastPart is the greatest number of a file that is there, 0 if there is none. Those
// in front of it may have been taken away.
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

// load reads the checkpoint. If there is none, what is in the file already stays.
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
		return nil, dataflow.Permanent(fmt.Errorf("%s was not written by this library: %w", a.Path+CheckpointSuffix, err))
	}
	if c.Flow != flow {
		return nil, dataflow.Permanent(fmt.Errorf("it is written by the flow %q, as %s says, and not by %q: give each flow a file of its own, or remove both files", c.Flow, filepath.Base(a.Path+CheckpointSuffix), flow))
	}
	if (c.Part > 0) != (a.MaxBytes > 0) {
		return nil, dataflow.Permanent(errors.New("MaxFileBytes was set or unset, so that the file would have another name: give the flow another path"))
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

// requireWhole makes sure that a file that somebody else has begun can be
// appended to.
func (a *Appender) requireWhole(c *checkpoint) error {
	if c.Bytes == 0 || a.gzipped() {
		return nil
	}
	f, err := os.Open(a.part(c.Part))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, c.Bytes-1); err != nil {
		return err
	}
	if last[0] != '\n' {
		return dataflow.Permanent(errors.New("its last line has no line break: add one, or use another path"))
	}
	return nil
}

// tidy makes the file what the checkpoint says.
func (a *Appender) tidy(c *checkpoint) error {
	if a.MaxBytes > 0 { // a file that was begun, but not committed
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
		return dataflow.Permanent(fmt.Errorf("%s is gone, but %d bytes were written: put it back, or remove %s to begin anew", path, c.Bytes, a.Path+CheckpointSuffix))
	case err != nil:
		return err
	}
	return errors.Join(a.cut(f, c.Bytes), a.requireHeader(f, c.Bytes), f.Close())
}

// cut cuts off what was not committed.
func (a *Appender) cut(f *os.File, length int64) error {
	stat, err := f.Stat()
	switch {
	case err != nil:
		return err
	case stat.Size() < length:
		return dataflow.Permanent(fmt.Errorf("%s has %d bytes, but %d were written: it was cut or replaced: remove %s to begin anew with what there is", f.Name(), stat.Size(), length, a.Path+CheckpointSuffix))
	case stat.Size() > length:
		return f.Truncate(length)
	default:
		return nil
	}
}

func (a *Appender) requireHeader(f *os.File, length int64) error {
	if len(a.Header) == 0 || length == 0 || a.gzipped() {
		return nil
	}
	head := make([]byte, len(a.Header))
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !bytes.Equal(head, a.Header) {
		return dataflow.Permanent(fmt.Errorf("%s does not begin with the header %q: give the changed flow another path", f.Name(), strings.TrimSpace(string(a.Header))))
	}
	return nil
}

// append writes behind length, and returns the new one once it is on the disk.
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
	return fmt.Errorf("file %s: %w", a.Path, err)
}
