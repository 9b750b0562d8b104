//go:build unix && chaos

package chaos_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow"
)

// orders are files that tell workers to die or to stop at a point. The worker that reaches the
// point and removes the file obeys the order.
type orders struct {
	dir string
	log *slog.Logger

	woken atomic.Bool // it woke up from a stop, and has not renewed its leases since
}

const (
	// stopLands is how long a signal needs to reach all threads of a process.
	stopLands = 50 * time.Millisecond

	// lateRenewal delays the first renewal of a worker that wakes up. Otherwise the renewal would
	// mostly find out that the run is lost before the worker tried to commit. The test is meant
	// for the fence.
	lateRenewal = time.Second
)

// orderFile is the file of an order: its name holds the action and the point.
func orderFile(dir, action, point string) string {
	return filepath.Join(dir, action+"@"+strings.ReplaceAll(point, "/", "-"))
}

const (
	actionKill = "kill"
	actionStop = "stop"
	actionLose = "lose" // the answer to a statement that has been committed
)

// reach obeys the orders for a point.
func (o *orders) reach(point string) {
	if os.Remove(orderFile(o.dir, actionKill, point)) == nil {
		o.log.Warn("chaos: killing myself", slog.String("point", point))
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until the signal arrives
	}
	if os.Remove(orderFile(o.dir, actionStop, point)) == nil {
		o.log.Warn("chaos: stopping myself", slog.String("point", point))
		o.woken.Store(true)
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-time.After(stopLands)
	}
}

// lose obeys an order to lose an answer.
func (o *orders) lose(point string) error {
	if os.Remove(orderFile(o.dir, actionLose, point)) == nil {
		o.log.Warn("chaos: losing an answer", slog.String("point", point))
		return errAnswerLost
	}
	return nil
}

var errAnswerLost = errors.New("chaos: the connection broke after the commit")

// damaged is a driver whose statements and transactions are points:
//
//	claim/before  claim/uncommitted  claim/committed
//	checkpoint/…, slice/…, finish/…, rescue/… likewise
//	after/uncommitted  after/committed
//	renew/before  renew/after
//	claims/committed  ends/committed  starts/committed
//
// The flows have the points transform/after, which is outside of a transaction, write/before and
// write/after.
//
// "uncommitted" is the point where a transaction has done all its work; for claims and ends that are
// sent together, it is a moment while they are on their way. "committed" is the point after the
// database has confirmed the commit. "claims" and "ends" are groups of several runs, "ends" without claims.
// "starts" are several runs that are added and claimed together, to be worked where they were added. "after"
// is the start of a flow that runs after another one. A slice is the checkpoint that hands the run over to
// the next job.
type damaged struct {
	dataflow.Driver
	orders *orders
}

func (d damaged) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	damaged := damagedStore{Store: s, orders: d.orders}
	together, commits := s.(dataflow.CheckpointCommitter)
	starter, starts := s.(dataflow.InsertClaimer)
	if commits && starts { // Postgres
		return damagedCommitter{damagedStore: damaged, together: together, starter: starter}, err
	}
	return damaged, err
}

type damagedStore struct {
	dataflow.Store
	orders *orders
}

// damagedTx remembers what its transaction has done.
type damagedTx struct {
	dataflow.Tx
	did string
}

func (s damagedStore) InTx(ctx context.Context, fn func(ctx context.Context, tx dataflow.Tx) error) error {
	own := &damagedTx{}
	err := s.Store.InTx(ctx, func(ctx context.Context, tx dataflow.Tx) error {
		own.Tx = tx
		err := fn(ctx, own)
		if err == nil && own.did != "" {
			s.orders.reach(own.did + "/uncommitted")
		}
		return err
	})
	if err == nil && own.did != "" {
		s.orders.reach(own.did + "/committed")
	}
	return err
}

// damagedCommitter sends its checkpoints together with the commit. At its point "uncommitted",
// neither has been sent, and the run is not locked yet.
type damagedCommitter struct {
	damagedStore
	together dataflow.CheckpointCommitter
	starter  dataflow.InsertClaimer
}

// InsertAndClaim is the point "starts" if it has begun several runs.
func (s damagedCommitter) InsertAndClaim(ctx context.Context, ps []*dataflow.RunInsertParams, claims []*dataflow.RunClaimParams) ([]dataflow.InsertAnswer, error) {
	answers, err := s.starter.InsertAndClaim(ctx, ps, claims)
	begun := 0
	for _, a := range answers {
		if err == nil && a.Claim != nil {
			begun++
		}
	}
	if begun >= several {
		s.orders.reach("starts/committed")
		err = s.orders.lose("starts/committed")
	}
	return answers, err
}

func (s damagedCommitter) BeginCheckpoint(ctx context.Context) (context.Context, dataflow.CheckpointTx, error) {
	ctx, tx, err := s.together.BeginCheckpoint(ctx)
	return ctx, damagedCheckpointTx{CheckpointTx: tx, orders: s.orders}, err
}

// slowCommit is how long a worker that writes ahead waits before it commits.
const slowCommit = 10 * time.Millisecond

type damagedCheckpointTx struct {
	dataflow.CheckpointTx
	orders *orders
}

func (t damagedCheckpointTx) Commit(ctx context.Context, p *dataflow.RunCheckpointParams) func() (dataflow.LeaseStatus, error) {
	return func() (dataflow.LeaseStatus, error) { return t.commit(ctx, p) }
}

func (t damagedCheckpointTx) commit(ctx context.Context, p *dataflow.RunCheckpointParams) (dataflow.LeaseStatus, error) {
	if writesAhead && !pause(ctx, slowCommit) {
		return dataflow.LeaseStatus{}, t.Rollback(ctx, ctx.Err())
	}
	t.orders.reach("checkpoint/before")
	t.orders.reach("checkpoint/uncommitted")
	status, err := t.CheckpointTx.Commit(ctx, p)()
	if err == nil && status.Held {
		t.orders.reach("checkpoint/committed")
	}
	return status, err
}

func (s damagedStore) With(tx dataflow.Tx) (dataflow.Queries, error) {
	q, err := s.Store.With(tx)
	own, ok := tx.(*damagedTx)
	if err != nil || !ok {
		return q, err
	}
	return damagedQueries{Queries: q, tx: own, orders: s.orders}, nil
}

// several is how many runs a group has at least at the points "claims" and "ends".
const several = 10

func (s damagedStore) EndAndClaim(ctx context.Context, ends []*dataflow.RunEndParams, claims []*dataflow.RunClaimParams) (ended []dataflow.EndAnswer, claimed []dataflow.ClaimAnswer, err error) {
	sent := map[string]bool{"finish": len(ends) > 0, "claim": len(claims) > 0}
	at := func(place string) {
		for _, what := range []string{"finish", "claim"} {
			if sent[what] {
				s.orders.reach(what + "/" + place)
			}
		}
	}
	at("before")
	done := make(chan struct{})
	go func() {
		defer close(done)
		ended, claimed, err = s.Store.EndAndClaim(ctx, ends, claims)
	}()
	<-time.After(time.Millisecond)
	at("uncommitted")
	<-done
	if err != nil {
		return ended, claimed, err
	}
	finished := 0
	for _, a := range ended {
		if a.Run != nil {
			finished++
		}
	}
	begun := 0
	for _, a := range claimed {
		if a.Claim != nil {
			begun++
		}
	}
	sent = map[string]bool{"finish": finished > 0, "claim": begun > 0}
	at("committed")
	switch {
	case begun >= several:
		s.orders.reach("claims/committed")
		err = s.orders.lose("claims/committed")
	case finished >= several && len(claims) == 0: // otherwise claims would be lost too
		s.orders.reach("ends/committed")
		err = s.orders.lose("ends/committed")
	}
	return ended, claimed, err
}

// Classify takes an answer that was lost for what a broken connection is.
func (s damagedStore) Classify(err error) dataflow.Fault {
	if errors.Is(err, errAnswerLost) {
		return dataflow.FaultUnavailable
	}
	return s.Store.Classify(err)
}

func (s damagedStore) RunRenew(ctx context.Context, claims []dataflow.LeaseRef, lease time.Duration) ([]dataflow.LeaseStatus, error) {
	if s.orders.woken.Swap(false) {
		pause(ctx, lateRenewal)
	}
	s.orders.reach("renew/before")
	statuses, err := s.Store.RunRenew(ctx, claims, lease)
	s.orders.reach("renew/after")
	return statuses, err
}

type damagedQueries struct {
	dataflow.Queries
	tx     *damagedTx
	orders *orders
}

func (q damagedQueries) RunClaim(ctx context.Context, p *dataflow.RunClaimParams) (*dataflow.Claim, error) {
	q.orders.reach("claim/before")
	claim, err := q.Queries.RunClaim(ctx, p)
	if claim != nil {
		q.tx.did = "claim"
	}
	return claim, err
}

func (q damagedQueries) AfterDone(ctx context.Context, due *dataflow.DueAfter) error {
	q.tx.did = "after"
	return q.Queries.AfterDone(ctx, due)
}

func (q damagedQueries) RunCheckpoint(ctx context.Context, p *dataflow.RunCheckpointParams) (dataflow.LeaseStatus, error) {
	q.orders.reach("checkpoint/before")
	status, err := q.Queries.RunCheckpoint(ctx, p)
	if status.Held {
		q.tx.did = "checkpoint"
	}
	return status, err
}

func (q damagedQueries) RunEnd(ctx context.Context, p *dataflow.RunEndParams) (*dataflow.Run, error) {
	var what string
	switch {
	case p.State == dataflow.RunSuccess:
		what = "finish"
	case p.Rescue:
		what = "rescue"
	case p.State == dataflow.RunPending && q.tx.did == "checkpoint":
		what = "slice"
	default:
		return q.Queries.RunEnd(ctx, p)
	}
	q.orders.reach(what + "/before")
	run, err := q.Queries.RunEnd(ctx, p)
	if run != nil {
		q.tx.did = what
	}
	return run, err
}
