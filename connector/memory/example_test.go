package memory_test

import (
	"context"
	"fmt"
	"iter"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/memory"
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
