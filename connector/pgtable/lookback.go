package pgtable

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowmap"
)

// Rereads reports whether a run also reads rows that earlier runs have read.
func (s *keysetSource[T]) Rereads() bool { return s.of.lookback > 0 }

func (s *keyset) validateLookback() error {
	if _, xids := s.guard.(XID8); xids && s.lookback > 0 {
		return &dataflow.ConfigError{Field: "Query.Lookback", Reason: "the key begins with a transaction id, as Query.LateCommits (pgtable.XID8) says, and not with a time: leave Lookback out, as that guard misses no late commit"}
	}
	plan := s.fields
	if s.fieldsErr != nil {
		plan = nil
	}
	return s.query.ValidateLookback(s.lookback, plan)
}

// lookbackTo returns the source of the rows of a lookback, up to the cursor before which it looks. No
// guard holds them back: those that come too late are for the next run's lookback.
func (s *keyset) lookbackTo(high Cursor) *keyset {
	of := *s.upTo(dataflow.Request[Cursor]{Bounded: true, Until: high})
	of.guard = Unguarded{}
	return &of
}

// lookbackFrom returns the key of the last row before the lookback, nil for the beginning.
func (s *keyset) lookbackFrom(ctx context.Context, high Cursor) (from Cursor, err error) {
	if _, err := s.query.Start(true, high); err != nil {
		return nil, err
	}
	err = retryStale(s.pool, func() (err error) {
		from, err = s.rowBefore(ctx, high)
		return err
	})
	return from, transient(ctx, s.pool, err)
}

// rowBefore returns the key of the last row that is more than the lookback before a cursor.
func (s *keyset) rowBefore(ctx context.Context, high Cursor) (from Cursor, err error) {
	r := &reader{keyset: s}
	defer func() { err = r.explainCursor(ctx, high, err) }()
	if _, err := r.describe(ctx, high); err != nil {
		return nil, err
	}
	typ, ok := map[uint32]string{pgtype.TimestamptzOID: withZone, pgtype.TimestampOID: zoneless, pgtype.DateOID: dateOnly}[r.keys[0].DataTypeOID]
	if !ok {
		return nil, r.query.LookbackTypeError("of type " + r.keys[0].text)
	}
	n := len(r.args)
	// An interval of microseconds is an exact time: no change of the clocks lengthens it.
	before := r.query.Where(fmt.Sprintf("%s < ($%d::text::%[3]s - $%[4]d::bigint * interval '1 microsecond')::%[3]s", rowmap.Qualified(r.query.Key)[0], n+1, typ, n+2), 2)
	micros := int64(s.lookback / time.Microsecond)
	if s.lookback%time.Microsecond > 0 {
		micros++
	}
	return r.lastRow(ctx, before.LastQuery(r.keyList(), false), append(slices.Clone(r.args), r.now(high)[0], micros))
}
