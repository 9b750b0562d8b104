#!/bin/sh
# compile-time.sh prints the CPU time to build a program with 1 flow, and with 20 flows of 20
# record types, each a Keyset, an Identity and an Upsert. Its packages are built before.
set -eu
cd "$(dirname "$0")/.."
dir=$(mktemp -d ./internal/compiletime-XXXXXX)
trap 'rm -rf "$dir"' EXIT

program() { # program FLOWS NAME
	mkdir "$dir/$2"
	{
		cat <<'GO'
package main

import (
	"context"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/dataflowpgx"
)

func main() {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, os.Args[1])
	if err != nil {
		panic(err)
	}
	client, err := dataflow.NewClient(dataflowpgx.New(pool), &dataflow.Config{Flows: flows(pool)})
	if err != nil {
		panic(err)
	}
	if err := client.Start(ctx); err != nil {
		panic(err)
	}
}

func flows(pool *pgxpool.Pool) []*dataflow.Flow {
	return []*dataflow.Flow{
GO
		for i in $(seq 1 "$1"); do
			echo "dataflow.NewFlow(\"f$i\", pgtable.Keyset[R$i](pool, pgtable.Query{SQL: \"select * from t$i\", Key: []string{\"id\"}}), dataflow.Identity[R$i](), pgtable.Upsert[R$i](\"u$i\", \"id\"), nil),"
		done
		echo "}}"
		for i in $(seq 1 "$1"); do
			echo "type R$i struct { ID int64; Name string; F$i *string; Amount float64; At time.Time }"
		done
	} >"$dir/$2/main.go"
}

# build prints the CPU time of one build of a program whose packages are built.
build() {
	go build -o /dev/null "$dir/$1"
	echo "// again" >>"$dir/$1/main.go"
	sh -c 'go build -o /dev/null "$1" && times' sh "$dir/$1" | tail -1
}

program 1 one
program 20 twenty
echo "1 flow, user and system time:   $(build one)"
echo "20 flows, user and system time: $(build twenty)"
