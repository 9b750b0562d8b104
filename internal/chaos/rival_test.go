//go:build unix && chaos

package chaos_test

import (
	"context"
	"time"
)

// rival says how a flow's transactions conflict with another writer.
type rival string

const (
	noRival  rival = ""
	deadlock rival = "deadlock" // the two lock the same rows in opposite orders
	serial   rival = "serial"   // the flow's snapshot is older than the writer's update
)

const rivalSQL = `
create table chaos_total (id integer primary key, n bigint not null);
insert into chaos_total select id, 0 from generate_series(1, 3) id;`

// begin sets up a transaction of the flow.
func (r rival) begin(exec func(statement string, args ...any) error) error {
	if r != serial {
		return nil
	}
	return exec(`set transaction isolation level repeatable read`)
}

// meet gives the other writer time for a conflict.
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
