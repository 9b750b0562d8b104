#!/usr/bin/env bash
# gorm.io/gorm v1.31.2 with gorm.io/driver/postgres v1.6.3, and PostgreSQL 18.4. Needs npm, for the server.
#
# A good guess: Save writes all fields of a record, and an upsert with OnConflict{UpdateAll: true} all of its columns. Seen,
# without an error, for a field with the tag default:now(), or another default that the server computes: it is written
# when the row is new, and by the Save of one record. It is left as it is by UpdateAll, and by the Save of a slice, which is such an
# upsert. So a time by which readers find what has changed stays where it was, and the other columns are new. A
# field with the tag default:7 is written each time. In the source, what has a default without a value in Go is left out.
set -euo pipefail
cd "$(dirname "$0")"
. lib/postgres.sh
start_postgres "$(mktemp -d)" 18.4.0-beta.17
export URL="postgres://postgres@127.0.0.1:$PGPORT_FOUND/postgres"
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

type Order struct {
	ID     int `gorm:"primaryKey"`
	State  string
	Rank   int       `gorm:"default:7"`
	SeenAt time.Time `gorm:"default:now()"`
}

func main() {
	db, err := gorm.Open(postgres.Open(os.Getenv("URL")), &gorm.Config{Logger: logger.Discard})
	check(err)
	check(db.AutoMigrate(&Order{}))
	day := func(n int) time.Time { return time.Date(2026, 11, n, 12, 0, 0, 0, time.UTC) }
	show := func(what string, tx *gorm.DB) {
		check(tx.Error)
		var o Order
		check(db.First(&o, 1).Error)
		fmt.Printf("%s: %s, rank %d, seen on day %d; affected: %d\n", what, o.State, o.Rank, o.SeenAt.UTC().Day(), tx.RowsAffected)
	}
	show("Create of day 1", db.Create(&Order{1, "new", 1, day(1)}))
	show("Create with UpdateAll of day 2", db.Clauses(clause.OnConflict{UpdateAll: true}).Create(&Order{1, "paid", 2, day(2)}))
	show("Save of day 3", db.Save(&Order{1, "packed", 3, day(3)}))
	show("Save of a slice of day 4", db.Save([]Order{{1, "sent", 4, day(4)}}))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get gorm.io/gorm@v1.31.2 gorm.io/driver/postgres@v1.6.3 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
Create of day 1: new, rank 1, seen on day 1; affected: 1
Create with UpdateAll of day 2: paid, rank 2, seen on day 1; affected: 1
Save of day 3: packed, rank 3, seen on day 3; affected: 1
Save of a slice of day 4: sent, rank 4, seen on day 3; affected: 1
SEEN
