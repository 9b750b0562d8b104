#!/usr/bin/env bash
# github.com/rs/xid v1.6.0, go.mongodb.org/mongo-driver/v2 v2.10.0, github.com/segmentio/ksuid v1.0.4,
# github.com/google/uuid v1.6.0. Beside them github.com/oklog/ulid/v2 v2.1.2 and
# github.com/gofrs/uuid/v5 v5.5.1.
#
# A good guess: ids that carry a time, made one after another in one process, sort in the order in which
# they were made. So whoever has read up to the greatest id has read all before it. Seen: xid and
# ObjectID count in three bytes from a random number on. When the count passes its end, the ids of
# the same second sort before those made earlier. KSUIDs of one second are in no order: half go back.
# UUIDs of version 6 of google/uuid go back a few hundred times in a million, and those of gofrs/uuid in some runs a few times. Version 7
# of both and ulid.Make never do, within one process. Whoever pages by such an id loses the rows that go back.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'GO'
package main

import (
	"bytes"
	"fmt"

	gofrs "github.com/gofrs/uuid/v5"
	"github.com/google/uuid"
	"github.com/oklog/ulid/v2"
	"github.com/rs/xid"
	"github.com/segmentio/ksuid"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// The counters of xid and ObjectID have 24 bits, so that many ids pass their end at least once.
const whole = 1 << 24

func main() {
	count("xid.New", whole, func() []byte { return xid.New().Bytes() })
	count("bson.NewObjectID", whole, func() []byte { id := bson.NewObjectID(); return id[:] })
	count("ksuid.New", 1_000_000, func() []byte { return ksuid.New().Bytes() })
	count("google/uuid NewV6", 1_000_000, func() []byte { id, err := uuid.NewV6(); check(err); return id[:] })
	count("google/uuid NewV7", 1_000_000, func() []byte { id, err := uuid.NewV7(); check(err); return id[:] })
	count("gofrs/uuid NewV7", 1_000_000, func() []byte { id, err := gofrs.NewV7(); check(err); return id[:] })
	count("ulid.Make", 1_000_000, func() []byte { id := ulid.Make(); return id[:] })
}

// count prints whether any id sorts before the one that was made before it.
func count(name string, n int, next func() []byte) {
	back, last := 0, next()
	for range n {
		id := next()
		if bytes.Compare(id, last) < 0 {
			back++
		}
		last = id
	}
	said := "in order"
	if back > 0 {
		said = "goes back"
	}
	fmt.Printf("%-18s %s\n", name, said)
	println(name, "back:", back, "of", n)
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.24\n' >go.mod
go get github.com/rs/xid@v1.6.0 go.mongodb.org/mongo-driver/v2@v2.10.0 github.com/segmentio/ksuid@v1.0.4 github.com/google/uuid@v1.6.0 \
  github.com/oklog/ulid/v2@v2.1.2 github.com/gofrs/uuid/v5@v5.5.1 >get.log 2>&1 || { cat get.log; exit 1; }
seen=$(go run .)
echo "$seen"
diff <(echo "$seen") - <<'SEEN'
xid.New            goes back
bson.NewObjectID   goes back
ksuid.New          goes back
google/uuid NewV6  goes back
google/uuid NewV7  in order
gofrs/uuid NewV7   in order
ulid.Make          in order
SEEN
