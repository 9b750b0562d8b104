package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgchange"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type account struct {
	AID      int32 `db:"aid"`
	BID      *int32
	Abalance *int32
	Filler   *string
}

// start starts a client with one flow, and a run of it.
func (b *bench) start(ctx context.Context, flow *dataflow.Flow) (stop func() error, err error) {
	client, err := dataflow.NewClient(dataflowpgx.New(b.ours), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	if err := client.Migrate(ctx); err != nil {
		return nil, err
	}
	if err := client.Start(ctx); err != nil {
		return nil, err
	}
	stop = func() error { return client.Stop(context.WithoutCancel(ctx)) }
	if _, err := client.Trigger(ctx, flow.Name, nil); err != nil {
		return stop, err
	}
	return stop, nil
}

func (b *bench) stream() *dataflow.Flow {
	return dataflow.NewFlow("copy", pgchange.Stream[account](b.source, pgchange.Options{Publication: "p", Slot: "copy"}),
		dataflow.Identity[pgtable.Change[account]](), pgtable.Apply[account]("pgbench_accounts", "aid"), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
}

// load measures the stream's first load against a keyset flow, and lets Postgres load its own copy.
func (b *bench) load(ctx context.Context) error {
	plain := dataflow.NewFlow("plain", pgtable.Keyset[account](b.source, pgtable.Query{SQL: "select * from pgbench_accounts", Key: []string{"aid"}}),
		dataflow.Identity[account](), pgtable.Upsert[account]("plain", "aid"), &dataflow.FlowOptions{Runtime: dataflow.JobQueue{}})
	keyset, err := b.measure(ctx, plain, "select exists (select from dataflow_run where state = 'success')")
	if err != nil {
		return err
	}
	profiled, err := b.startProfile()
	if err != nil {
		return err
	}
	ours, err := b.measure(ctx, b.stream(), "select exists (select from dataflow_checkpoint where cursor::jsonb ? 'loaded')")
	if err := errors.Join(profiled(), err); err != nil {
		return err
	}
	rows := float64(b.scale * 100_000)
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / rows }
	fmt.Printf("first load of %.0f rows: the stream %.0f rows/s, a keyset flow with an upsert %.0f rows/s, ratio %.2f\n",
		rows, rows/ours.took.Seconds(), rows/keyset.took.Seconds(), keyset.took.Seconds()/ours.took.Seconds())
	fmt.Printf("CPU a row, of this process and of the servers: the stream %.2f µs + %.2f µs, a keyset flow %.2f µs + %.2f µs\n", micros(ours.here), micros(ours.there), micros(keyset.here), micros(keyset.there))
	if b.profile != "" {
		return nil
	}
	config := b.source.Config().ConnConfig
	if _, err := b.source.Exec(ctx, "select pg_create_logical_replication_slot('native', 'pgoutput')"); err != nil {
		return err
	}
	if _, err := b.native.Exec(ctx, fmt.Sprintf("create subscription native connection 'host=%s port=%d user=%s dbname=source' publication p with (create_slot = false, slot_name = 'native')", config.Host, config.Port, config.User)); err != nil {
		return err
	}
	for synced := false; !synced; time.Sleep(50 * time.Millisecond) {
		if err := b.native.QueryRow(ctx, "select bool_and(srsubstate = 'r') from pg_subscription_rel").Scan(&synced); err != nil {
			return err
		}
	}
	return b.subscribe(ctx, false)
}

// cost is what a flow took: time, and CPU time of this process and of the servers.
type cost struct{ took, here, there time.Duration }

// measure runs a flow until a query of our database returns true.
func (b *bench) measure(ctx context.Context, flow *dataflow.Flow, until string) (*cost, error) {
	began := time.Now()
	here, there := b.cpu()
	stop, err := b.start(ctx, flow)
	if err != nil {
		return nil, err
	}
	if err := b.until(ctx, until); err != nil {
		return nil, err
	}
	c := &cost{took: time.Since(began)}
	c.here, c.there = b.cpu()
	c.here, c.there = c.here-here, c.there-there
	return c, stop()
}

// cpu returns the CPU time of this process and of the servers.
func (b *bench) cpu() (here, there time.Duration) {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err == nil {
		here = time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	there = b.server.CPU()
	if b.copies != b.server {
		there += b.copies.CPU()
	}
	return here, there
}

// startProfile writes a CPU profile of this process, if it is wanted.
func (b *bench) startProfile() (stop func() error, err error) {
	if b.profile == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(b.profile)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, nil
}

// until waits until a query of our database returns true.
func (b *bench) until(ctx context.Context, query string) error {
	for {
		var is bool
		if err := b.ours.QueryRow(ctx, query).Scan(&is); err != nil || is {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// subscribe starts or stops Postgres' own subscription.
func (b *bench) subscribe(ctx context.Context, on bool) error {
	what := map[bool]string{true: "enable", false: "disable"}[on]
	if _, err := b.native.Exec(ctx, "alter subscription native "+what); err != nil {
		return err
	}
	for active := !on; active != on; time.Sleep(10 * time.Millisecond) {
		if err := b.source.QueryRow(ctx, "select active from pg_replication_slots where slot_name = 'native'").Scan(&active); err != nil {
			return err
		}
	}
	return nil
}

// catchUp measures how fast each copy applies what pgbench has done while both were stopped.
func (b *bench) catchUp(ctx context.Context) error {
	var ratios []float64
	for pair := range b.pairs {
		if err := b.pgbench(ctx, "--no-vacuum", "--client=8", "--jobs=2", "--transactions="+strconv.Itoa(b.transactions/8)); err != nil {
			return err
		}
		mark, err := b.mark(ctx)
		if err != nil {
			return err
		}
		measure := []func(context.Context, string) (time.Duration, error){b.ourTime, b.nativeTime}
		took := make([]time.Duration, 2)
		for i := range measure {
			at := (i + pair) % 2
			if _, err := b.source.Exec(ctx, "checkpoint"); err != nil {
				return err
			}
			if took[at], err = measure[at](ctx, mark); err != nil {
				return err
			}
		}
		rate := func(d time.Duration) float64 { return float64(b.transactions/8*8) / d.Seconds() }
		ratios = append(ratios, took[1].Seconds()/took[0].Seconds())
		fmt.Printf("catch up with %d transactions of pgbench, pair %d: the stream %.0f changes/s, Postgres' subscription %.0f changes/s, ratio %.2f\n",
			b.transactions, pair+1, rate(took[0]), rate(took[1]), ratios[pair])
	}
	slices.Sort(ratios)
	fmt.Printf("ratio min / median / max: %.2f / %.2f / %.2f\n", ratios[0], ratios[len(ratios)/2], ratios[len(ratios)-1])
	return nil
}

func (b *bench) ourTime(ctx context.Context, mark string) (time.Duration, error) {
	began := time.Now()
	stop, err := b.start(ctx, b.stream())
	if err != nil {
		return 0, err
	}
	if err := reached(ctx, b.ours, mark); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, stop()
}

func (b *bench) nativeTime(ctx context.Context, mark string) (time.Duration, error) {
	began := time.Now()
	if err := b.subscribe(ctx, true); err != nil {
		return 0, err
	}
	if err := reached(ctx, b.native, mark); err != nil {
		return 0, err
	}
	took := time.Since(began)
	return took, b.subscribe(ctx, false)
}

// lag measures how long a change takes to arrive in each copy, while pgbench goes on at a
// steady rate.
func (b *bench) lag(ctx context.Context) error {
	stop, err := b.start(ctx, b.stream())
	if err != nil {
		return err
	}
	if err := b.lagOf(ctx, "the stream", func(mark string) error { return reached(ctx, b.ours, mark) }); err != nil {
		return err
	}
	if err := b.subscribe(ctx, true); err != nil {
		return err
	}
	if err := b.lagOf(ctx, "Postgres' subscription", func(mark string) error { return reached(ctx, b.native, mark) }); err != nil {
		return err
	}
	mark, err := b.mark(ctx)
	if err != nil {
		return err
	}
	if err := reached(ctx, b.ours, mark); err != nil {
		return err
	}
	if err := reached(ctx, b.native, mark); err != nil {
		return err
	}
	return stop()
}

func (b *bench) lagOf(ctx context.Context, name string, reached func(mark string) error) error {
	mark, err := b.mark(ctx)
	if err != nil {
		return err
	}
	if err := reached(mark); err != nil { // it has caught up
		return err
	}
	var before, after int64
	const updates = "select n_tup_upd from pg_stat_user_tables where relname = 'pgbench_accounts'"
	if err := b.source.QueryRow(ctx, updates).Scan(&before); err != nil {
		return err
	}
	ended := make(chan error, 1)
	began := time.Now()
	go func() {
		ended <- b.pgbench(ctx, "--no-vacuum", "--client=8", "--jobs=2", "--rate="+strconv.Itoa(b.rate), "--time="+strconv.Itoa(int(b.lasts.Seconds())))
	}()
	var lags []time.Duration
	for time.Since(began) < b.lasts {
		mark, err := b.mark(ctx)
		if err != nil {
			return err
		}
		committed := time.Now()
		if err := reached(mark); err != nil {
			return err
		}
		lags = append(lags, time.Since(committed))
		time.Sleep(20 * time.Millisecond)
	}
	if err := <-ended; err != nil {
		return err
	}
	took := time.Since(began)
	time.Sleep(time.Second) // until the statistics are there
	if err := b.source.QueryRow(ctx, updates).Scan(&after); err != nil {
		return err
	}
	slices.Sort(lags)
	at := func(part float64) time.Duration {
		return lags[min(int(part*float64(len(lags))), len(lags)-1)].Round(time.Millisecond)
	}
	fmt.Printf("lag of %s at %.0f transactions/s, %d samples: p50 %s, p99 %s, max %s\n", name, float64(after-before)/took.Seconds(), len(lags), at(0.5), at(0.99), at(1))
	return nil
}
