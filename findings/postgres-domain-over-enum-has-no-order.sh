#!/usr/bin/env bash
# Postgres 18.4 (the same on 15.18), through pgx v5.12.0.
#
# A good guess: a domain has the operators of the type below it; a domain over text or bigint does,
# and a table can have a primary key of a domain over an enum and be read "order by" it. Seen: a
# domain over an enum has no =, < or >, not even against the enum or a literal. So the first page of
# "order by k limit n" is read, and the second, "where k > $1", never. A cast to the enum helps.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
mkdir "$dir/go" && cd "$dir/go"
cat >main.go <<'GO'
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, os.Getenv("URL"))
	check(err)
	for _, statement := range []string{
		`create type mood as enum ('sad', 'fine')`, `create domain known_mood as mood`, `create domain label as text`,
		`create table t (k known_mood primary key, l label)`, `insert into t values ('fine', 'b'), ('sad', 'a')`,
	} {
		_, err := conn.Exec(ctx, statement)
		check(err)
	}
	for _, query := range []string{
		`select k::text as v from t order by k limit 1`,
		`select k::text as v from t where k > 'sad' order by k limit 1`,
		`select k::text as v from t where k = 'sad'::mood`,
		`select k::text as v from t where k::mood > 'sad' order by k limit 1`,
		`select l::text as v from t where l > 'a'`,
	} {
		var text string
		err := conn.QueryRow(ctx, query).Scan(&text)
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			text = pg.Code + " " + pg.Message
		}
		fmt.Printf("%s: %s\n", query, text)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get github.com/jackc/pgx/v5@v5.12.0 >/dev/null 2>&1
got=$(URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres" go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
select k::text as v from t order by k limit 1: sad
select k::text as v from t where k > 'sad' order by k limit 1: 42883 operator does not exist: known_mood > unknown
select k::text as v from t where k = 'sad'::mood: 42883 operator does not exist: known_mood = mood
select k::text as v from t where k::mood > 'sad' order by k limit 1: fine
select l::text as v from t where l > 'a': b
SEEN
