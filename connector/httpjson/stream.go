package httpjson

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/httpcall"
)

// Errors that end a stream before its end.
var (
	errEnough = errors.New("no more records are wanted")
	errMoved  = errors.New("the records have moved")
)

// streamPage reads a page while it arrives. It returns where to go on, or nil at the end of
// the read.
func (r *reading[T]) streamPage(ctx context.Context, at Cursor) (*Cursor, error) {
	resp, err := r.openPage(ctx, at)
	switch {
	case r.s.expired(at, err):
		return r.restart(at, err)
	case err != nil:
		if err = r.s.end(at, err); err == nil {
			return r.pastEnd(at)
		}
		return nil, err
	case resp.Status == http.StatusNotModified: // Since or Options.Header has asked for changes only
		return nil, nil //nolint:nilnil // nil means the end
	case resp.Status == http.StatusNoContent:
		_ = resp.Stream.Close() // it is empty
		return r.streamEnd(at, &page{}, resp, nil)
	}
	defer func() { _ = resp.Stream.Close() }() // it was only read
	r.s.begun(&at, resp.Time())
	began := at
	p := &page{count: math.MaxInt} // until it is known
	count, digest := 0, sha256.New()
	stream := r.s.stream()
	r.met = false
	p.envelope, err = stream.Read(resp.Stream, func(record json.RawMessage) error {
		i := count
		count++
		_, _ = digest.Write(record) // never fails
		_, _ = digest.Write([]byte{','})
		if i%checkEvery == checkEvery-1 && ctx.Err() != nil {
			return ctx.Err()
		}
		return r.streamed(p, &at, i, began, record)
	})
	if err == nil {
		err = r.release(p, &at)
	}
	if err != nil { // Check comes before what the options make of the page
		if own := r.s.checkStream(at, p, resp); own != nil {
			return nil, own
		}
	}
	if r.s.omitted(err) {
		err = nil
	}
	switch {
	case errors.Is(err, errEnough):
		return nil, nil //nolint:nilnil // nil means the end
	case errors.Is(err, errMoved):
		return r.astray(began), nil
	case errors.Is(err, errInserted):
		return r.inserted(at)
	case errors.Is(err, errKnown):
		return nil, r.end(at, "")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, r.s.unreadableStream(at, err)
	case count < began.Skip:
		return r.astray(began), nil
	}
	p.count, p.rest = count, p.envelope
	r.records += count
	return r.streamEnd(at, p, resp, digest.Sum(nil))
}

// pastEnd goes on after a page that the API answers as one after the last.
func (r *reading[T]) pastEnd(at Cursor) (*Cursor, error) {
	switch {
	case r.seeking:
		return r.passed(at, &page{})
	case at.Skip > 0: // the last run has read records there, and the list has become shorter
		return r.astray(at), nil
	default:
		return nil, r.end(at, "")
	}
}

// openPage makes the request for a page, with a new search if the one before has expired.
func (r *reading[T]) openPage(ctx context.Context, at Cursor) (*httpcall.Response, error) {
	ask := func() (*httpcall.Response, error) {
		if err := r.open(ctx); err != nil {
			return nil, err
		}
		return r.s.call.Open(ctx, func(ctx context.Context) (*http.Request, error) { return r.build(ctx, at) })
	}
	resp, err := ask()
	if err != nil && r.handle != nil && !r.fresh && refused(err) {
		r.handle = nil
		return ask()
	}
	return resp, err
}

// streamed takes record i of a stream.
func (r *reading[T]) streamed(p *page, at *Cursor, i int, began Cursor, record json.RawMessage) error {
	if to := r.noted(at); to != nil && i < maxKnown && (r.s.opts.Order == OldestFirst || !r.seeking && i >= began.Skip) {
		*to = joinKnown(*to, known([]int64{r.mark(record)}))
	}
	moved := !r.seeking && r.s.shifts() && r.shift.add(i, record)
	held := false
	switch holds := r.s.holds(); {
	case holds && (r.seeking || began.Skip > 0):
		r.shift.note(record)
	case holds:
		held = r.shift.hold(i, record)
	case r.s.opts.Order == NewestFirst && !r.s.shifts():
		r.shift.add(i, record)
	}
	switch {
	case held:
		return nil
	case r.seeking:
		return r.sift(at, i, r.hash(record))
	case moved:
		return nil
	case i < began.Skip:
		if k := began.Skip - 1 - i; k == 0 && began.Last != [3]int64{} && r.hash(record) != began.Last[0] {
			return errMoved
		}
		return nil
	}
	if err := r.release(p, at); err != nil {
		return err
	}
	more, err := r.record(p, at, i, record)
	if err == nil && !more {
		err = errEnough
	}
	return err
}

// sift looks whether record i of a stream is the one that is looked for, as fits does on a page.
func (r *reading[T]) sift(at *Cursor, i int, sum int64) error {
	k := r.sought
	var before int64 // the record before it, when it was read
	if k+1 < len(at.Last) {
		before = at.Last[k+1]
	}
	if sum == at.Last[k] && (i == 0 || before == 0 || r.previous == before || !r.met) {
		r.passing -= int64(i) // those of this page
		_, err := r.placed(at, i+1, k)
		return err
	}
	r.passing++
	r.previous, r.met = sum, r.met || sum == before
	return nil
}

// stream returns what reads the records of a response one by one.
func (s *source[T]) stream() *httpcall.Stream {
	return &httpcall.Stream{Path: s.opts.Records, Lines: s.opts.Lines, Max: s.call.MaxBodyBytes}
}

// streamEnd finds the page after a stream.
func (r *reading[T]) streamEnd(at Cursor, p *page, resp *httpcall.Response, digest []byte) (*Cursor, error) {
	if len(p.envelope) > 0 && !json.Valid(p.envelope) {
		if !r.s.opts.Lines || inBody(r.s.opts.Paging) {
			return nil, dataflow.Permanent(r.s.wrap(at, errors.New("the response is not JSON")))
		}
		p.envelope, p.rest = json.RawMessage("[]"), json.RawMessage("[]") // the last line is a bad record
	}
	if err := r.s.checkStream(at, p, resp); err != nil {
		return nil, err
	}
	r.renew(p.envelope)
	if err := r.findNext(at, p, resp); err != nil {
		return nil, err
	}
	_ = r.fallen(at, p) // it only warns
	r.warnTwice(at, r.shift.moved)
	r.warnCut(at, p, resp)
	var content []json.RawMessage
	if moved := r.shiftEnd(p.count); p.count > 0 && !moved {
		content = []json.RawMessage{digest}
	}
	if err := r.trail.Visit(at.Page, p.next, content); err != nil {
		return nil, dataflow.Permanent(r.s.wrap(at, err))
	}
	switch {
	case r.seeking:
		return r.passed(at, p)
	case p.next == "":
		return nil, r.end(at, p.later)
	}
	next := at.on(p.next)
	if p.count == 0 && !r.yield(dataflow.Item[T, Cursor]{Mark: true, Cursor: next}, nil) {
		return nil, nil //nolint:nilnil // nil means the end
	}
	return &next, nil
}

// warnCut warns of JSON lines that may have been cut after a line, if neither the next page nor a later run would read
// what is missing.
func (r *reading[T]) warnCut(at Cursor, p *page, resp *httpcall.Response) {
	offset, counts := r.s.opts.Paging.(Offset)
	goesOn := p.next == "" || counts && offset.Step == 0
	if r.warnedCut || !r.s.opts.Lines || !resp.Endless || r.s.opts.resumes() && goesOn {
		return
	}
	r.warnedCut = true
	r.s.opts.Logger.Warn("dataflow: httpjson: the response has neither a length nor chunks, as with HTTP/1.0, so that one that was cut after a line looks whole, and no later run would read the rest: let the server speak HTTP/1.1", slog.String("page", at.pageName()), slog.String("url", bare(r.s.address)))
}

// checkStream returns the error of Options.Check for a page that was read while it arrived.
func (s *source[T]) checkStream(at Cursor, p *page, resp *httpcall.Response) error {
	if s.opts.Check == nil || len(p.envelope) == 0 || !json.Valid(p.envelope) {
		return nil
	}
	got := pageOf(resp)
	got.Body = p.envelope
	if err := s.opts.Check(got); err != nil {
		return s.wrap(at, err)
	}
	return nil
}

// unreadableStream returns the error of a stream that cannot be read to its end.
func (s *source[T]) unreadableStream(at Cursor, err error) error {
	var reported *httpcall.ReportedError
	if dataflow.IsPermanent(err) { // it is that of a record, and names the page
		return err
	}
	wrapped := s.wrap(at, err)
	if errors.As(err, &reported) || httpcall.IsBroken(err) || isWebPage(err) {
		return wrapped
	}
	return dataflow.Permanent(wrapped)
}
