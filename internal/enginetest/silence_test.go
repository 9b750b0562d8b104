package enginetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// quietProxy is between a pool and its server. It can go silent: it forwards nothing any more,
// and leaves its connections open.
type quietProxy struct {
	listener net.Listener
	server   func() (net.Conn, error)

	mu     sync.Mutex // guards the fields below
	budget int        // how many bytes of answers it still forwards; negative: all
	hushed int        // so many of the connections are silent for good
	conns  []net.Conn
}

// throughProxy returns a pool that reaches the server of another through a proxy.
func throughProxy(t *testing.T, direct *pgxpool.Pool, size int32) (*quietProxy, *pgxpool.Pool) {
	t.Helper()
	config := direct.Config()
	host, port, dial := config.ConnConfig.Host, config.ConnConfig.Port, config.ConnConfig.DialFunc
	network, address := "tcp", net.JoinHostPort(host, fmt.Sprint(port))
	if host[0] == '/' {
		network, address = "unix", fmt.Sprintf("%s/.s.PGSQL.%d", host, port)
	}
	p := &quietProxy{budget: -1, server: func() (net.Conn, error) { return dial(context.WithoutCancel(t.Context()), network, address) }}
	var err error
	p.listener, err = net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // of a test
	require.NoError(t, err)
	go p.serve()
	t.Cleanup(p.close)
	config.MaxConns, config.MinConns, config.MinIdleConns = size, 0, 0
	config.ConnConfig.Fallbacks = nil
	config.ConnConfig.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", p.listener.Addr().String())
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	return p, pool
}

func (p *quietProxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := p.server()
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		number := len(p.conns)
		p.mu.Unlock()
		go func() {
			_, _ = io.Copy(server, client)
			_ = server.Close()
		}()
		go p.answer(number, client, server)
	}
}

// answer forwards the server's answers while there is a budget.
func (p *quietProxy) answer(number int, client, server net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := server.Read(b)
		if err != nil {
			_ = client.Close()
			return
		}
		p.mu.Lock()
		silent := p.budget == 0 || number <= p.hushed
		if p.budget > 0 {
			p.budget = max(p.budget-n, 0)
		}
		p.mu.Unlock()
		if silent {
			return // and leaves the connection open
		}
		if _, err := client.Write(b[:n]); err != nil {
			return
		}
	}
}

// silentAfter goes silent after so many bytes of answers. Negative: never.
func (p *quietProxy) silentAfter(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.budget = bytes
}

// hush silences the connections that there are.
func (p *quietProxy) hush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hushed = len(p.conns)
}

func (p *quietProxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
}

// silentFlow is a flow from a table that is reached through a proxy.
type silentFlow struct {
	*pooled
	proxy *quietProxy
}

func newSilentFlow(t *testing.T, source func(*pgxpool.Pool) *dataflow.Flow) *silentFlow {
	t.Helper()
	direct := template.Postgres(t)
	_, err := direct.Exec(t.Context(), `create table target0 (id bigint primary key, v text not null)`)
	require.NoError(t, err)
	proxy, far := throughProxy(t, direct, 2)
	f := &silentFlow{proxy: proxy, pooled: &pooled{T: t, watch: direct, pool: direct, names: []string{"far"}}}
	f.client, err = dataflow.NewClient(dataflowpgx.New(direct), &dataflow.Config{Flows: []*dataflow.Flow{source(far)}, PollInterval: 100 * time.Millisecond})
	require.NoError(t, err)
	return f
}

const farRows = `select n::bigint as id, 'value ' || n as v from generate_series(1, 20000) n`

// TestSilence_Network has a network that goes silent in the middle of a read. The run says so,
// its attempt ends with an error that says so too, and the next attempt reads everything.
func TestSilence_Network(t *testing.T) {
	t.Parallel()
	for name, rt := range runtimes {
		for kind, source := range map[string]func(*pgxpool.Pool, *dataflow.FlowOptions) *dataflow.Flow{
			"select": func(pool *pgxpool.Pool, opts *dataflow.FlowOptions) *dataflow.Flow {
				return dataflow.NewFlow("far", pgtable.Select[number](pool, farRows), dataflow.Identity[number](), pgtable.Upsert[number]("target0", "id"), opts)
			},
			"keyset": func(pool *pgxpool.Pool, opts *dataflow.FlowOptions) *dataflow.Flow {
				return dataflow.NewFlow("far", pgtable.Keyset[number](pool, pgtable.Query{SQL: farRows, Key: []string{"id"}, PageSize: 1000}),
					dataflow.Identity[number](), pgtable.Upsert[number]("target0", "id"), opts)
			},
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				t.Parallel()
				opts := dataflow.FlowOptions{Runtime: rt, ReadTimeout: 4 * time.Second, MaxAttempts: 1000, Backoff: func(int) time.Duration { return 0 }}
				f := newSilentFlow(t, func(pool *pgxpool.Pool) *dataflow.Flow { return source(pool, &opts) })
				f.proxy.silentAfter(200_000)
				f.start()
				id := f.triggerAll()[0]
				var run *dataflow.Run
				var why *dataflow.Explanation
				require.Eventually(t, func() bool { // it says so from half of ReadTimeout on, and in the next attempt again
					var err error
					run, err = f.client.Run(t.Context(), id)
					require.NoError(t, err)
					if run.WaitsFor == "" {
						return false
					}
					why, err = f.client.Why(t.Context(), "far")
					require.NoError(t, err)
					return len(why.Causes) > 1 && why.Causes[1].Code == dataflow.CauseSilent
				}, patience, 20*time.Millisecond)
				require.Equal(t, `its source (pgtable.`+kind+`), which has said nothing; the read begins again after 4s (FlowOptions.ReadTimeout)`, run.WaitsFor)
				require.Regexp(t, fmt.Sprintf(`^Run %d waits for its source \(pgtable\.%s\), which has said nothing; .*, since 20.* ago\)\.$`, id, kind), why.Causes[1].Text)

				f.proxy.silentAfter(-1)
				run, err := f.client.Wait(t.Context(), id)
				require.NoError(t, err)
				require.NotEmpty(t, run.Errors)
				require.Regexp(t, `^read: the source \(pgtable\.`+kind+`\) has said nothing since 20\S+Z, for longer than FlowOptions.ReadTimeout, 4s: its server or the network may be silent; the read begins again`, run.Errors[0].Error)
				require.NotContains(t, run.Errors[0].Error, "BatchSize")
				var n, sum int64
				require.NoError(t, f.watch.QueryRow(t.Context(), `select count(*), sum(id) from target0 where v = 'value ' || id`).Scan(&n, &sum))
				require.EqualValues(t, 20_000, n)
				require.EqualValues(t, 20_000*20_001/2, sum)
				require.Empty(t, run.WaitsFor)
			})
		}
	}
}

// TestSilence_Client has the connections of a started client go silent, as when a firewall forgets them or a server
// vanishes. Its loop finds that out, and goes on with new ones.
func TestSilence_Client(t *testing.T) {
	t.Parallel()
	pool := template.Postgres(t)
	direct := onPool(t, pool)
	direct.table("numbers")
	proxy, far := throughProxy(t, pool, 4)
	logs := newLogs()
	flow := flowTo("numbers", 30, dataflow.Identity[int](), &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}})
	client, err := dataflow.NewClient(dataflowpgx.New(far), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: logs.logger(), Lease: time.Second, PollOnly: true})
	require.NoError(t, err)
	require.NoError(t, client.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })

	proxy.hush()
	other := direct.client(nil)
	run, err := other.Enqueue(t.Context(), "numbers", nil)
	require.NoError(t, err)
	run, err = other.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunSuccess, run.State)
	direct.exactly(30)
	require.NotEmpty(t, logs.lines("the database has not answered within 2s: its server or the network may be silent"))
}

// sayings is a source that says what a function does.
type sayings func(ctx context.Context, from int, say func(id int64) bool) error

func (s sayings) Describe() dataflow.Description { return dataflow.Description{Type: "sayings"} }

func (s sayings) Read(ctx context.Context, r dataflow.Request[int]) iter.Seq2[dataflow.Item[number, int], error] {
	return func(yield func(dataflow.Item[number, int], error) bool) {
		err := s(ctx, r.From, func(id int64) bool {
			return yield(dataflow.Item[number, int]{Value: number{ID: id, V: "v"}, Cursor: int(id), Resume: true}, nil)
		})
		if err != nil {
			yield(dataflow.Item[number, int]{}, err)
		}
	}
}

// said returns a flow from sayings, and executes it.
func said(t *dbT, source sayings, write func() error, opts dataflow.FlowOptions) (*dataflow.Run, error) {
	t.Helper()
	sink := dataflow.To(dataflow.SinkFunc[number](func(context.Context, dataflow.SinkBatch[number]) error { return write() }))
	if opts.Runtime == nil {
		opts.Runtime = dataflow.Heartbeat{BatchSize: 10}
	}
	opts.MaxAttempts = 1
	client := t.client(&dataflow.Config{Flows: []*dataflow.Flow{dataflow.NewFlow("said", source, dataflow.Identity[number](), sink, &opts)}})
	require.NoError(t, client.Register(t.Context()))
	f, err := client.Flow(t.Context(), "said")
	require.NoError(t, err)
	return f.Runtime.Execute(t.Context(), f)
}

func nothing() error { return nil }

// TestSilence_KeepsWhatWasRead commits what a source had said before it went silent.
func TestSilence_KeepsWhatWasRead(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, wait := range []time.Duration{0, 10 * time.Second} {
			run, err := said(t, func(ctx context.Context, _ int, say func(int64) bool) error {
				for id := range int64(15) {
					say(id + 1)
				}
				<-ctx.Done()
				return ctx.Err()
			}, nothing, dataflow.FlowOptions{ReadTimeout: 2 * time.Second, BatchWait: wait})
			require.ErrorContains(t, err, "the source (sayings) has said nothing since")
			require.NotContains(t, err.Error(), "left behind")
			require.EqualValues(t, 15, run.Counters.Written)
		}
	})
}

// TestSilence_IgnoresContext leaves a source behind that ignores its context.
func TestSilence_IgnoresContext(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, wait := range []time.Duration{0, time.Second} {
			goOn := make(chan struct{})
			_, err := said(t, func(_ context.Context, _ int, say func(int64) bool) error {
				say(1)
				<-goOn
				return nil
			}, nothing, dataflow.FlowOptions{ReadTimeout: time.Second, BatchWait: wait})
			close(goOn)
			require.ErrorContains(t, err, "the source (sayings) has said nothing since")
			require.ErrorContains(t, err, "it ignores its context, and its goroutine is left behind")
		}
	})
}

// TestSilence_SlowSink has a source that must wait for its sink. That is no silence.
func TestSilence_SlowSink(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		for _, wait := range []time.Duration{0, time.Minute} {
			const limit = 2 * time.Second
			slow := func() error { <-time.After(limit + limit/10); return nil }
			run, err := said(t, func(_ context.Context, _ int, say func(int64) bool) error {
				for id := range int64(30) {
					say(id + 1)
				}
				return nil
			}, slow, dataflow.FlowOptions{ReadTimeout: limit, BatchWait: wait})
			require.NoError(t, err)
			require.EqualValues(t, 30, run.Counters.Written)
		}
	})
}

// TestSilence_SaysLittle has a source that says something now and then.
func TestSilence_SaysLittle(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		run, err := said(t, func(_ context.Context, _ int, say func(int64) bool) error {
			for id := range int64(12) {
				<-time.After(250 * time.Millisecond)
				say(id + 1)
			}
			return nil
		}, nothing, dataflow.FlowOptions{ReadTimeout: 2 * time.Second})
		require.NoError(t, err)
		require.EqualValues(t, 12, run.Counters.Written)
	})
}

// TestSilence_Validate checks the setting.
func TestSilence_Validate(t *testing.T) {
	t.Parallel()
	source := sayings(func(context.Context, int, func(int64) bool) error { return errors.New("never read") })
	flow := dataflow.NewFlow("f", source, dataflow.Identity[number](), dataflow.To(dataflow.SinkFunc[number](func(context.Context, dataflow.SinkBatch[number]) error { return nil })), &dataflow.FlowOptions{ReadTimeout: time.Microsecond})
	_, err := dataflow.NewClient(dataflowpgx.New(template.Postgres(t)), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.ErrorContains(t, err, `Flows["f"].ReadTimeout: 1µs is less than a millisecond: use 1ms or more, 0 for the default, 5m0s, or -1 for no limit`)
}

// TestSilence_SlowParts has a transform or a sink that works on one batch for long, while the
// source waits or has ended. The run names the part that does not return, and not the source.
func TestSilence_SlowParts(t *testing.T) {
	t.Parallel()
	for name, records := range map[string]int64{"ended": 5, "waits": 100} {
		for _, part := range []string{"transform", "sink"} {
			t.Run(part+"/"+name, func(t *testing.T) {
				t.Parallel()
				onBoth(t, func(t *dbT) {
					goOn := make(chan struct{})
					stuck := func(of string) {
						if of == part {
							<-goOn
						}
					}
					source := sayings(func(_ context.Context, from int, say func(int64) bool) error {
						for id := int64(from); id < records && say(id+1); id++ {
						}
						return nil
					})
					transform := dataflow.Map(func(_ context.Context, n number) (number, error) { stuck("transform"); return n, nil })
					sink := dataflow.To(dataflow.SinkFunc[number](func(context.Context, dataflow.SinkBatch[number]) error { stuck("sink"); return nil }))
					logs := newLogs()
					client := t.client(&dataflow.Config{Logger: logs.logger(), Flows: []*dataflow.Flow{
						dataflow.NewFlow("said", source, transform, sink, &dataflow.FlowOptions{Runtime: dataflow.Heartbeat{BatchSize: 10}}),
					}})
					require.NoError(t, client.Register(t.Context()))
					ended := make(chan error, 1)
					go func() {
						_, err := client.Trigger(t.Context(), "said", nil)
						ended <- err
					}()
					var why *dataflow.Explanation
					require.Eventually(t, func() bool {
						var err error
						why, err = client.Why(t.Context(), "said")
						require.NoError(t, err)
						return len(why.Causes) > 1 && why.Causes[0].Code == dataflow.CauseRunning && why.Causes[1].RunID != 0
					}, patience, 100*time.Millisecond)
					require.Equal(t, dataflow.CauseBusy, why.Causes[1].Code)
					require.Regexp(t, `waits for its `+part+`( \(.+\))?, which has worked on one batch, since 20.* ago\)\.$`, why.Causes[1].Text)
					require.Empty(t, logs.lines("the source has said nothing"))
					require.Len(t, logs.lines("the "+part+" has worked on one batch for a while"), 1)
					close(goOn)
					require.NoError(t, receive(t, ended))
					require.Zero(t, t.number("select count(*) from dataflow_run where waits_for <> ''"))
				})
			})
		}
	}
}
