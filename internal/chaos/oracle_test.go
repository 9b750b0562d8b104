//go:build unix && chaos

package chaos_test

import (
	"fmt"

	"github.com/stretchr/testify/require"
)

// exact checks what must hold when all runs have ended, and returns the log.
func (s *stage) exact() []entry {
	s.Helper()
	require.Zero(s, s.number(unfinished), "runs that have not ended")
	require.Zero(s, s.number(`select count(*) from dataflow_run where state <> 'success'`), "runs that have failed")
	for i := range s.flows {
		s.exactFlow(&s.flows[i])
	}
	log := s.log()
	s.checkLog(log)
	s.Logf("take-over %s", takeovers(log))
	s.Logf("between checkpoints %s", gaps(log))
	return log
}

// exactFlow checks that
//
//   - the target holds each number of the flow once, up to its cursor;
//   - the cursor has reached the flow's limit;
//   - the counters of its runs and of its checkpoint agree with the cursor;
//   - the cursor of a single run moved by as many numbers as the run read.
func (s *stage) exactFlow(f *flowSettings) {
	s.Helper()
	where := fmt.Sprintf(`where flow = '%s'`, f.Name)
	runs := fmt.Sprintf(`from dataflow_run where flow_id = (select id from dataflow_flow where name = '%s')`, f.Name)
	checkpoint := fmt.Sprintf(`from dataflow_checkpoint where flow_id = (select id from dataflow_flow where name = '%s')`, f.Name)
	cursor := s.number(`select coalesce(max(cast(cast(cursor as text) as bigint)), 0) ` + checkpoint)
	if f.Limit > 0 && f.Poison == 0 {
		require.Equal(s, f.Limit, cursor, "flow %s: its source is not read to the end", f.Name)
	}
	target := s.db
	if f.Elsewhere {
		target = s.elsewhere
		require.Equal(s, cursor, s.sinkCursor(f.Name), "flow %s: the cursor beside its target", f.Name)
	}
	require.Equal(s, cursor, s.numberIn(target, `select count(*) from chaos_target `+where), "flow %s: rows in the target", f.Name)
	require.Equal(s, cursor, s.numberIn(target, `select count(distinct n) from chaos_target `+where), "flow %s: different rows in the target", f.Name)
	if cursor > 0 {
		require.Equal(s, int64(1), s.numberIn(target, `select min(n) from chaos_target `+where), "flow %s", f.Name)
		require.Equal(s, cursor, s.numberIn(target, `select max(n) from chaos_target `+where), "flow %s", f.Name)
	}
	for _, counter := range []string{"read", "written"} {
		require.Equal(s, cursor, s.number(`select coalesce(sum(`+counter+`), 0) `+runs), "flow %s: %s by its runs", f.Name, counter)
		require.Equal(s, cursor, s.number(`select coalesce(sum(`+counter+`), 0) `+checkpoint), "flow %s: %s by its checkpoint", f.Name, counter)
	}
	require.Zero(s, s.number(`select count(*) `+runs+` and read <> written`), "flow %s", f.Name)
	if s.number(`select count(*) `+runs) > 1 {
		return // Between two slices or attempts of a run, another run may move the cursor.
	}
	const way = `coalesce(cast(cast(to_cursor as text) as bigint), 0) - coalesce(cast(nullif(cast(from_cursor as text), 'null') as bigint), 0)`
	require.Zero(s, s.number(`select count(*) `+runs+` and to_cursor is not null and read <> `+way), "flow %s: a run's counters differ from the distance that its cursor moved", f.Name)
}

// untroubled checks that each run needed one attempt, and none had an error.
func (s *stage) untroubled() {
	s.Helper()
	require.Zero(s, s.number(`select count(*) from dataflow_run where attempt <> 1`), "runs with more than one attempt")
	require.Zero(s, s.number(`select count(*) from dataflow_run where error <> ''`), "runs with an error")
}
