package pgtable_test

import (
	"context"
	"os"
	osexec "os/exec" // these tests have their own function exec
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

type document struct {
	ID   int64
	Body string
}

// wideRows makes small rows, and then rows of a megabyte.
const (
	smallRows = 20_000
	wideRows  = 150
)

var wideTables = []string{
	`create table doc (id bigint primary key, body text not null)`,
	`create table copied (id bigint primary key, body text not null)`,
	`insert into doc select n, 'text' from generate_series(1, ` + strconv.Itoa(smallRows) + `) n`,
	`insert into doc select n, repeat(md5(n::text), 31250) from generate_series(` + strconv.Itoa(smallRows+1) + `, ` + strconv.Itoa(smallRows+wideRows) + `) n`,
}

// workFlow works a flow from its beginning to its end.
func workFlow(t *testing.T, pool *pgxpool.Pool, flow *dataflow.Flow) *dataflow.Run {
	t.Helper()
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: []*dataflow.Flow{flow}})
	require.NoError(t, err)
	require.NoError(t, client.Migrate(t.Context()))
	require.NoError(t, client.Register(t.Context()))
	bound, err := client.Flow(t.Context(), flow.Name)
	require.NoError(t, err)
	run, err := bound.Runtime.Execute(t.Context(), bound)
	require.NoError(t, err)
	require.Equal(t, dataflow.RunSuccess, run.State)
	return run
}

// A page ends before the row that would make it too heavy, whatever the rows before weighed,
// and the next page begins with that row.
func TestKeyset_WideRows(t *testing.T) {
	t.Parallel()
	pool := setup(t, wideTables...)
	for name, q := range map[string]pgtable.Query{
		"default":   {},
		"page size": {PageSize: 500},
		"bytes":     {PageBytes: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			q.SQL, q.Key = "select id, body from doc where id > "+strconv.Itoa(smallRows-1000), []string{"id"}
			all := readAll(t, pgtable.Keyset[document](pool, q))
			require.Len(t, all, 1000+wideRows)
			for i, it := range all {
				require.EqualValues(t, smallRows-1000+i+1, it.Value.ID)
				length := len("text")
				if i >= 1000 {
					length = 1_000_000
				}
				require.Len(t, it.Value.Body, length)
			}
		})
	}
}

// A flow over rows of a megabyte has few of them in memory, also if small ones come first. Its
// heap is measured in a process of its own.
func TestFlow_WideRowsInMemory(t *testing.T) {
	t.Parallel()
	if os.Getenv("DATAFLOW_TEST_MEASURE_HEAP") == "" {
		cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.count=1", "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "DATAFLOW_TEST_MEASURE_HEAP=1")
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", said)
		require.Contains(t, string(said), "MiB of heap")
		return
	}
	pool := setup(t, wideTables...)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc >> 20
	}
	runtime.GC()
	idle, peak := heap(), uint64(0)
	measure := dataflow.Batch(func(_ context.Context, in []document) ([]document, error) {
		peak = max(peak, heap())
		return in, nil
	})
	source := pgtable.Keyset[document](pool, pgtable.Query{SQL: "select id, body from doc", Key: []string{"id"}})
	flow := dataflow.NewFlow("wide", source, measure, pgtable.Upsert[document]("copied", "id"), nil)
	run := workFlow(t, pool, flow)
	require.EqualValues(t, smallRows+wideRows, run.Counters.Written)
	var same int
	require.NoError(t, pool.QueryRow(t.Context(), "select count(*) from doc join copied using (id, body)").Scan(&same))
	require.Equal(t, smallRows+wideRows, same)
	t.Logf("%d MiB of heap above the %d when idle", peak-idle, idle)
	require.Less(t, peak-idle, uint64(64))
}

// Values of every size arrive unchanged, whether COPY copies them into its buffer or not.
func TestFlow_LargeValues(t *testing.T) {
	t.Parallel()
	type row struct {
		ID    int64
		Text  string
		Bytes []byte
		Maybe *string
		JSON  map[string]string
	}
	var rows []row
	for i, n := range []int{0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 300_000} {
		text := strings.Repeat("0123456789", n/10+1)[:n]
		rows = append(rows, row{ID: int64(i), Text: text, Bytes: []byte(text), JSON: map[string]string{"k": text}})
		if i%2 == 0 {
			rows[i].Maybe = &text
		}
	}
	pool := setup(t)
	for name, columns := range map[string]string{
		"json":  `id bigint primary key, text text, bytes bytea, maybe text, json json`,
		"jsonb": `id bigint primary key, text text, bytes bytea, maybe varchar, json jsonb`,
	} {
		_, err := pool.Exec(t.Context(), `create table `+name+`_values (`+columns+`)`)
		require.NoError(t, err)
		for i, target := range []dataflow.Target[row]{pgtable.Upsert[row](name+"_values", "id"), pgtable.Insert[row](name + "_values")} {
			_, err := pool.Exec(t.Context(), `truncate `+name+`_values`)
			require.NoError(t, err)
			workFlow(t, pool, dataflow.NewFlow(name+strconv.Itoa(i), memory.Slice(rows), dataflow.Identity[row](), target, nil))
			read := readAll(t, pgtable.Keyset[row](pool, pgtable.Query{SQL: "select * from " + name + "_values", Key: []string{"id"}}))
			require.Len(t, read, len(rows))
			for i := range rows {
				if len(rows[i].Bytes) == 0 {
					rows[i].Bytes = read[i].Value.Bytes
				}
				require.Equal(t, rows[i], read[i].Value, "row %d of %s", i, name)
			}
		}
	}
}
