package pgtable_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

type valued[V any] struct {
	ID int
	V  V
}

// readValue reads an expression in each way: on a first page, on a later page, and
// with Select. It returns the values, or the errors of the record.
func readValue[V any](t *testing.T, pool *pgxpool.Pool, expression string) (values []V, refused []error) {
	t.Helper()
	add := func(v valued[V], err error) {
		var bad *dataflow.RecordError
		switch {
		case err == nil:
			values = append(values, v.V)
		case errors.As(err, &bad):
			refused = append(refused, err)
		default:
			require.NoError(t, err, expression)
		}
	}
	sql := `select id, ` + expression + ` as v from generate_series(1, 2) as id`
	keyset := pgtable.Keyset[valued[V]](pool, pgtable.Query{SQL: sql, Key: []string{"id"}, PageSize: 1})
	for item, err := range keyset.Read(t.Context(), dataflow.Request[pgtable.Cursor]{}) {
		add(item.Value, err)
	}
	for item, err := range pgtable.Select[valued[V]](pool, sql).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		add(item.Value, err)
	}
	require.Equal(t, 4, len(values)+len(refused), expression)
	return values, refused
}

func isRead[V any](t *testing.T, pool *pgxpool.Pool, expression string, want V) {
	t.Helper()
	values, refused := readValue[V](t, pool, expression)
	require.Empty(t, refused, expression)
	require.Equal(t, []V{want, want, want, want}, values, expression)
}

func isRefused[V any](t *testing.T, pool *pgxpool.Pool, expression, want string) {
	t.Helper()
	values, refused := readValue[V](t, pool, expression)
	require.Empty(t, values, expression)
	for _, err := range refused {
		require.ErrorContains(t, err, `column "v": `+want, expression)
	}
}

// inModes runs a test with results in the binary format and as text.
func inModes(t *testing.T, f func(t *testing.T, pool *pgxpool.Pool)) {
	t.Helper()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			f(t, setupMode(t, mode, nil, `create type mood as enum ('sad', 'ok')`))
		})
	}
}

// pgx 5.12 reads the JSON null as NULL into pointers and interfaces.
func TestRead_JSONNull(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		for _, typ := range []string{"json", "jsonb"} {
			null, none := `'null'::`+typ, `null::`+typ
			isRead(t, pool, null, "null")
			isRead(t, pool, null, new("null"))
			isRead(t, pool, null, []byte("null"))
			isRead(t, pool, null, new([]byte("null")))
			isRead(t, pool, null, json.RawMessage("null"))
			isRead(t, pool, null, new(json.RawMessage("null")))
			isRead(t, pool, null, new(new("null")))
			isRead(t, pool, null, sql.NullString{String: "null", Valid: true})
			isRead(t, pool, null, &sql.NullString{String: "null", Valid: true})
			isRead(t, pool, null, pgtype.Text{String: "null", Valid: true})
			isRead[*string](t, pool, none, nil)
			isRead[*json.RawMessage](t, pool, none, nil)
			isRead[any](t, pool, none, nil)
			isRead[map[string]any](t, pool, none, nil)
			isRead[*int](t, pool, none, nil)
			isRefused[any](t, pool, null, "a JSON null would be the same as NULL or an empty value in any: use json.RawMessage")
			isRefused[*int](t, pool, null, "a JSON null would be the same as NULL or an empty value in int: use json.RawMessage")
			isRefused[map[string]any](t, pool, null, "a JSON null would")
			isRefused[[]int](t, pool, null, "a JSON null would")
			isRefused[struct{ A int }](t, pool, null, "a JSON null would")
		}
		isRead(t, pool, `' null '::json`, " null ")
		isRefused[any](t, pool, `' null '::json`, "a JSON null would")
		isRead(t, pool, `'{"a": null}'::jsonb`, map[string]any{"a": nil})
	})
}

// A float64, which package json puts into an interface, would lose digits.
func TestRead_JSONNumbers(t *testing.T) {
	t.Parallel()
	type document struct {
		A    any     `json:"a"`
		B    float64 `json:"b"`
		Next *[1]any `json:"next"`
		Self *struct{ X map[string]any }
	}
	inModes(t, func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		isRead[any](t, pool, `'12345678901234567'::jsonb`, json.Number("12345678901234567"))
		isRead[any](t, pool, `'1.10'::json`, json.Number("1.10"))
		isRead(t, pool, `'{"a": 1.10, "b": [1, true]}'::jsonb`, map[string]any{"a": json.Number("1.10"), "b": []any{json.Number("1"), true}})
		isRead(t, pool, `'[1e400]'::json`, &[]any{json.Number("1e400")})
		isRead(t, pool, `'{"a": 12345678901234567, "b": 0.5, "next": [1.0]}'::json`, document{A: json.Number("12345678901234567"), B: 0.5, Next: &[1]any{json.Number("1.0")}})
		isRead[any](t, pool, `'"text"'::jsonb`, "text")
		isRead(t, pool, `'{"a": "5"}'::jsonb`, map[string]any{"a": "5"})
		isRefused[any](t, pool, `'"5"'::jsonb`, `a JSON string that is itself JSON, "5", would be written as that JSON: use json.RawMessage`)
	})
}

// pgx 5.12 flattens arrays and drops their bounds.
func TestRead_Arrays(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		isRead(t, pool, `'{1,2}'::int[]`, []int32{1, 2})
		isRead(t, pool, `'{1,null}'::int[]`, []*int32{new(int32(1)), nil})
		isRead(t, pool, `'{}'::int[]`, []int32{})
		isRead(t, pool, `'{{1,2},{3,4}}'::int[]`, [][]int32{{1, 2}, {3, 4}})
		isRead(t, pool, `'{"{{a","[1]=x"}'::text[]`, []string{"{{a", "[1]=x"})
		isRead(t, pool, `array['\x01'::bytea]`, [][]byte{{1}})
		isRead(t, pool, `'[2:3]={1,2}'::int[]`, pgtype.Array[int32]{Elements: []int32{1, 2}, Dims: []pgtype.ArrayDimension{{Length: 2, LowerBound: 2}}, Valid: true})
		isRead[[]int32](t, pool, `null::int[]`, nil)
		isRead(t, pool, `'{sad,ok}'::mood[]`, []string{"sad", "ok"})
		two := "an array of 2 dimensions does not fit "
		isRefused[[]int32](t, pool, `'{{1,2},{3,4}}'::int[]`, two+"[]int32: use pgtype.Array or a slice of 2 dimensions")
		isRefused[*[]int32](t, pool, `'{{1,2},{3,4}}'::int[]`, two+"[]int32")
		isRefused[pgtype.FlatArray[int32]](t, pool, `'{{1},{2}}'::int[]`, two+"pgtype.FlatArray[int32]")
		isRefused[any](t, pool, `'{{1,2},{3,4}}'::int[]`, two+"any")
		isRefused[[]string](t, pool, `'{{sad},{ok}}'::mood[]`, two+"[]string")
		bounds := "an array that does not begin at index 1 does not fit "
		isRefused[[]int32](t, pool, `'[2:3]={1,2}'::int[]`, bounds+"[]int32: use pgtype.Array")
		isRefused[[][]int32](t, pool, `'[1:1][0:1]={{1,2}}'::int[]`, bounds+"[][]int32: use pgtype.Array")
		isRefused[any](t, pool, `'[0:1]={1,2}'::int[]`, bounds+"any")
		isRefused[[]string](t, pool, `'[0:0]={sad}'::mood[]`, bounds+"[]string")
	})
}

// pgx 5.12 takes 30 days for a month.
func TestRead_Intervals(t *testing.T) {
	t.Parallel()
	inModes(t, func(t *testing.T, pool *pgxpool.Pool) {
		t.Helper()
		isRead(t, pool, `'1 day 02:00'::interval`, 26*time.Hour)
		isRead(t, pool, `'-00:00:01'::interval`, new(-time.Second))
		isRead(t, pool, `'1 mon'::interval`, pgtype.Interval{Months: 1, Valid: true})
		isRead[*time.Duration](t, pool, `null::interval`, nil)
		isRead(t, pool, `'2562047:00:00'::interval`, 2562047*time.Hour)
		for _, interval := range []string{"2562048:00:00", "-106752 days", "2147483647 days", "106751 days 24:00"} {
			isRefused[time.Duration](t, pool, fmt.Sprintf(`'%s'::interval`, interval), "an interval of more than 292 years does not fit time.Duration: use pgtype.Interval")
		}
		for _, interval := range []string{"1 mon", "-1 mon", "1 year", "1 mon -30 days"} {
			want := "an interval with months has no fixed length and does not fit time.Duration: use pgtype.Interval"
			isRefused[time.Duration](t, pool, fmt.Sprintf(`'%s'::interval`, interval), want)
			isRefused[*time.Duration](t, pool, fmt.Sprintf(`'%s'::interval`, interval), want)
		}
	})
}

type itemPart struct {
	Doc  *string
	Raw  json.RawMessage
	Any  any
	Mood string
	Took time.Duration
	Cost pgtype.Numeric
	Dims []int32
}

type orderPart struct {
	ID    int64
	Item  itemPart
	Items []itemPart
}

// The parts of a composite type that pgx knows are read by the rules of columns.
func TestRead_Composite(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeSimpleProtocol} {
		url := dbtest.PostgresURL(t)
		create := `create type mood as enum ('sad', 'ok'); create type item as (doc jsonb, raw json, anything jsonb, mood mood, took interval, cost numeric, dims int[]); create type "order" as (id bigint, item item, items item[])`
		owner := open(t, url, pgx.QueryExecModeSimpleProtocol, nil, create, `create table t (id bigint primary key, v "order", w jsonb)`)
		config, err := pgxpool.ParseConfig(url)
		require.NoError(t, err)
		config.ConnConfig.DefaultQueryExecMode = mode
		config.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
			types, err := conn.LoadTypes(ctx, []string{"mood", "item", "_item", "order"})
			if err == nil {
				conn.TypeMap().RegisterTypes(types)
			}
			return err
		}
		pool, err := pgxpool.NewWithConfig(t.Context(), config)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		item := func(change string) string {
			parts := map[string]string{"doc": `'null'`, "raw": `'{"b":  1}'`, "anything": `'{"n": 12345678901234567}'`, "took": `'-25:00:00'`, "cost": `0.00`, "dims": `'{1,2}'`}
			if name, value, ok := strings.Cut(change, "="); ok {
				parts[name] = value
			}
			return fmt.Sprintf(`row(%s, %s, %s, 'ok', %s, %s, %s)::item`, parts["doc"], parts["raw"], parts["anything"], parts["took"], parts["cost"], parts["dims"])
		}
		of := func(change string) string {
			return `row(1, ` + item("") + `, array[` + item(change) + `])::"order"`
		}
		null := "null"
		part := itemPart{&null, json.RawMessage(`{"b":  1}`), map[string]any{"n": json.Number("12345678901234567")}, "ok", -25 * time.Hour, pgtype.Numeric{Int: big.NewInt(0), Exp: -2, Valid: true}, []int32{1, 2}}
		isRead(t, pool, of(""), orderPart{1, part, []itemPart{part}})
		isRead(t, pool, `array[`+item("")+`]`, []itemPart{part})
		for change, want := range map[string]string{
			`anything='"5"'`:       `a JSON string that is itself JSON, "5", would be written as that JSON: use json.RawMessage`,
			`anything='null'`:      `a JSON null would be the same as NULL or an empty value in any: use json.RawMessage`,
			`took='1 mon'`:         `an interval with months has no fixed length`,
			`dims='{{1,2},{3,4}}'`: `an array of 2 dimensions does not fit []int32`,
			`dims='[0:1]={1,2}'`:   `an array that does not begin at index 1`,
		} {
			isRefused[orderPart](t, pool, of(change), "failed to scan array element 0: "+want)
		}
		type anything struct {
			ID int64
			W  any `db:"v"`
		}
		for got, err := range pgtable.Select[anything](pool, `select 1::bigint as id, `+item("")+` as v`).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
			if mode == pgx.QueryExecModeCacheStatement {
				require.ErrorContains(t, err, "a JSON null would be the same as NULL")
			} else if err == nil {
				require.IsType(t, "", got.Value.W)
			}
		}
		written := readAllOf[valued[orderPart]](t, pool, `select 1 as id, `+of("")+` as v`)
		client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Logger: slog.New(slog.DiscardHandler), Flows: []*dataflow.Flow{
			dataflow.NewFlow("people", memory.Slice(written), dataflow.Identity[valued[orderPart]](), pgtable.Upsert[valued[orderPart]]("t", "id"), nil),
		}})
		require.NoError(t, err)
		require.NoError(t, client.Migrate(t.Context()))
		require.NoError(t, client.Register(t.Context()))
		triggered(t, client)
		var same bool
		require.NoError(t, owner.QueryRow(t.Context(), `select v::text = (`+of("")+`)::text from t`).Scan(&same))
		require.True(t, same)
	}
}

func readAllOf[T any](t *testing.T, pool *pgxpool.Pool, sql string) (rows []T) {
	t.Helper()
	for item, err := range pgtable.Select[T](pool, sql).Read(t.Context(), dataflow.Request[dataflow.NoCursor]{}) {
		require.NoError(t, err)
		rows = append(rows, item.Value)
	}
	return rows
}
