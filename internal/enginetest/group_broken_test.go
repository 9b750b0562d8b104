package enginetest_test

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// cutter breaks one connection that has carried a commit: the server has confirmed it, and the client
// does not learn that.
type cutter struct {
	mu   sync.Mutex // guards the fields below
	sign string     // what the answer to break holds; "": none is broken
	cuts int
}

func (c *cutter) arm(sign string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sign = sign
}

// cut reports whether this is a part of the answer to break.
func (c *cutter) cut(part []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sign == "" || !bytes.Contains(part, []byte(c.sign)) {
		return false
	}
	c.sign = ""
	c.cuts++
	return true
}

func (c *cutter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

// idle ends the server's answer: it is ready, and in no transaction.
var idle = []byte{'Z', 0, 0, 0, 5, 'I'}

func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil || !c.cutter.cut(b[:n]) {
		return n, err
	}
	for answer := bytes.Clone(b[:n]); !bytes.HasSuffix(answer, idle); answer = append(answer, b[:n]...) {
		if n, err = c.Conn.Read(b); err != nil {
			return 0, err
		}
	}
	_ = c.Close()
	return 0, net.ErrClosed
}

// cutStore makes its claims and ends by connections that a cutter breaks.
type cutDriver struct {
	dataflow.Driver
	far  dataflow.Store
	onIt func(ends, claims int) // before each group
}

type cutStore struct {
	dataflow.Store
	driver *cutDriver
}

func (d *cutDriver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return cutStore{Store: s, driver: d}, err
}

func (s cutStore) EndAndClaim(ctx context.Context, ends []*dataflow.RunEndParams, claims []*dataflow.RunClaimParams) ([]dataflow.EndAnswer, []dataflow.ClaimAnswer, error) {
	s.driver.onIt(len(ends), len(claims))
	return s.driver.far.EndAndClaim(ctx, ends, claims)
}

// counted is a source with one record, which counts its reads.
type counted struct{ reads *atomic.Int64 }

func (c counted) Read(context.Context, dataflow.Request[int64]) iter.Seq2[dataflow.Item[int, int64], error] {
	c.reads.Add(1)
	return func(yield func(dataflow.Item[int, int64], error) bool) {
		yield(dataflow.Item[int, int64]{Value: 1, Cursor: 7, Resume: true}, nil)
	}
}

// A connection breaks just after the commit of a group of claims, or of ends. Each run is worked
// once, and ended once. Only those whose claims are lost are taken over, after the lease.
func TestGroup_ConnectionBreaks(t *testing.T) {
	t.Parallel()
	for name, claims := range map[string]bool{"Claims": true, "Ends": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			groupBreaks(t, claims)
		})
	}
}

func groupBreaks(t *testing.T, claims bool) {
	t.Helper()
	const worker, flows, several = "the worker of this test", 12, 3
	lease := 10 * time.Second
	if claims { // those whose answer is lost are claimed again when their lease is over
		lease = time.Second
	}
	direct := template.Postgres(t)
	db := onPool(t, direct)
	c := &cutter{}
	config := direct.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &cutConn{Conn: conn, cutter: c}, err
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	defer pool.Close()
	far, err := dataflowpgx.New(pool).Store(dataflow.StoreOptions{Lease: lease})
	require.NoError(t, err)
	broken := 0 // runs of the group
	driver := &cutDriver{Driver: db.driver, far: far, onIt: func(ends, claimed int) {
		n := claimed
		if !claims && claimed == 0 {
			n = ends
		}
		if (claims || claimed == 0) && n >= several && broken == 0 {
			broken = n
			c.arm(worker)
		}
	}}
	source := counted{reads: &atomic.Int64{}}
	conf := &dataflow.Config{ID: worker, Lease: lease, MaxWorkers: flows, PollInterval: db.pollInterval(), Logger: slog.New(slog.DiscardHandler)}
	for i := range flows {
		conf.Flows = append(conf.Flows, dataflow.NewFlow(fmt.Sprint("flow ", i), source, dataflow.Identity[int](), dataflow.ToTx(discard{}), nil))
	}
	client, err := dataflow.NewClient(driver, conf)
	require.NoError(t, err)
	db.started(client)
	runs := 0
	for c.count() == 0 {
		for i := range flows {
			_, err := client.Enqueue(t.Context(), fmt.Sprint("flow ", i), nil)
			require.NoError(t, err)
		}
		runs += flows
		require.Eventually(t, func() bool {
			return db.number("select count(*) from dataflow_run where state = 'success'") == int64(runs)
		}, patience, 10*time.Millisecond)
	}
	db.stop(client)
	require.EqualValues(t, runs, source.reads.Load(), "each run was worked once")
	require.Zero(t, db.number("select count(*) from dataflow_run where read <> 1 or attempt <> 1"))
	again := db.number("select count(*) from dataflow_run where lease_no > 1")
	if claims {
		require.Positive(t, again)
		require.LessOrEqual(t, again, int64(broken))
	} else {
		require.Zero(t, again)
	}
}
