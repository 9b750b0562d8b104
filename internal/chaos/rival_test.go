//go:build unix && chaos

package chaos_test

import (
	"context"
	"time"
)

// rival says how a flow's transactions get in the way of another writer's.
type rival string

const (
	noRival  rival = ""
	deadlock rival = "deadlock" // they lock two rows in an order that the other reverses
	serial   rival = "serial"   // their snapshot is older than the other's update
)

const rivalSQL = `
create table chaos_total (id integer primary key, n bigint not null);
insert into chaos_total select id, 0 from generate_series(1, 3) id;`

// begin is the start of a transaction.
func (r rival) begin(exec func(statement string, args ...any) error) error {
	if r != serial {
		return nil
	}
	return exec(`set transaction isolation level repeatable read`)
}

// meet gives the other writer time to get in the way.
func (r rival) meet(ctx context.Context, exec func(statement string, args ...any) error, hold time.Duration) error {
	if r == deadlock {
		if err := exec(`update chaos_total set n = n + 1 where id = 1`); err != nil {
			return err
		}
	}
	if !pause(ctx, hold) {
		return ctx.Err()
	}
	switch r {
	case deadlock:
		return exec(`update chaos_total set n = n + 1 where id = 2`)
	case serial:
		return exec(`update chaos_total set n = n + 1 where id = 3`)
	default:
		return nil
	}
}
