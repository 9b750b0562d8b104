package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }

// Two processes run the program. One is killed, the other goes on, and ends in good order.
func TestService(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "service")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(out))
	url := dbtest.PostgresURL(t)
	pool, err := pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), `
		create table orders (id bigint primary key, cents bigint not null, updated_at timestamptz not null default now());
		create index on orders (updated_at, id);
		create table order_facts (order_id bigint primary key, euros bigint not null);
		insert into orders (id, cents) select n, 100 * n from generate_series(1, 1000) n`)
	require.NoError(t, err)
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))

	first, second := start(t, program, url), start(t, program, url)
	require.Eventually(t, func() bool { // both have registered the flow
		alive, err := client.Processes(t.Context())
		return err == nil && len(alive) == 2
	}, 2*time.Minute, 50*time.Millisecond)
	work(t, client)
	require.NoError(t, first.Process.Kill())
	_ = first.Wait() // it was killed
	_, err = pool.Exec(t.Context(), `
		insert into orders (id, cents) select n, 100 * n from generate_series(1001, 1500) n;
		update orders set cents = 0, updated_at = clock_timestamp() where id = 7`)
	require.NoError(t, err)
	work(t, client)
	var rows, euros int64
	require.NoError(t, pool.QueryRow(t.Context(), `select count(*), sum(euros) from order_facts`).Scan(&rows, &euros))
	require.Equal(t, int64(1500), rows)
	require.Equal(t, int64(1500*1501/2-7), euros)
	require.NoError(t, second.Process.Signal(syscall.SIGTERM))
	require.NoError(t, second.Wait())
}

func start(t *testing.T, program, url string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url)
	require.NoError(t, cmd.Start())
	return cmd
}

// work starts a run of the flow, and waits for its end.
func work(t *testing.T, client *dataflow.Client) {
	t.Helper()
	run, err := client.Enqueue(t.Context(), "orders", nil)
	require.NoError(t, err)
	run, err = client.Wait(t.Context(), run.ID)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunSuccess, run.State)
}
