package pgtable

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type benchFact struct {
	OrderID int64
	Email   string
	Cents   float64
	Note    *string
	Qty     int
	At      time.Time
}

func BenchmarkWrite(b *testing.B) {
	for _, kind := range []string{"insert", "upsert new", "upsert all old", "upsert numeric+jsonb"} {
		for _, n := range []int{1000, 5000} {
			b.Run(fmt.Sprint(kind, " ", n), func(b *testing.B) {
				pool := dbtest.Postgres(b)
				typ, ntyp := "double precision", "text"
				if kind == "upsert numeric+jsonb" {
					typ, ntyp = "numeric", "jsonb"
				}
				_, err := pool.Exec(b.Context(), `create table f (order_id bigint primary key, email text, cents `+typ+`, note `+ntyp+`, qty int, at timestamptz)`)
				require.NoError(b, err)
				store, _ := dataflowpgx.New(pool).Store(dataflow.StoreOptions{})
				s := newSink[benchFact]("f", kind != "insert", []string{"order_id"})
				rows := make([]benchFact, n)
				note := `{"some": "note"}`
				b.ReportAllocs()
				b.ResetTimer()
				total := 0
				for i := 0; b.Loop(); i++ {
					for j := range rows {
						id := int64(i*n + j)
						if kind == "upsert all old" {
							id = int64(j)
						}
						rows[j] = benchFact{id, "someone@example.com", 12.34 + float64(j), nil, j, time.Now()}
						if j%2 == 0 {
							rows[j].Note = &note
						}
					}
					if err := store.InTx(b.Context(), func(ctx context.Context, _ dataflow.Tx) error { return s.WriteTx(ctx, rows) }); err != nil {
						b.Fatal(err)
					}
					total += n
				}
				b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "rows/s")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func BenchmarkRead(b *testing.B) {
	pool := dbtest.Postgres(b)
	_, err := pool.Exec(b.Context(), `create table f (order_id bigint primary key, email text not null, cents float8, note text, qty int, at timestamptz not null);
		insert into f select n, 'someone@example.com', 1.5, 'note', 4, now() + n * interval '1 second' from generate_series(1, 200000) n;
		create index on f (at, order_id); analyze f`)
	require.NoError(b, err)
	for _, key := range [][]string{{"order_id"}, {"at", "order_id"}} {
		b.Run(fmt.Sprint(key), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for _, err := range Keyset[benchFact](pool, Query{SQL: "select order_id, email, cents, note, qty, at from f", Key: key}).Read(b.Context(), dataflow.Request[Cursor]{}) {
					if err != nil {
						b.Fatal(err)
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
