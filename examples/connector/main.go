// Connector has a source and a sink of its own: letters in one directory, and files in another.
// Its test puts both through the contract of connectortest. See README.md.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"log"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	_ "modernc.org/sqlite"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/dataflowsqlite"
)

// Letter is a file of the inbox.
type Letter struct{ Name, Text string }

// Inbox reads the letters in a directory, in the order of their names. The cursor is the name of
// the last letter.
type Inbox struct{ Dir string }

func (in Inbox) Read(ctx context.Context, r dataflow.Request[string]) iter.Seq2[dataflow.Item[Letter, string], error] {
	return func(yield func(dataflow.Item[Letter, string], error) bool) {
		entries, err := os.ReadDir(in.Dir) // sorted
		if err != nil {
			yield(dataflow.Item[Letter, string]{}, err) // this ends the read
			return
		}
		for _, entry := range entries {
			name := entry.Name()
			if name <= r.From { // it was read; From is empty at first
				continue
			}
			item := dataflow.Item[Letter, string]{Cursor: name, Resume: true}
			text, err := os.ReadFile(filepath.Join(in.Dir, name))
			switch {
			case ctx.Err() != nil:
				err = ctx.Err()
			case err == nil && !utf8.Valid(text):
				err = &dataflow.RecordError{Key: name, Err: errors.New("it is not UTF-8")} // and the read goes on
			}
			item.Value = Letter{Name: name, Text: string(text)}
			if !yield(item, err) {
				return
			}
		}
	}
}

// Outbox writes a file for each letter, named by its key: a letter that comes again after a crash
// takes the place of its file.
type Outbox struct{ Dir string }

func (out Outbox) Write(ctx context.Context, b dataflow.SinkBatch[Letter]) error {
	for i, letter := range b.Rows {
		if err := ctx.Err(); err != nil {
			return err
		}
		name := strings.ReplaceAll(b.Keys[i], "/", "-") // a key is any text
		if err := os.WriteFile(filepath.Join(out.Dir, name), []byte(letter.Text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	ctx := context.Background()
	in, out := folder("inbox"), folder("outbox")
	check(os.WriteFile(filepath.Join(in, "1.txt"), []byte("dear ada"), 0o600))
	check(os.WriteFile(filepath.Join(in, "2.txt"), []byte("\xff\xfe"), 0o600))
	check(os.WriteFile(filepath.Join(in, "3.txt"), []byte("dear grace"), 0o600))
	db, err := sql.Open("sqlite", "file:connector.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	check(err)
	db.SetMaxOpenConns(1) // SQLite has one writer

	shout := dataflow.Map(func(_ context.Context, l Letter) (Letter, error) {
		return Letter{Name: l.Name, Text: strings.ToUpper(l.Text)}, nil
	})
	letters := dataflow.NewFlow("letters", Inbox{Dir: in}, shout, dataflow.To(Outbox{Dir: out}),
		&dataflow.FlowOptions{Runtime: dataflow.Heartbeat{}, OnBadRecord: dataflow.SkipUpTo(10)})
	client, err := dataflow.NewClient(dataflowsqlite.New(db), &dataflow.Config{Flows: []*dataflow.Flow{letters}})
	check(err)
	check(client.Migrate(ctx))
	check(client.Register(ctx))
	run, err := client.Trigger(ctx, "letters", nil)
	check(err)
	fmt.Printf("run %d: %s, %d read, %d written, %d dropped\n", run.ID, run.State, run.Counters.Read, run.Counters.Written, run.Counters.Dropped)
}

func folder(name string) string {
	check(os.MkdirAll(name, 0o755))
	return name
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
