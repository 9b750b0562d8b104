package dataflow

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/activedataflow/dataflow/internal/batch"
	"github.com/activedataflow/dataflow/internal/stored"
)

// errDryRun rolls back what a dry run has written.
var errDryRun = errors.New("it was a dry run")

// dryRunner takes some records through a flow's code, and reports what came of each.
type dryRunner struct {
	w              *batchWriter
	report         *DryRunReport
	places         []int // places[i] is where row i stands in the report's records
	delta          Counters
	kept           int64       // how many bad records would become dead letters
	reportsResults bool        // the sink reports each row's outcome
	wrote          []RowResult // wrote[j] is the outcome of output j
}

// dryRun does what an attempt does, and undoes its writes.
func (p *flowCode) dryRun(ctx context.Context, b base, f *Flow, params *DryRunParams, given bool) (*DryRunReport, error) {
	d := &dryRunner{report: &DryRunReport{Flow: f.Name, From: params.From}}
	quiet := *f
	policy := f.opts.OnBadRecord
	if policy == nil {
		policy = FailFast
	}
	quiet.opts.OnBadRecord = func(e *RecordError, n int64) Action {
		action := policy(e, n)
		if action == DeadLetter {
			d.kept++
		}
		d.bad(e, action)
		return Drop // so that the dry run goes on
	}
	a := &attempt{
		base: b, gate: newGate(), flow: &quiet, run: &Run{FlowID: f.ID, FlowName: f.Name, Params: params.Params},
		log: slog.New(slog.DiscardHandler), place: place{cursor: params.From}, preview: true, begins: given,
	}
	d.w = &batchWriter{p: p, a: a}
	if p.target.kind == toTx {
		d.w.setSink(p.target.sink)
	}
	req, err := p.request(a)
	if err != nil {
		return nil, err
	}
	if err := d.read(ctx, req, params.Limit); err != nil {
		return nil, err
	}
	return d.report, d.rest(ctx)
}

// read reads some records.
func (d *dryRunner) read(ctx context.Context, req any, limit int) error {
	b := d.w.p.types.newRead()
	reader := d.w.p.newReader(batch.NewSize(limit, 0), req)
	reader.resumable = false // the batch ends anywhere
	err := reader.read(ctx, ctx, func(read *readBatch) bool {
		b = read
		d.report.More = read.size() == limit
		return false
	})
	if err != nil {
		return err
	}
	d.w.batch = b
	bad := 0
	for i := 0; i < b.count || bad < len(b.bad); {
		if bad < len(b.bad) && b.badAt[bad] == i {
			d.report.Records = append(d.report.Records, DryRunRecord{Key: b.bad[bad].Key, Before: textOf(b.bad[bad].Raw)})
			bad++
			continue
		}
		d.places = append(d.places, len(d.report.Records))
		d.report.Records = append(d.report.Records, DryRunRecord{Key: b.key(i), Before: rawOf(b.rows.record(i))})
		i++
	}
	if !b.resume || !d.w.p.resumable() {
		return nil
	}
	d.report.To, err = b.cursors.lastJSON()
	return err
}

// rest transforms and writes what was read.
func (d *dryRunner) rest(ctx context.Context) error {
	made := d.w.p.types.newMade()
	d.w.out, d.w.rows = made.out, made.rows
	if d.w.batch.count > 0 {
		if err := d.w.p.apply(ctx, d.w.batch, made); err != nil {
			return fmt.Errorf("transform: %w", err)
		}
		made.out.dropFailed(made.rows)
	}
	var err error
	if d.delta, err = d.w.account(ctx); err != nil {
		return err
	}
	for j, i := range made.out.origin {
		r := &d.report.Records[d.places[i]]
		r.After = append(r.After, rawOf(made.rows.record(j)))
	}
	d.wrote = make([]RowResult, made.rows.len())
	if d.w.txSink != nil || d.w.p.replaces() {
		if err := d.writeAndUndo(ctx); err != nil {
			return err
		}
	}
	d.outcomes()
	d.delta.Dropped -= d.kept
	d.delta.DeadLettered += d.kept
	d.report.Counters = d.delta
	return nil
}

// writeAndUndo writes the outputs in a transaction and rolls it back.
func (d *dryRunner) writeAndUndo(ctx context.Context) error {
	err := d.w.a.store.InTx(ctx, func(ctx context.Context, tx Tx) error {
		if d.w.p.replaces() {
			sink, err := d.w.p.beginReplacement(ctx, d.w.a.flow.Name+"\tdry run") // a name that no flow can have
			if err != nil {
				return err
			}
			d.w.setSink(sink)
		}
		d.reportsResults = d.w.powers.results
		if d.w.rows.len() > 0 {
			part := divider{w: d.w, tx: tx, delta: &d.delta}
			if err := d.writePart(ctx, &part, 0, d.w.rows.len()); err != nil {
				return err
			}
		}
		return errDryRun
	})
	d.report.Written = errors.Is(err, errDryRun)
	if d.report.Written {
		return nil
	}
	return err
}

// writePart writes rows[from:to], and notes what became of them. It divides as the divider
// does, and keeps the results.
func (d *dryRunner) writePart(ctx context.Context, part *divider, from, to int) error {
	err := d.w.a.store.Savepoint(ctx, part.tx, func() error {
		return guard(func() error { return d.w.writeRows(ctx, from, to, &d.delta) })
	})
	origin := d.w.out.origin
	switch {
	case err == nil:
		copy(d.wrote[from:to], d.w.results)
		return nil
	case !d.w.divisible(err):
		return d.w.writeError(from, to, err)
	case origin[from] == origin[to-1]:
		return part.write(ctx, from, to) // which fails too, and applies the policy
	}
	middle := part.middle(from, to)
	if err := d.writePart(ctx, part, from, middle); err != nil {
		return err
	}
	return d.writePart(ctx, part, middle, to)
}

// bad notes a bad record in the report, which it finds by the record's key.
func (d *dryRunner) bad(e *RecordError, action Action) {
	i := slices.IndexFunc(d.report.Records, func(r DryRunRecord) bool { return r.Key == e.Key && r.Outcome == "" })
	if i < 0 {
		return
	}
	r := &d.report.Records[i]
	r.Outcome, r.Stage, r.Error, r.Action = DryRunBad, e.Stage, e.Err.Error(), action
}

// outcomes sets what would become of the records that are not bad.
func (d *dryRunner) outcomes() {
	results := make(map[int][]RowResult)
	for j, i := range d.w.out.origin {
		results[i] = append(results[i], d.wrote[j])
	}
	for i, at := range d.places {
		r := &d.report.Records[at]
		if r.Outcome != "" {
			continue
		}
		rows := results[i]
		switch {
		case len(rows) == 0:
			r.Outcome = DryRunFiltered
		case !d.reportsResults:
			r.Outcome = DryRunWrite
		case !slices.ContainsFunc(rows, func(w RowResult) bool { return w != RowRedundant }):
			r.Outcome = DryRunRedundant
		case slices.Contains(rows, RowUpdated):
			r.Outcome = DryRunUpdate
		default:
			r.Outcome = DryRunInsert
		}
	}
}

// textOf returns what is known of a bad record: JSON as it is, any other text as a string.
func textOf(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || json.Valid(raw) {
		return raw
	}
	return rawOf(stored.Clean(string(raw)))
}

// rawOf returns a value as JSON, or as a JSON string if it cannot be marshalled.
func rawOf(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		data, _ = json.Marshal(fmt.Sprintf("%+v", v)) // a string can always be marshalled
	}
	return data
}
