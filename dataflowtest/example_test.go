//nolint:thelper // these are tests, not helpers
package dataflowtest_test

import (
	"testing"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowtest"
)

// Order is a record of the examples.
type Order struct {
	ID    int
	Cents int
}

// This is a whole test of a flow.
func ExampleNew() {
	_ = func(t *testing.T) { // func TestOrders
		orders := dataflowtest.NewSource(Order{1, 250}, Order{2, 990})
		sink := dataflowtest.NewSink[Order]()
		kit := dataflowtest.New(t, dataflow.NewFlow("orders", orders, dataflow.Identity[Order](), sink.Target(), nil))
		kit.Work("orders")
		kit.RequireRun("orders", dataflow.RunSuccess)
		dataflowtest.RequireExactlyOnce(t, orders.Rows(), sink.Rows(kit))
	}
}

// A sink is tested by killing the process at each point.
func ExampleKit_CrashAt() {
	_ = func(t *testing.T) {
		for _, point := range []dataflowtest.Point{dataflowtest.AfterWrite, dataflowtest.AfterCommit} {
			orders := dataflowtest.NewSource(Order{1, 250}, Order{2, 990})
			sink := dataflowtest.NewSink[Order]() // yours
			kit := dataflowtest.New(t, dataflow.NewFlow("orders", orders, dataflow.Identity[Order](), sink.Target(), nil))
			kit.CrashAt(point, 1)
			kit.Work("orders")
			dataflowtest.RequireExactlyOnce(t, orders.Rows(), sink.Rows(kit))
		}
	}
}

// A schedule is tested by moving the clock.
func ExampleKit_Advance() {
	_ = func(t *testing.T) {
		flow := dataflow.NewFlow("nightly", dataflowtest.NewSource(1), dataflow.Identity[int](), dataflowtest.NewSink[int]().Target(),
			&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{Schedule: dataflow.Schedule{Cron: "0 3 * * *", TimeZone: "Europe/Berlin"}}})
		kit := dataflowtest.New(t, flow)
		if runs := kit.Advance(7 * 24 * time.Hour); len(runs) != 7 {
			t.Errorf("%d runs in a week", len(runs))
		}
	}
}
