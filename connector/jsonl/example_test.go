package jsonl_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"

	_ "modernc.org/sqlite" // The "sqlite" driver.

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

type Strike struct {
	Airport string `json:"airport"`
	Cost    int64  `json:"cost"`
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleOpenFS() {
	days := fstest.MapFS{
		"2026-01-01.jsonl": {Data: []byte(`{"airport": "NEWARK", "cost": 30}` + "\n" + `{"airport": "NEWARK", "cost": "?"}` + "\n")},
		"2026-01-02.jsonl": {Data: []byte(`{"airport": "PITTSBURGH", "cost": 0}`)},
	}
	src := jsonl.OpenFS[Strike](days, "*.jsonl", nil)
	for item, err := range src.Read(context.Background(), dataflow.Request[jsonl.Cursor]{}) {
		var bad *dataflow.RecordError
		switch {
		case errors.As(err, &bad):
			fmt.Println(bad.Key, "is bad:", string(bad.Raw))
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(item.Cursor, item.Value)
		}
	}
	// Output:
	// 2026-01-01.jsonl line 1 {NEWARK 30}
	// 2026-01-01.jsonl line 2 is bad: {"airport": "NEWARK", "cost": "?"}
	// 2026-01-02.jsonl line 1 {PITTSBURGH 0}
}

// A flow from one file to another resumes on both sides.
func ExampleAppendTo() {
	dir, err := os.MkdirTemp("", "jsonl")
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	in, out := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "out.jsonl")
	db, err := sql.Open("sqlite", filepath.Join(dir, "dataflow.db"))
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1)

	flow := dataflow.NewFlow("strikes", jsonl.Open[Strike](in, nil),
		dataflow.Map(func(_ context.Context, s Strike) (Strike, error) {
			s.Airport = strings.ToLower(s.Airport)
			return s, nil
		}),
		jsonl.AppendTo[Strike](out, nil), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	ctx := context.Background()
	check(client.Migrate(ctx))
	check(client.Register(ctx))

	for _, text := range []string{
		`{"airport": "NEWARK", "cost": 30}` + "\n",
		`{"airport": "NEWARK", "cost": 30}` + "\n" + `{"airport": "PITTSBURGH", "cost": 0}` + "\n",
	} {
		check(os.WriteFile(in, []byte(text), 0o600))
		run, err := client.Trigger(ctx, "strikes", nil)
		check(err)
		fmt.Println(run.State, run.Counters.Written, "written")
	}
	data, err := os.ReadFile(out)
	check(err)
	fmt.Print(string(data))
	// Output:
	// success 1 written
	// success 1 written
	// {"airport":"newark","cost":30}
	// {"airport":"pittsburgh","cost":0}
}

// Each batch is a file, which appears in one step.
func ExampleWriteFiles() {
	dir, err := os.MkdirTemp("", "jsonl")
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Println(jsonl.WriteFiles[Strike](dir).Guarantee())
	// Output: at_least_once
}

// A later read continues after the last record.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "jsonl")
	check(err)
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "strikes.jsonl")
	check(os.WriteFile(path, []byte(`{"airport": "NEWARK", "cost": 30}`+"\n"+`{"airport": "PITTSBURGH", "cost": 0}`+"\n"), 0o600))

	src := jsonl.Open[Strike](path, nil)
	from := dataflow.Request[jsonl.Cursor]{From: jsonl.Cursor{Offset: 34, Line: 1}, Resumed: true}
	for item, err := range src.Read(context.Background(), from) {
		check(err)
		fmt.Println(item.Cursor, item.Value)
	}
	// Output: line 2 {PITTSBURGH 0}
}

// A stream is read from its beginning each time.
func ExampleFromFunc() {
	download := func(context.Context) (io.ReadCloser, error) { // from an object store, for example
		return io.NopCloser(strings.NewReader(`{"airport": "NEWARK", "cost": 30}`)), nil
	}
	for item, err := range jsonl.FromFunc[Strike](download, nil).Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		check(err)
		fmt.Println(item.Key, item.Value)
	}
	// Output: line 1 {NEWARK 30}
}
