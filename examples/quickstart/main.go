// Quickstart loads a CSV file into a table of typed rows by one flow. A second,
// incremental flow sums up the costs of strikes by species from that table. It runs
// on SQLite, or on the Postgres named by DATABASE_URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// Strike is one collision of an aircraft with an animal: a line of the file, and
// a row of the table.
type Strike struct {
	Date     time.Time `csv:"Flight Date" db:"flight_date"`
	Airport  string    `csv:"Airport Name" db:"airport_name"`
	Aircraft string    `csv:"Aircraft Make Model" db:"aircraft_make_model"`
	Damage   string    `csv:"Effect Amount of damage" db:"damage"`
	Operator string    `csv:"Aircraft Airline Operator" db:"operator"`
	State    string    `csv:"Origin State" db:"origin_state"`
	Phase    string    `csv:"Phase of flight" db:"phase_of_flight"`
	Size     string    `csv:"Wildlife Size" db:"wildlife_size"`
	Species  string    `csv:"Wildlife Species" db:"wildlife_species"`
	Time     string    `csv:"Time of day" db:"time_of_day"`
	Other    int64     `csv:"Cost Other" db:"cost_other"`
	Repair   int64     `csv:"Cost Repair" db:"cost_repair"`
	Total    int64     `csv:"Cost Total $" db:"cost_total"`
	Speed    *int64    `csv:"Speed IAS in knots" db:"speed_knots"` // nil if not recorded
}

// StoredStrike is a row of the table with the id that the database gave it.
type StoredStrike struct {
	ID      int64  `db:"id"`
	Species string `db:"wildlife_species"`
	Total   int64  `db:"cost_total"`
}

func main() {
	file := flag.String("csv", "testdata/birdstrikes.csv", "the file to read")
	path := flag.String("db", "quickstart.db", "the SQLite file, if DATABASE_URL is not set")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *file, *path); err != nil {
		log.Fatal(err)
	}
}

// flows declares both flows. C is the cursor type of the source that reads the
// table.
func flows[C any](
	file string,
	table dataflow.Target[Strike],
	stored dataflow.Source[StoredStrike, C],
	addCost func(ctx context.Context, species string, cost int64) error,
) []*dataflow.Flow {
	options := &dataflow.FlowOptions{Runtime: dataflow.JobQueue{BatchSize: 1000}}
	strikes := dataflow.NewFlow("strikes",
		csvfile.Open[Strike](file, nil), // the cursor is a place in the file
		dataflow.Identity[Strike](),
		table, // written in the checkpoint's transaction
		options)
	costs := dataflow.NewFlow("costs",
		stored, // the cursor is the id
		dataflow.Filter(func(s StoredStrike) bool { return s.Total > 0 }),
		dataflow.ToTx(dataflow.TxSinkFunc[StoredStrike](func(ctx context.Context, rows []StoredStrike) error {
			for _, s := range rows {
				if err := addCost(ctx, s.Species, s.Total); err != nil {
					return err
				}
			}
			return nil
		})),
		options)
	return []*dataflow.Flow{strikes, costs}
}

func run(ctx context.Context, file, path string) error {
	db, err := open(ctx, file, path)
	if err != nil {
		return err
	}
	defer db.close()

	client, err := dataflow.NewClient(db.driver, &dataflow.Config{
		Flows:  db.flows,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if err := client.Migrate(ctx); err != nil {
		return err
	}
	if err := client.Start(ctx); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := client.Stop(ctx); err != nil {
			log.Print(err)
		}
	}()

	fmt.Printf("Working on %s.\n\n", db.name)
	for _, name := range []string{"strikes", "costs"} {
		if err := execute(ctx, client, name); err != nil {
			return err
		}
	}
	if err := show(ctx, client, db); err != nil {
		return err
	}
	fmt.Print("\n", db.hint, "\n")
	return nil
}

// execute starts a run of a flow and shows its progress until it ends.
func execute(ctx context.Context, client *dataflow.Client, name string) error {
	events, cancel := client.Subscribe(dataflow.EventRunProgress)
	var printing sync.WaitGroup
	defer printing.Wait()
	defer cancel()
	printing.Go(func() {
		for e := range events {
			total := "?"
			if e.Run.Total != nil {
				total = fmt.Sprint(*e.Run.Total)
			}
			fmt.Printf("  %-8s %5d of %s records read, %d written\n", e.Run.FlowName, e.Run.Counters.Read, total, e.Run.Counters.Written)
		}
	})

	flow, err := client.Flow(ctx, name)
	if err != nil {
		return err
	}
	run, err := flow.Runtime.Execute(ctx, flow) // adds a run and its River job
	if err != nil {
		return err
	}
	_, err = client.Wait(ctx, run.ID)
	return err
}

// show prints the runs, newest first, and their results.
func show(ctx context.Context, client *dataflow.Client, db *database) error {
	runs, err := client.Runs(ctx, &dataflow.RunListParams{Limit: 4})
	if err != nil {
		return err
	}
	fmt.Println("\nThe last runs:")
	fmt.Printf("  %4s  %-8s %-8s %6s %8s %9s %10s\n", "run", "flow", "state", "read", "written", "filtered", "duration")
	for _, r := range runs {
		c := r.Counters
		fmt.Printf("  %4d  %-8s %-8s %6d %8d %9d %10s\n", r.ID, r.FlowName, r.State, c.Read, c.Written, c.Filtered, r.Duration().Round(time.Millisecond))
	}
	for _, q := range queries() {
		fmt.Printf("\n%s:\n", q.title)
		if err := db.print(ctx, q.sql); err != nil {
			return err
		}
	}
	return nil
}
