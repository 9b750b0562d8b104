package csvfile_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

func ExampleOpen() {
	type Strike struct {
		Airport string    `csv:"Airport Name"`
		Date    time.Time `csv:"Flight Date"`
		Speed   *int64    `csv:"Speed IAS in knots"` // nil where the cell is empty
	}
	src := csvfile.Open[Strike]("../../testdata/birdstrikes.csv", nil)

	// A flow reads like this, batch by batch, from its last checkpoint.
	from := dataflow.Request[csvfile.Cursor]{From: csvfile.Cursor{Offset: 1223090, Line: 9999}, Resumed: true}
	for item, err := range src.Read(context.Background(), from) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Cursor, item.Value.Airport, item.Value.Date.Format(time.DateOnly), *item.Value.Speed)
	}
	// Output:
	// line 10000 BARKSDALE AIR FORCE BASE ARPT 2002-07-25 110
	// line 10001 GREATER PITTSBURGH 2002-07-25 140
}

func ExampleOpen_badRecord() {
	dir, err := os.MkdirTemp("", "csvfile")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "orders.csv")
	if err := os.WriteFile(path, []byte("id;placed on\n1;2024-05-01\n2;2024-05-32\n3;2024-06-01\n"), 0o600); err != nil {
		fmt.Println(err)
		return
	}

	type Order struct {
		ID       int64
		PlacedOn time.Time
	}
	src := csvfile.Open[Order](path, &csvfile.Options{Comma: ';', TimeLayouts: []string{time.DateOnly}})
	for item, err := range src.Read(context.Background(), dataflow.Request[csvfile.Cursor]{}) {
		var bad *dataflow.RecordError
		switch {
		case errors.As(err, &bad):
			fmt.Println(bad.Key, bad.Err, string(bad.Raw))
		case err != nil:
			fmt.Println(err)
		default:
			fmt.Println(item.Cursor, item.Value.ID)
		}
	}
	// Output:
	// line 2 1
	// line 3 column "placed on": "2024-05-32" is not a valid time.Time: want 2006-01-02 {"id":"2","placed on":"2024-05-32"}
	// line 4 3
}

// A stream is read from its beginning each time.
func ExampleFromFunc() {
	type Order struct{ ID, Cents int64 }
	download := func(context.Context) (io.ReadCloser, error) { // from an object store, for example
		return io.NopCloser(strings.NewReader("id,cents\n1,250\n2,99\n")), nil
	}
	for item, err := range csvfile.FromFunc[Order](download, nil).Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Key, item.Value)
	}
	// Output:
	// line 2 {1 250}
	// line 3 {2 99}
}

func ExampleAppendTo() {
	type Order struct {
		ID       int64     `csv:"id"`
		PlacedOn time.Time `csv:"placed on,layout=2006-01-02"`
	}
	target := csvfile.AppendTo[Order]("orders.csv", &csvfile.SinkOptions{MaxFileBytes: 100 << 20})
	fmt.Println(target.Guarantee(), target.Describe().Detail["path"])
	// Output: exactly_once orders.csv
}

// Several files are read in the order of their names. Each has its own header.
func ExampleOpenFS() {
	type Order struct{ ID, Cents int64 }
	days := fstest.MapFS{
		"2026-01-01.csv": {Data: []byte("id,cents\n1,250\n")},
		"2026-01-02.csv": {Data: []byte("cents,id\n99,2\n")},
	}
	for item, err := range csvfile.OpenFS[Order](days, "*.csv", nil).Read(context.Background(), dataflow.Request[csvfile.Cursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Cursor, item.Value)
	}
	// Output:
	// 2026-01-01.csv line 2 {1 250}
	// 2026-01-02.csv line 2 {2 99}
}

// A reader is read once, such as the standard input of a command.
func ExampleFrom() {
	type Order struct{ ID, Cents int64 }
	in := strings.NewReader("id;cents\n1;250\n2;99\n")
	for item, err := range csvfile.From[Order](in, &csvfile.Options{Comma: ';'}).Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Key, item.Value)
	}
	// Output:
	// line 2 {1 250}
	// line 3 {2 99}
}

// Each batch is a file, which appears in one step.
func ExampleWriteFiles() {
	type Order struct{ ID, Cents int64 }
	fmt.Println(csvfile.WriteFiles[Order](os.TempDir(), nil).Guarantee())
	// Output: at_least_once
}
