#!/usr/bin/env bash
# gorm.io/gorm v1.31.2, with github.com/glebarez/sqlite v1.11.0.
#
# A good guess: db.Order(…).FindInBatches yields each row once, in that order, or refuses the order.
# Seen, without an error: it orders so, but goes on after the primary key of a batch's last row, as if
# the order were that of the key. So rows come twice, and others never. Without Order, each comes once.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"fmt"

	"github.com/glebarez/sqlite"
	"gorm.io/gorm"
)

type Item struct {
	ID   int
	Name string
}

func main() {
	db, err := gorm.Open(sqlite.Open(":memory:"), &gorm.Config{})
	check(err)
	check(db.AutoMigrate(&Item{}))
	check(db.Create([]Item{{1, "c"}, {2, "f"}, {3, "a"}, {4, "e"}, {5, "b"}, {6, "d"}}).Error)
	for _, order := range []string{"", "id desc", "name"} {
		query := db.Session(&gorm.Session{})
		if order != "" {
			query = query.Order(order)
		}
		var ids []int
		var page []Item
		check(query.FindInBatches(&page, 2, func(*gorm.DB, int) error {
			for _, i := range page {
				ids = append(ids, i.ID)
			}
			return nil
		}).Error)
		fmt.Printf("order %q: %v\n", order, ids)
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
go mod init finding >/dev/null 2>&1
go get gorm.io/gorm@v1.31.2 github.com/glebarez/sqlite@v1.11.0 >/dev/null 2>&1
got=$(go run .)
echo "$got"
diff <(echo "$got") - <<'SEEN'
order "": [1 2 3 4 5 6]
order "id desc": [6 5 6]
order "name": [3 5 6]
SEEN
