package enginetest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

// pollsEnv makes the test binary a process that works the flow "woken" until its input ends. Its
// value is the database's URL.
const pollsEnv = "DATAFLOW_TEST_WOKEN"

func wokenWorker(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: []*dataflow.Flow{named("woken", nil)}, PollInterval: time.Hour, ID: "woken", Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	fmt.Println("ready")
	_, _ = io.ReadAll(os.Stdin)
	return client.Stop(ctx)
}

// sleepy starts a client that works the flow "woken" and polls once an hour.
func (t *dbT) sleepy(config dataflow.Config) *dataflow.Client {
	config.Flows, config.ID = []*dataflow.Flow{named("woken", nil)}, "sleepy"
	if config.PollInterval == 0 {
		config.PollInterval = time.Hour
	}
	return t.started(t.client(&config))
}

// A process polls once an hour, and works at once what another one enqueues, in a transaction of
// its own or of the caller's, alone or with others. It does so too after its connection was lost.
func TestWake_OtherProcess(t *testing.T) {
	t.Parallel()
	db := migratedPostgres(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), pollsEnv+"="+db.text("select format('postgres:///%s?host=%s&user=%s', current_database(), split_part(current_setting('unix_socket_directories'), ',', 1), current_user)"))
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)

	tool := db.client(nil)
	works := func(run *dataflow.Run) {
		t.Helper()
		ended, err := db.wait(tool, run.ID)
		require.NoError(t, err)
		require.Equal(t, "woken", ended.Worker)
	}
	ask := func() {
		run, err := tool.Enqueue(t.Context(), "woken", nil)
		require.NoError(t, err)
		works(run)
		many, err := tool.TriggerMany(t.Context(), []dataflow.TriggerManyParams{{Flow: "woken"}})
		require.NoError(t, err)
		works(many[0].Run)
		db.inTx(func(tx dataflow.Tx, _ func(string)) bool {
			run, err = tool.TriggerTx(t.Context(), tx, "woken", nil)
			require.NoError(t, err)
			return true
		})
		works(run)
	}
	ask()
	require.EqualValues(t, 1, db.number("select count(*) from (select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and (query = 'listen dataflow_run' or query like 'select%::regclass::oid::bigint')) t"))
	ask()

	// A paused flow, whose run goes on when it is resumed.
	var run *dataflow.Run
	db.inTx(func(tx dataflow.Tx, exec func(string)) bool {
		run, err = tool.TriggerTx(t.Context(), tx, "woken", nil)
		require.NoError(t, err)
		exec("update dataflow_flow set state = 'inactive' where name = 'woken'")
		return true
	})
	_, err = tool.Resume(t.Context(), "woken", "", "")
	require.NoError(t, err)
	works(run)
	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
}

// The same process needs no notification. That holds on SQLite, too.
func TestWake_SameProcess(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.sleepy(dataflow.Config{PollOnly: true})
		for range 2 {
			run, err := client.Enqueue(t.Context(), "woken", nil)
			require.NoError(t, err)
			_, err = t.wait(client, run.ID)
			require.NoError(t, err)
			all, err := client.EnqueueAll(t.Context(), "", "")
			require.NoError(t, err)
			_, err = t.wait(client, all[0].Run.ID)
			require.NoError(t, err)
		}
	})
}

// blind is a store that finds no due runs.
type blind struct{ dataflow.Driver }

type blindStore struct{ dataflow.Store }

func (d blind) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	return blindStore{s}, err
}

func (blindStore) RunDue(context.Context, *dataflow.RunDueParams) ([]*dataflow.Run, error) {
	return nil, nil
}

// A process works a run that it has added itself without a look at all that are due.
func TestWake_Added(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.driver = blind{t.driver}
		client := t.sleepy(dataflow.Config{PollOnly: true})
		for range 3 {
			run, err := client.Enqueue(t.Context(), "woken", nil)
			require.NoError(t, err)
			_, err = t.wait(client, run.ID)
			require.NoError(t, err)
		}
	})
}

// Without the connection, runs of other processes are found by the poll, and Why says so.
func TestWake_ByPoll(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		client := t.sleepy(dataflow.Config{PollOnly: true, PollInterval: t.pollInterval()})
		tool := t.client(nil)
		run, err := tool.Enqueue(t.Context(), "woken", nil)
		require.NoError(t, err)
		_, err = t.wait(client, run.ID)
		require.NoError(t, err)
		all, err := tool.Processes(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
		require.Contains(t, all[0].Polls, "every "+t.pollInterval().String()+", because")
	})
}

// Why says what a run waits for if nothing tells its process of it.
func TestWake_Why(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *dbT) {
		t.sleepy(dataflow.Config{PollOnly: true})
		tool := t.client(nil)
		require.Eventually(t, func() bool { // a run may come before the first look, which then finds it
			if _, err := tool.Enqueue(t.Context(), "woken", nil); err != nil {
				return false
			}
			e, err := tool.Why(t.Context(), "woken")
			return err == nil && strings.Contains(e.String(), "it should start when a process next looks for runs: sleepy looks every 1h0m0s, because ")
		}, patience, 10*time.Millisecond)
	})
}

// A client that cannot listen says so once, in its log and to other processes, and works on.
func TestWake_CannotListen(t *testing.T) {
	t.Parallel()
	db := migratedPostgres(t)
	l := newLogs()
	store := &deafDriver{Driver: db.driver, listened: make(chan struct{}, 100)}
	client, err := dataflow.NewClient(store, &dataflow.Config{Flows: []*dataflow.Flow{named("woken", nil)}, ID: "deaf", Lease: time.Second, PollInterval: db.pollInterval(), River: db.quickRiver(), Logger: l.logger()})
	require.NoError(t, err)
	db.started(client)
	tool := db.client(nil)
	run, err := tool.Enqueue(t.Context(), "woken", nil)
	require.NoError(t, err)
	_, err = db.wait(tool, run.ID)
	require.NoError(t, err)
	for range 3 {
		receive(db, store.listened)
	}
	require.Len(t, l.lines("cannot listen for runs"), 1)
	require.Eventually(t, func() bool {
		all, err := tool.Processes(t.Context())
		return err == nil && len(all) == 1 && strings.HasSuffix(all[0].Polls, ", because it cannot listen: no more connections")
	}, patience, 10*time.Millisecond)
}

// deafDriver makes stores that cannot listen.
type deafDriver struct {
	dataflow.Driver
	listened chan struct{}
}

type deafStore struct {
	dataflow.Store
	dataflow.Notifier
	listened chan struct{}
}

func (d *deafDriver) Store(opts dataflow.StoreOptions) (dataflow.Store, error) {
	s, err := d.Driver.Store(opts)
	if err != nil {
		return nil, err
	}
	return deafStore{Store: s, Notifier: s.(dataflow.Notifier), listened: d.listened}, nil //nolint:forcetypeassert // it is Postgres
}

func (s deafStore) Listen(context.Context, func(), func(int64)) error {
	s.listened <- struct{}{}
	return fmt.Errorf("no more connections")
}
