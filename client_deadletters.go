package dataflow

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// DeadLetterRecord is a bad record that a flow's [Policy] has kept.
type DeadLetterRecord struct {
	ID       int64
	FlowID   int64
	FlowName string
	RunID    int64
	// Stage is where the record failed, Key names it, and Error says why.
	Stage Stage
	Key   string
	Error string
	// Payload is the record, as far as it was known: as JSON, or as a JSON text if it
	// is none. It is nil if nothing was known.
	Payload   json.RawMessage
	CreatedAt time.Time
	// ReplayedAt is when it was written after all, nil if it was not.
	ReplayedAt *time.Time
}

// DeadLetterListParams choose and page what [Client.DeadLetters] lists, newest first.
// The zero value lists the newest 100.
type DeadLetterListParams struct {
	// Flow lists only those of the flow of this name. Empty: all.
	Flow string
	// Run lists only those of this run. 0: all.
	Run int64
	// Open lists only those that have not been replayed.
	Open bool
	// Before lists those older than this id: that of the last of the page before. 0:
	// from the newest.
	Before int64
	// Limit is the size of a page, up to 10,000. 0: 100.
	Limit int
}

// DeadLetters lists bad records that were kept, newest first. params may be nil.
func (c *Client) DeadLetters(ctx context.Context, params *DeadLetterListParams) ([]*DeadLetterRecord, error) {
	p := DeadLetterListParams{}
	if params != nil {
		p = *params
	}
	var err error
	if p.Limit, err = pageSize(p.Limit); err != nil {
		return nil, public(fmt.Errorf("list dead letters: %w", err))
	}
	letters, err := c.store.DeadLetterList(ctx, &p)
	if err != nil {
		return nil, public(fmt.Errorf("list dead letters: %w", err))
	}
	return letters, nil
}

// ReplayReport says what came of a [Client.Replay].
type ReplayReport struct {
	// Replayed are the ids of those that went through: to the sink, unless the
	// transform has filtered them.
	Replayed []int64
	// Failed are the errors of those that did not; they stay as they are.
	Failed map[int64]error
}

// Replay takes dead letters of a flow through its transform to its sink again: those
// with the ids, or, without ids, all that have not been replayed. With a target of
// [ToTx] each is written in the transaction that notes that it was, and so once;
// with [To], at least once. A flow with [ToFenced] is refused, because its sink
// writes no record apart from a checkpoint, and so is one with [ToReplace]. The process must have the flow's code:
// ErrNotRegistered. What fails again is no error of Replay, but in the report.
//
// They are replayed in the order in which they were kept, the oldest first.
//
// Only what is known of a record can be replayed, and the code's type must fit it. One
// that failed when it was read is known as its source had it, and so only fits if that
// is JSON in which each field is one of the type's: a line of a CSV file hardly ever
// does.
func (c *Client) Replay(ctx context.Context, name string, ids ...int64) (*ReplayReport, error) {
	fail := func(err error) error {
		return public(fmt.Errorf("replay dead letters of flow %q: %w", name, err))
	}
	f, err := c.Flow(ctx, name)
	if err != nil {
		return nil, err
	}
	if !f.Registered() {
		return nil, fail(fmt.Errorf("%w: this process does not have the flow's code", ErrNotRegistered))
	}
	if err := c.enter(); err != nil {
		return nil, fail(err)
	}
	defer c.leave()
	wanted := make(map[int64]bool, len(ids))
	for _, id := range ids {
		wanted[id] = true
	}
	pages, err := c.replayPages(ctx, name, wanted)
	if err != nil {
		return nil, fail(err)
	}
	report := &ReplayReport{Failed: make(map[int64]error)}
	for _, page := range slices.Backward(pages) {
		letters, err := c.store.DeadLetterList(ctx, &page.params)
		if err != nil {
			return nil, fail(err)
		}
		for _, l := range slices.Backward(letters) {
			if l.ID < page.least || len(ids) > 0 && !wanted[l.ID] {
				continue
			}
			delete(wanted, l.ID)
			if err := c.replay(ctx, f, l); err != nil {
				report.Failed[l.ID] = err
				continue
			}
			report.Replayed = append(report.Replayed, l.ID)
		}
		if ctx.Err() != nil {
			return report, public(ctx.Err())
		}
	}
	for id := range wanted {
		report.Failed[id] = ErrNotFound
	}
	return report, nil
}

// replayPage is a page of dead letters that has some which are wanted, and the least id
// on it.
type replayPage struct {
	params DeadLetterListParams
	least  int64
}

// replayPages finds the pages of a flow's dead letters that have wanted ones, or, where
// none are named, all that are open. They are newest first, as they are listed, and are
// replayed the other way round: of a row that is there twice, what was read last stays.
func (c *Client) replayPages(ctx context.Context, name string, wanted map[int64]bool) ([]replayPage, error) {
	p := DeadLetterListParams{Flow: name, Open: len(wanted) == 0, Limit: defaultPage}
	var pages []replayPage
	for {
		letters, err := c.store.DeadLetterList(ctx, &p)
		if err != nil || len(letters) == 0 {
			return pages, err
		}
		page := replayPage{params: p, least: letters[len(letters)-1].ID}
		page.params.Before = letters[0].ID + 1 // also if there is a newer one by then
		if len(wanted) == 0 || slices.ContainsFunc(letters, func(l *DeadLetterRecord) bool { return wanted[l.ID] }) {
			pages = append(pages, page)
		}
		if p.Before = page.least; len(letters) < p.Limit {
			return pages, nil
		}
	}
}

func (c *Client) replay(ctx context.Context, f *Flow, l *DeadLetterRecord) error {
	if l.ReplayedAt != nil {
		return fmt.Errorf("it was replayed at %s", l.ReplayedAt.Format(time.RFC3339))
	}
	if len(l.Payload) == 0 {
		return errors.New("nothing is known of the record but its key")
	}
	return guard(func() error { return f.code.replay(ctx, c.store, l) })
}

// replay takes one record through the transform to the sink.
func (p *typedPipeline[T, C, Out]) replay(ctx context.Context, store Store, l *DeadLetterRecord) error {
	if p.target.fenced != nil {
		return errors.New("its sink keeps the checkpoint, and writes no record apart from one")
	}
	if p.replaces() {
		return errors.New(errPart + ": mend what is wrong with the record, and start a run, which reads it again")
	}
	var row T
	if err := decodePayload(l, &row); err != nil {
		return fmt.Errorf("the record %s does not fit %T: %w", clip(string(l.Payload)), row, err)
	}
	var out Results[Out]
	out.reset()
	if err := p.transform.Apply(ctx, []T{row}, &out); err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	out.settle()
	if err := out.failed[0]; err != nil {
		return fmt.Errorf("transform: %w", err)
	}
	if p.target.txSink == nil && len(out.rows) > 0 {
		b := SinkBatch[Out]{ID: fmt.Sprintf("dead letter %d", l.ID), Rows: out.rows, Keys: make([]string, len(out.rows))}
		for i := range b.Keys {
			b.Keys[i] = l.Key
			if i > 0 {
				b.Keys[i] = fmt.Sprintf("%s/%d", l.Key, i+1)
			}
		}
		if err := p.target.sink.Write(ctx, b); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		q, err := store.With(tx)
		if err != nil {
			return err
		}
		ours, err := q.DeadLetterReplayed(ctx, l.ID)
		if err != nil {
			return err
		}
		if !ours {
			return errors.New("another process has replayed it")
		}
		if p.target.txSink == nil || len(out.rows) == 0 {
			return nil
		}
		if err := p.target.txSink.WriteTx(ctx, out.rows); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	})
}

// decodePayload reads what is known of a record. What the engine has written is a T.
// What a source has said, where the record was bad, may have other names for its
// fields, as the columns of a file, or be any text: it must not become a T in which
// something is missing.
func decodePayload[T any](l *DeadLetterRecord, row *T) error {
	switch {
	case l.Stage != StageRead:
		return json.Unmarshal(l.Payload, row)
	case bytes.HasPrefix(bytes.TrimSpace(l.Payload), []byte{'"'}):
		return errors.New("it failed when it was read, and nothing but its text is known")
	default:
		return decodeStrict(l.Payload, row)
	}
}
