#!/usr/bin/env bash
# github.com/dbos-inc/dbos-transact-golang v1.8.0, with PostgreSQL 18.4.
#
# A good guess: a workflow that is recovered after its process died goes on with what its finished steps
# had returned, so that it does what it would have done. Seen: a running workflow goes on with the value
# itself, a recovered one with what JSON made of it. Nothing is logged. Two values that Go users return:
#   - a time in a zone comes back with its offset alone. A day later across a change of the clocks is
#     another time then, one hour off.
#   - an integer in a map[string]any comes back as a float64: its last digit is lost.
# The program runs each workflow twice: whole, and with a process that ends after the step.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"
	_ "time/tzdata"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
)

// dieAfter ends a process that is to die when a workflow's step has been stored.
func dieAfter(workflow string) {
	if os.Getenv("DIE") == workflow {
		os.Exit(9)
	}
}

func nextNoon(c dbos.Context, _ string) (string, error) {
	at, err := dbos.RunAsStep(c, func(context.Context) (time.Time, error) {
		zone, err := time.LoadLocation("Europe/Berlin")
		return time.Date(2026, 10, 24, 12, 0, 0, 0, zone), err // clocks go back in the night
	})
	dieAfter("nextNoon")
	return at.AddDate(0, 0, 1).UTC().Format(time.RFC3339), err
}

func orderID(c dbos.Context, _ string) (string, error) {
	order, err := dbos.RunAsStep(c, func(context.Context) (map[string]any, error) {
		return map[string]any{"id": int64(9007199254740993)}, nil
	})
	dieAfter("orderID")
	id := order["id"]
	if f, ok := id.(float64); ok {
		return fmt.Sprintf("%.0f", f), err
	}
	return fmt.Sprint(id), err
}

func main() {
	ctx := context.Background()
	c, err := dbos.NewContext(ctx, dbos.Config{
		AppName: "finding", DatabaseURL: os.Getenv("URL"), ApplicationVersion: "1",
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	check(err)
	dbos.RegisterWorkflow(c, nextNoon, dbos.WithWorkflowName("nextNoon"))
	dbos.RegisterWorkflow(c, orderID, dbos.WithWorkflowName("orderID"))
	check(dbos.Launch(c)) // recovers what another process has left
	defer dbos.Shutdown(c, 5*time.Second)

	if os.Getenv("DIE") != "" {
		workflow := dbos.Workflow[string, string](nextNoon)
		if os.Getenv("DIE") == "orderID" {
			workflow = orderID
		}
		h, err := dbos.RunWorkflow(c, workflow, "", dbos.WithWorkflowID(os.Getenv("DIE")))
		check(err)
		_, err = h.GetResult()
		check(err)
		return
	}
	if os.Getenv("RECOVER") != "" {
		for _, id := range []string{"nextNoon", "orderID"} {
			h, err := dbos.RetrieveWorkflow[string](c, id)
			check(err)
			got, err := h.GetResult()
			check(err)
			fmt.Println(id, "recovered:", got)
		}
		return
	}
	for _, workflow := range []dbos.Workflow[string, string]{nextNoon, orderID} {
		h, err := dbos.RunWorkflow(c, workflow, "")
		check(err)
		got, err := h.GetResult()
		check(err)
		fmt.Println("whole:", got)
	}
	for _, env := range []string{"DIE=nextNoon", "DIE=orderID", "RECOVER=1"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), env)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 9 {
			panic(err)
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n' >go.mod
(go get github.com/dbos-inc/dbos-transact-golang@v1.8.0 && go mod tidy && go build -o program .) >get.log 2>&1 || { cat get.log; exit 1; }
got=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres?sslmode=disable" ./program)
echo "$got"
diff <(echo "$got") - <<'SEEN'
whole: 2026-10-25T11:00:00Z
whole: 9007199254740993
nextNoon recovered: 2026-10-25T10:00:00Z
orderID recovered: 9007199254740992
SEEN
