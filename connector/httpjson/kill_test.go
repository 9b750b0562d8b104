package httpjson_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/httpjson"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// workerEnv makes the test binary a worker; its value is the worker's settings as JSON.
const workerEnv = "HTTPJSON_TEST_WORKER"

func TestMain(m *testing.M) {
	if text := os.Getenv(workerEnv); text != "" {
		fmt.Fprintln(os.Stderr, "worker:", worker(context.Background(), text))
		os.Exit(1)
	}
	os.Exit(dbtest.Main(m))
}

// workerSettings are the database of a worker, and the addresses of the APIs by their names.
type workerSettings struct {
	URL  string
	APIs map[string]string
}

// copied is a row of a table without a unique key.
type copied struct {
	Flow string `db:"flow"`
	ID   int64  `db:"id"`
}

// insertCopies appends rows. pgtable.Insert would refuse the recipes by which some arrive again.
func insertCopies(ctx context.Context, tx pgx.Tx, rows []copied) error {
	_, err := tx.CopyFrom(ctx, pgx.Identifier{"copies"}, []string{"flow", "id"}, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return []any{rows[i].Flow, rows[i].ID}, nil }))
	return err
}

// client returns a client with a flow for each API, which quickly notices that another worker
// has died.
func (s *workerSettings) client(pool *pgxpool.Pool) (*dataflow.Client, error) {
	var flows []*dataflow.Flow
	for _, api := range apis() {
		address, opts := api.recipe(s.APIs[api.name])
		opts.Logger = quiet
		row := dataflow.Map(func(_ context.Context, r record) (copied, error) {
			n, err := r.number()
			return copied{api.name, int64(n)}, err
		})
		flows = append(flows, dataflow.NewFlow(api.name, httpjson.Source[record](address, opts), row, pgtable.Func(insertCopies), &dataflow.FlowOptions{
			Runtime: dataflow.Heartbeat{BatchSize: 7},
		}))
	}
	return dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{
		Flows: flows, Lease: time.Second, PollInterval: 20 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
}

// worker is the main function of a process that works the flows until it is killed.
func worker(ctx context.Context, text string) error {
	var s workerSettings
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, s.URL)
	if err != nil {
		return err
	}
	client, err := s.client(pool)
	if err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	_, err = os.Stdin.Read(make([]byte, 1)) // until its parent ends
	return err
}

// gate counts the requests to all APIs, and holds them from one on.
type gate struct {
	mu      sync.Mutex
	left    int // until the one that is held; 0: none is held
	reached chan struct{}
	release chan struct{}
}

func (g *gate) arm(requests int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.reached, g.release = requests, make(chan struct{}), make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = 0
	close(g.release)
}

// wrap returns a server's handler with the gate before it.
func (g *gate) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		g.mu.Lock()
		if g.left > 1 {
			g.left--
		} else if g.left == 1 {
			select {
			case <-g.reached:
			default:
				close(g.reached)
			}
			release := g.release
			g.mu.Unlock()
			<-release
			panic(http.ErrAbortHandler)
		}
		g.mu.Unlock()
		h.ServeHTTP(w, req)
	})
}

// A process reads all APIs at once, into tables of Postgres, and is killed while it asks for
// pages: three times in each of three loads, of which two find what is new. Each record is there once,
// or at least once if the recipe says that some arrive again.
func TestAPIs_Killed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := workerSettings{URL: dbtest.PostgresURL(t) + "&pool_max_conns=12", APIs: map[string]string{}}
	pool, err := pgxpool.New(ctx, s.URL)
	require.NoError(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(ctx, `create table copies (flow text not null, id bigint not null)`)
	require.NoError(t, err)
	g := &gate{}
	fakes := map[string]*fake{}
	for _, api := range apis() {
		f := &fake{page: 10, answer: api.answer}
		fakes[api.name] = f
		server := httptest.NewServer(g.wrap(f))
		t.Cleanup(server.Close)
		s.APIs[api.name] = server.URL
	}
	client, err := s.client(pool)
	require.NoError(t, err)
	require.NoError(t, client.Migrate(ctx))
	require.NoError(t, client.Register(ctx))
	settings, err := json.Marshal(s)
	require.NoError(t, err)
	start := func() *exec.Cmd {
		stdin, keepOpen, err := os.Pipe()
		require.NoError(t, err)
		t.Cleanup(func() { _ = keepOpen.Close() })
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), workerEnv+"="+string(settings))
		cmd.Stdin, cmd.Stderr = stdin, os.Stderr
		require.NoError(t, cmd.Start())
		require.NoError(t, stdin.Close())
		return cmd
	}
	kill := func(cmd *exec.Cmd) {
		require.NoError(t, cmd.Process.Kill())
		require.Error(t, cmd.Wait())
	}
	again := map[string]int64{} // what was read again, by the counters
	random := rand.New(rand.NewPCG(7, 0))
	cmd := start()
	for _, growth := range []int{155, 67, 61} {
		var runs []*dataflow.Run
		g.arm(40 + random.IntN(60))
		for name, f := range fakes {
			f.grow(growth)
			run, err := client.Trigger(ctx, name, &dataflow.TriggerOptions{At: time.Unix(1, 0)}) // for a worker
			require.NoError(t, err)
			runs = append(runs, run)
		}
		for range 2 {
			<-g.reached
			kill(cmd)
			g.open()
			g.arm(30 + random.IntN(40))
			cmd = start()
		}
		<-g.reached
		kill(cmd)
		g.open()
		cmd = start()
		for _, run := range runs {
			ended, err := client.Wait(ctx, run.ID)
			require.NoError(t, err, run.FlowName)
			require.Equal(t, dataflow.RunSuccess, ended.State, run.FlowName)
			again[run.FlowName] += ended.Counters.ReadAgain
		}
	}
	kill(cmd)
	for _, api := range apis() {
		rows, err := pool.Query(ctx, `select id, count(*) from copies where flow = $1 group by id order by id`, api.name)
		require.NoError(t, err)
		n := 0
		for rows.Next() {
			var id, times int
			require.NoError(t, rows.Scan(&id, &times))
			n++
			require.Equal(t, n, id, api.name)
			require.True(t, api.again || times == 1, "%s: record %d is there %d times", api.name, id, times)
			again[api.name] -= int64(times - 1)
		}
		require.NoError(t, rows.Err())
		require.Equal(t, 155+67+61, n, api.name)
		if _, opts := api.recipe(""); opts.Since != nil {
			require.Zero(t, again[api.name], "%s: records that came again were not counted, or others were", api.name)
		}
	}
}
