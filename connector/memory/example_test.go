package memory_test

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"iter"
	"log"
	"log/slog"
	"strings"

	_ "modernc.org/sqlite" // The "sqlite" driver.

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

func ExampleSlice() {
	src := memory.Slice([]string{"sparrow", "swan", "gull"})

	// A run with a checkpoint continues after it.
	from := dataflow.Request[memory.Cursor]{From: 1, Resumed: true}
	for item, err := range src.Read(context.Background(), from) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Cursor, item.Value)
	}
	// Output:
	// row 2 swan
	// row 3 gull
}

func ExampleFunc() {
	src := memory.Func(func(context.Context) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := 1; i <= 3 && yield(i*i, nil); i++ {
			}
		}
	})
	for item, err := range src.Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Key, item.Value)
	}
	// Output:
	// row 1 1
	// row 2 4
	// row 3 9
}

func ExampleSink() {
	sink := memory.NewSink[string]()
	batch := dataflow.SinkBatch[string]{ID: "1", Rows: []string{"sparrow", "swan"}, Keys: []string{"row 1", "row 2"}}
	for range 2 { // a crash made the run write its batch twice
		if err := sink.Write(context.Background(), batch); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(sink.Rows(), sink.Keys())
	// Output: [sparrow swan] [row 1 row 2]
}

func ExampleChan() {
	ch := make(chan string, 2)
	ch <- "sparrow"
	ch <- "swan"
	close(ch)
	for item, err := range memory.Chan(ch).Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Key, item.Value)
	}
	// Output:
	// row 1 sparrow
	// row 2 swan
}

func ExampleToFunc() {
	target := memory.ToFunc(func(_ context.Context, bird string) error {
		fmt.Println("saw a", bird)
		return nil
	})
	fmt.Println(target.Guarantee())
	// Output: at_least_once
}

func ExampleSeq() {
	birds := func(yield func(string, error) bool) {
		for _, bird := range []string{"sparrow", "swan"} {
			if !yield(bird, nil) {
				return
			}
		}
	}
	for item, err := range memory.Seq(birds).Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Key, item.Value)
	}
	// Output:
	// row 1 sparrow
	// row 2 swan
}

// Next wraps a reader that returns one record at a time.
func ExampleNext() {
	lines := bufio.NewReader(strings.NewReader("sparrow\nswan\n"))
	src := memory.Next(func(context.Context) (string, error) {
		line, err := lines.ReadString('\n')
		return strings.TrimSpace(line), err
	})
	for item, err := range src.Read(context.Background(), dataflow.Request[dataflow.NoCursor]{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(item.Key, item.Value)
	}
	// Output:
	// row 1 sparrow
	// row 2 swan
}

// A flow sends its rows on a channel to another goroutine.
func ExampleToChan() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	check(err)
	defer func() { check(db.Close()) }()
	db.SetMaxOpenConns(1)

	birds := make(chan string)
	flow := dataflow.NewFlow("birds", memory.Slice([]string{"sparrow", "swan"}), dataflow.Identity[string](), memory.ToChan(birds), nil)
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{flow}, Logger: slog.New(slog.DiscardHandler)})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	go func() {
		_, err := client.Trigger(ctx, "birds", nil)
		check(err)
		close(birds) // the target does not close it
	}()
	for bird := range birds {
		fmt.Println(bird)
	}
	// Output:
	// sparrow
	// swan
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
