package pgtable

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

type emptyValuer struct{ V []byte }

func (v emptyValuer) Value() (driver.Value, error) { return v.V, nil }

// texts has a field of each kind that pgx encodes as an empty text. The last is never
// empty here.
type texts struct {
	ID      int64
	Pg      pgtype.Text
	Std     sql.NullString
	Generic sql.Null[string]
	Named   mood
	Pointer *mood
	Valuer  emptyValuer
	Any     any
	Bytes   []byte
	Vc      pgtype.Text
	Ch      sql.NullString
	Enum    mood
	Filled  pgtype.Text
}

// bits has a type that COPY cannot send, so that its batches are sent as arrays.
type bits struct {
	ID   int64
	Bits pgtype.Bits
	Text pgtype.Text
}

const (
	createTexts = `create type blank as enum ('', 'x');
		create table texts (id bigint primary key, pg text not null, std text not null, generic text not null, named text not null, pointer text not null,
			valuer text not null, "any" text not null, bytes text not null, vc varchar(3) not null, ch char(2) not null, enum blank not null, filled text not null)`
	createBits = `create table bits (id bigint primary key, bits varbit not null, text text not null)`
)

func emptyTexts(id int64) texts {
	return texts{
		ID: id, Pg: pgtype.Text{Valid: true}, Std: sql.NullString{Valid: true}, Generic: sql.Null[string]{Valid: true}, Pointer: new(mood), Valuer: emptyValuer{[]byte{}},
		Any: pgtype.Text{Valid: true}, Bytes: []byte{}, Vc: pgtype.Text{Valid: true}, Ch: sql.NullString{Valid: true}, Filled: pgtype.Text{String: "x", Valid: true},
	}
}

func emptyBits(id int64) bits {
	return bits{ID: id, Bits: pgtype.Bits{Bytes: []byte{}, Valid: true}, Text: pgtype.Text{Valid: true}}
}

// everyWay writes the same rows in each way into a table with the key id. The table
// is emptied before each way.
func everyWay[T any](t *testing.T, pool *pgxpool.Pool, table string, rows []T, check func(way string)) {
	t.Helper()
	ways := map[string]func() error{
		"replace": func() error {
			var r dataflow.Replacement[T]
			s := &replaceSink[T]{&replacer{into: newSink[T](table, false, nil).to}}
			if err := inTransaction(t, pool, func(ctx context.Context) (err error) { r, err = s.BeginTx(ctx, "f"); return err }); err != nil {
				return err
			}
			if err := inTransaction(t, pool, func(ctx context.Context) error { return r.WriteTx(ctx, rows) }); err != nil {
				return err
			}
			return inTransaction(t, pool, func(ctx context.Context) error { return r.EndTx(ctx) })
		},
	}
	for _, upsert := range []bool{false, true} {
		for _, from := range []int{1, 1 << 30} {
			name := map[bool]string{false: "insert", true: "upsert"}[upsert] + map[int]string{1: " by COPY", 1 << 30: " by arrays"}[from]
			sinkOf := func() *sink[T] {
				s := newSink[T](table, upsert, []string{"id"})
				s.to.copyFrom = from
				return s
			}
			ways[name] = func() error {
				s := sinkOf()
				return inTransaction(t, pool, func(ctx context.Context) error { return s.WriteTx(ctx, rows) })
			}
			ways[name+", in another database"] = func() error {
				s := newFenced[T](pool, sinkOf())
				if _, err := s.Claim(t.Context(), "f", 1); err != nil {
					return err
				}
				return s.WriteFenced(t.Context(), dataflow.FencedBatch[T]{Flow: "f", Fence: 1, State: json.RawMessage(`{}`), Rows: rows})
			}
			if !upsert {
				continue
			}
			ways[name+", twice"] = func() error { // COPY is staged where keys exist
				s := reporting(sinkOf())
				for range 2 {
					if err := inTransaction(t, pool, func(ctx context.Context) error {
						return s.WriteResultTx(ctx, rows, make([]dataflow.RowResult, len(rows)))
					}); err != nil {
						return err
					}
				}
				return nil
			}
		}
	}
	for way, write := range ways {
		_, err := pool.Exec(t.Context(), `truncate `+table)
		require.NoError(t, err)
		require.NoError(t, write(), way)
		check(way)
	}
}

// An empty text is not NULL, wherever it is in a batch and whatever type holds it.
// The first is the one for which pgx has no buffer yet.
func TestSink_EmptyTexts(t *testing.T) {
	t.Parallel()
	pool := setup(t, createTexts, createBits)
	empty := `select count(*) from texts where (pg, std, generic, named, pointer, valuer, "any", bytes, vc, ch, enum) = ('', '', '', '', '', '', '', '', '', '', '')`
	for _, n := range []int{1, 3, 200} {
		var rows []texts
		var others []bits
		for i := range n {
			rows, others = append(rows, emptyTexts(int64(i))), append(others, emptyBits(int64(i)))
		}
		want := []string{fmt.Sprintf("(%d)", n)}
		everyWay(t, pool, "texts", rows, func(way string) { require.Equal(t, want, query(t, pool, empty), way) })
		everyWay(t, pool, "bits", others, func(way string) {
			require.Equal(t, want, query(t, pool, `select count(*) from bits where bits = B'' and text = ''`), way)
		})
	}
}

// NULL stays NULL beside empty texts.
func TestSink_EmptyTextsAndNull(t *testing.T) {
	t.Parallel()
	pool := setup(t, `create table nullable (id bigint primary key, pg text, std text, bits varbit)`)
	type row struct {
		ID   int64
		Pg   pgtype.Text
		Std  sql.NullString
		Bits pgtype.Bits
	}
	rows := []row{
		{ID: 1},
		{ID: 2, Pg: pgtype.Text{Valid: true}, Std: sql.NullString{Valid: true}, Bits: pgtype.Bits{Valid: true}},
		{ID: 3},
		{ID: 4, Pg: pgtype.Text{String: "x", Valid: true}},
		{ID: 5, Pg: pgtype.Text{Valid: true}},
	}
	everyWay(t, pool, "nullable", rows, func(way string) {
		require.Equal(t, []string{"(1,null,null,null)", `(2,"","","")`, "(3,null,null,null)", "(4,x,null,null)", `(5,"",null,null)`},
			query(t, pool, `select id, coalesce(pg, 'null') a, coalesce(std, 'null') b, coalesce(bits::text, 'null') c from nullable order by id`), way)
	})
}

// The buffer is kept from value to value, even if the first values are NULL.
func TestPgxText_Allocations(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts those of all tests
	m, buf := pgtype.NewMap(), []byte(nil)
	for _, v := range []any{pgtype.Text{}, pgtype.Text{Valid: true}, pgtype.Text{String: "x", Valid: true}} {
		before := testing.AllocsPerRun(100, func() { _, _ = m.Encode(pgtype.TextOID, pgtype.TextFormatCode, v, make([]byte, 0, 8)) })
		require.LessOrEqual(t, testing.AllocsPerRun(100, func() { _, _ = pgxText(m, pgtype.TextOID, v, &buf) }), before)
	}
}
