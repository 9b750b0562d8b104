package dataflowpgx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/jackc/pgx/v5"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/driverkit"
	"github.com/activedataflow/dataflow/internal/sqlstate"
)

// RunClaim claims one run in the caller's transaction.
func (q *queries) RunClaim(ctx context.Context, p *dataflow.RunClaimParams) (*dataflow.Claim, error) {
	var b pgx.Batch
	b.Queue(sqlByIndexes)
	answers := q.queueClaims(&b, claimOne, math.MaxInt32, []*dataflow.RunClaimParams{p})
	err := q.db.SendBatch(ctx, &b).Close()
	if isUniqueViolation(err) {
		return nil, dataflow.ErrAlreadyRunning
	}
	if err != nil {
		return nil, err
	}
	return answers[0].Claim, nil
}

// EndAndClaim ends and claims runs in one round trip and one transaction.
func (s *store) EndAndClaim(ctx context.Context, ends []*dataflow.RunEndParams, claims []*dataflow.RunClaimParams) ([]dataflow.EndAnswer, []dataflow.ClaimAnswer, error) {
	var b pgx.Batch
	b.Queue(sqlByIndexes)
	narrow := s.pool.narrow.Load()
	ended, err := s.queueEnds(&b, ends)
	if err != nil {
		return nil, nil, err
	}
	var claimed []dataflow.ClaimAnswer
	if len(claims) > 0 {
		claimed = s.queueClaims(&b, claimMany, cmp.Or(claims[0].Suspect, math.MaxInt32), claims)
	}
	if err := s.db.SendBatch(ctx, &b).Close(); err != nil {
		return nil, nil, sqlstate.Explain(fmt.Errorf("end and claim runs: %w", s.pool.lacks(narrow, lostAtCommit(ctx, err))))
	}
	return ended, claimed, nil
}

// insertWait is how long InsertAndClaim waits for another transaction that adds the same run, or has locked a
// flow. Whoever waits longer does so alone.
const insertWait = "set local lock_timeout = 50"

// InsertAndClaim adds and claims runs in one transaction.
func (s *store) InsertAndClaim(ctx context.Context, ps []*dataflow.RunInsertParams, claims []*dataflow.RunClaimParams) ([]dataflow.InsertAnswer, error) {
	answers := make([]dataflow.InsertAnswer, len(ps))
	begin := s.begin
	begin.BeginQuery = cmp.Or(begin.BeginQuery, "begin") + "; " + insertWait
	tx, err := s.reserve.pick(ctx).BeginTx(ctx, begin)
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", lostAtBegin(ctx, err))
	}
	err = s.commit(ctx, tx, func(ctx context.Context, _ dataflow.Tx) error {
		q := &queries{store: s, db: tx}
		runs, err := q.RunInsertMany(ctx, ps)
		if err != nil {
			return err
		}
		var added []*dataflow.RunClaimParams
		var places []int
		for i, run := range runs {
			if answers[i].Run = run; run != nil {
				claims[i].RunID = run.ID
				added, places = append(added, claims[i]), append(places, i)
			}
		}
		if len(added) == 0 {
			return nil
		}
		var b pgx.Batch
		b.Queue(sqlByIndexes)
		claimed := q.queueClaims(&b, claimMany, cmp.Or(claims[0].Suspect, math.MaxInt32), added)
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		for i, a := range claimed {
			answers[places[i]].ClaimAnswer = a
		}
		return nil
	})
	return answers, err
}

// queueClaims queues the statements of claims, by a form of sqlClaim. The answers are there when the batch is
// closed. The worker, the lease and the version of the first are those of all. A run that has lost as many
// workers as suspect is busy.
func (q *queries) queueClaims(b *pgx.Batch, sql claimSQL, suspect int, claims []*dataflow.RunClaimParams) []dataflow.ClaimAnswer {
	n := len(claims)
	ids, flows, slots, backfills, restart := make([]int64, n), make([]int64, n), make([]int, n), make([]int, n), make([]bool, n)
	answers, seen := make([]dataflow.ClaimAnswer, n), make(map[int64]bool, n)
	for i, p := range claims {
		ids[i], flows[i], slots[i], backfills[i], restart[i] = p.RunID, p.FlowID, max(p.Slots, 1), p.Backfills, p.Restart
		if seen[p.RunID] { // two jobs of one run
			answers[i].Busy, ids[i] = true, 0
		}
		seen[p.RunID] = true
	}
	first := claims[0]
	if sql.group != "" {
		b.Queue(q.store.text(sql.group), first.RunID)
	}
	b.Queue(q.store.text(sql.lock), ids, flows)
	b.Queue(q.store.text(sql.claim), ids, slots, backfills, restart, flows, first.Worker, first.Lease.Microseconds(), first.CodeVersion, suspect).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var n int
			answer, err := scanClaim(rows, &n)
			if err != nil {
				return err
			}
			answers[n-1] = answer
		}
		return nil
	})
	if sql.ask != "" {
		b.Queue(q.store.text(sql.ask), first.RunID, slots[0], backfills[0], first.Lease.Microseconds())
	}
	return answers
}

// scanClaim reads a row of sqlClaim. That of a busy run has its number alone.
func scanClaim(rows pgx.Rows, n *int) (dataflow.ClaimAnswer, error) {
	if rows.RawValues()[0] == nil {
		return dataflow.ClaimAnswer{Busy: true}, scanLast(rows, n)
	}
	claim := &dataflow.Claim{}
	var cursor *string
	var err error
	claim.Run, err = scanRun(rows, &claim.Seq, &cursor, &claim.SetSeq, n)
	claim.Cursor = rawJSON(cursor)
	return dataflow.ClaimAnswer{Claim: claim}, err
}

// RunEnd ends one run in the caller's transaction.
func (q *queries) RunEnd(ctx context.Context, p *dataflow.RunEndParams) (*dataflow.Run, error) {
	narrow := q.store.pool.narrow.Load()
	message, history, err := driverkit.EndTexts(storableEnd(narrow, p))
	if err != nil {
		return nil, err
	}
	run, err := scanRun(q.db.QueryRow(ctx, q.store.text(sqlRunEnd),
		p.RunID, p.LeaseNumber, string(p.State), p.Delay.Microseconds(), p.Refund, message, history, p.Rescue))
	if errors.Is(err, dataflow.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented: the claim has lost the run
	}
	switch {
	case err != nil:
		return run, q.store.pool.lacks(narrow, err)
	case run.Scope != "": // the outcome of a backfill is not the flow's
		return run, nil
	case p.Refund && p.Works:
		_, err := q.db.Exec(ctx, q.store.text(sqlFlowWorks), p.FlowID)
		return run, err
	case p.Refund:
		return run, nil
	}
	run.Tripped, err = q.note(ctx, p, message)
	return run, err
}

// note records the outcome of a run in its flow, and returns whether that tripped the flow.
func (q *queries) note(ctx context.Context, p *dataflow.RunEndParams, message string) (bool, error) {
	var b pgx.Batch
	b.Queue(q.store.text(sqlFlowTripped), p.FlowID)
	b.Queue(q.store.text(sqlFlowNote), p.FlowID, string(p.State), message, p.RunID)
	results := q.db.SendBatch(ctx, &b)
	var before, after bool
	err := errors.Join(notFound(results.QueryRow().Scan(&before)), notFound(results.QueryRow().Scan(&after)), results.Close())
	return after && !before, err
}

// RunNext finds the run to wake.
func (q *queries) RunNext(ctx context.Context, ended *dataflow.Run, backfills int) (*dataflow.NextRun, error) {
	var next dataflow.NextRun
	err := q.db.QueryRow(ctx, q.store.text(sqlRunNext), ended.ID, ended.FlowID, ended.Scope, backfills).Scan(&next.ID, &next.MaxAttempts)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented: there is none
	}
	return &next, err
}

// queueEnds queues the statements of ends. The answers are there when the batch is closed. Runs of one flow are
// ended one after the other, each by a statement of its own, because each counts for the flow.
func (q *queries) queueEnds(b *pgx.Batch, ends []*dataflow.RunEndParams) ([]dataflow.EndAnswer, error) {
	answers := make([]dataflow.EndAnswer, len(ends))
	for _, round := range driverkit.EndRounds(ends) {
		args, err := endArgs(ends, round, q.store.pool.narrow.Load())
		if err != nil {
			return nil, err
		}
		b.Queue(q.store.text(sqlEndMany), args...).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var n int
				answer, err := scanEnd(rows, &n)
				if err != nil {
					return err
				}
				answers[round[n-1]] = answer
			}
			return nil
		})
	}
	return answers, nil
}

// endArgs returns the arguments of sqlEndMany for some of the ends.
func endArgs(ends []*dataflow.RunEndParams, some []int, narrow bool) ([]any, error) {
	n := len(some)
	ids, numbers, states, delays, refunds := make([]int64, n), make([]int64, n), make([]string, n), make([]int64, n), make([]bool, n)
	messages, histories, rescues, backfills := make([]string, n), make([]*string, n), make([]bool, n), make([]int, n)
	for i, at := range some {
		p := ends[at]
		message, history, err := driverkit.EndTexts(storableEnd(narrow, p))
		if err != nil {
			return nil, err
		}
		ids[i], numbers[i], states[i], delays[i], refunds[i] = p.RunID, p.LeaseNumber, string(p.State), p.Delay.Microseconds(), p.Refund
		messages[i], histories[i], rescues[i], backfills[i] = message, history, p.Rescue, p.Backfills
	}
	return []any{ids, numbers, states, delays, refunds, messages, histories, rescues, backfills}, nil
}

// scanEnd reads a row of sqlEndMany. That of a busy run has its number alone.
func scanEnd(rows pgx.Rows, n *int) (dataflow.EndAnswer, error) {
	if rows.RawValues()[0] == nil {
		return dataflow.EndAnswer{Busy: true}, scanLast(rows, n)
	}
	var tripped bool
	var next dataflow.NextRun
	run, err := scanRun(rows, &tripped, &next.ID, &next.MaxAttempts, n)
	if err != nil {
		return dataflow.EndAnswer{}, err
	}
	answer := dataflow.EndAnswer{Run: run}
	run.Tripped = tripped
	if next.ID != 0 {
		answer.Next = &next
	}
	return answer, nil
}

// scanLast reads the last column of a row, and leaves the others.
func scanLast(rows pgx.Rows, last any) error {
	dest := make([]any, len(rows.RawValues()))
	dest[len(dest)-1] = last
	return rows.Scan(dest...)
}
