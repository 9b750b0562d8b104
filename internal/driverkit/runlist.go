package driverkit

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// RunListDialect is what the statement of RunList has of a database.
type RunListDialect struct {
	// Mark begins a parameter: "$" or "?".
	Mark string
	// NoOrder ends a subquery that must not be merged with the one around it.
	NoOrder string
	// IndexedBy is true if a query can name its index. Otherwise a range and an order that only
	// this index has make the database take it.
	IndexedBy bool
	// Lateral is true if the database has lateral subqueries. With one, it looks the runs of a
	// page up one by one. Otherwise its plan may walk through all runs for them.
	Lateral bool
	// Flow is SQL of the id of the flow whose runs are listed, in place of the parameters' name.
	// FlowID is that id, or a pointer to it.
	Flow   string
	FlowID any
	// Columns are the columns of a run, of the tables r and f.
	Columns string
	// Alone is true if no column is one of f.
	Alone bool
	// Table returns SQL of the texts in a parameter, as a table, and Item is its column. Texts
	// returns the parameter's value.
	Table func(parameter string) string
	Item  string
	Texts func(texts []string) any
	// DueAt returns SQL of the time before which a run must have been due. The parameter is how
	// long ago that is, and Age is its value.
	DueAt func(parameter string) string
	Age   any
}

// RunList returns the statement that lists runs, newest first, and its arguments. It asks for
// each state, and for each trigger of ended runs, apart, and merges the answers. So it reads
// the beginning of an index for each, however many runs of other states and triggers there
// are.
func RunList(p *dataflow.RunListParams, d RunListDialect) (query string, args []any) {
	l := runList{p: p, d: d}
	l.before = l.parameter(cmp.Or(p.Before, math.MaxInt64))
	l.limit = l.parameter(p.Limit)
	switch {
	case d.Flow != "":
		l.flow = d.Flow
	case d.FlowID != nil:
		l.flow = l.parameter(d.FlowID)
	case p.Flow != "":
		l.flow = "(select id from {s}dataflow_flow where name = " + l.parameter(p.Flow) + ")"
	}
	switch {
	case p.Backfill != "":
		l.ofBackfill()
	case p.Due || p.Overdue:
		l.live(dataflow.RunPending, " and run_after <= "+d.DueAt(l.parameter(d.Age)))
	default:
		l.live(dataflow.RunPending, "")
		l.live(dataflow.RunInProgress, "")
		l.ended(dataflow.RunSuccess)
		l.ended(dataflow.RunFailed)
		l.ended(dataflow.RunCancelled)
	}
	if len(l.parts) == 0 {
		l.parts = append(l.parts, "select 0 where "+l.before+" < 0")
	}
	run := "select " + d.Columns + " from {s}dataflow_run r"
	if !d.Alone {
		run += " join {s}dataflow_flow f on f.id = r.flow_id"
	}
	run += "\nwhere r.id "
	ids := "(\n\t" + strings.Join(l.parts, "\n\tunion all\n\t") + ")"
	if d.Lateral {
		return "select one.* from (select id from " + ids + " found order by id desc limit " + l.limit + ") page cross join lateral (\n" +
			run + "= page.id" + d.NoOrder + ") one\norder by page.id desc", l.args
	}
	return run + "in " + ids + "\norder by r.id desc limit " + l.limit, l.args
}

type runList struct {
	p                   *dataflow.RunListParams
	d                   RunListDialect
	args                []any
	parts               []string
	before, limit, flow string // flow is empty for all flows
}

// parameter adds an argument and returns its mark.
func (l *runList) parameter(v any) string {
	l.args = append(l.args, v)
	return l.d.Mark + strconv.Itoa(len(l.args))
}

func (l *runList) leavesOut(state dataflow.RunState) bool {
	return len(l.p.States) > 0 && !slices.Contains(l.p.States, state)
}

// live adds the runs of a state that a run leaves again. These have small indexes of their own,
// which are not in the order of the ids.
func (l *runList) live(state dataflow.RunState, more string) {
	if l.leavesOut(state) {
		return
	}
	if l.flow != "" {
		more += " and flow_id = " + l.flow
	}
	if l.p.Trigger != "" {
		more += " and trigger = " + l.parameter(string(l.p.Trigger))
	}
	l.parts = append(l.parts, "select id from (select id from (select id from {s}dataflow_run where state = '"+string(state)+"' and +id < "+l.before+more+
		l.d.NoOrder+") p order by id desc limit "+l.limit+") l")
}

// ofBackfill adds the runs of a backfill. Each of its ranges has a scope of its own, so that no run
// of another backfill is read.
func (l *runList) ofBackfill() {
	scopes := make([]string, dataflow.MaxRanges)
	for i := range scopes {
		if scopes[i] = l.p.Backfill; i > 0 {
			scopes[i] += "/" + strconv.Itoa(i+1)
		}
	}
	// The scopes are looked up one by one: the planner might read all backfills of the flow instead.
	from := l.d.Table(l.parameter(l.d.Texts(scopes)))
	of := "flow_id = " + l.flow + " and scope <> '' and scope = " + l.d.Item
	where := "b.id < " + l.before
	if l.d.Lateral {
		from += " cross join lateral (select id, state, trigger from {s}dataflow_run where " + of + l.d.NoOrder + ") b"
	} else {
		from += " cross join {s}dataflow_run b indexed by dataflow_run_scope"
		where += " and " + of
	}
	if len(l.p.States) > 0 {
		states := make([]string, len(l.p.States))
		for i, state := range l.p.States {
			states[i] = l.parameter(string(state))
		}
		where += " and b.state in (" + strings.Join(states, ", ") + ")"
	}
	if l.p.Trigger != "" {
		where += " and b.trigger = " + l.parameter(string(l.p.Trigger))
	}
	l.parts = append(l.parts, "select id from (select b.id from "+from+" where "+where+" order by b.id desc limit "+l.limit+") l")
}

// ended adds the runs that ended in a state.
func (l *runList) ended(state dataflow.RunState) {
	if l.leavesOut(state) {
		return
	}
	triggers := dataflow.Triggers()
	if l.p.Trigger != "" {
		triggers = []dataflow.Trigger{l.p.Trigger}
	}
	for _, trigger := range triggers {
		one := l.byRange
		if l.d.IndexedBy {
			one = l.byName
		}
		l.parts = append(l.parts, "select id from ("+one(state, l.parameter(string(trigger)))+" limit "+l.limit+") e")
	}
}

func (l *runList) byName(state dataflow.RunState, trigger string) string {
	index, flow := "dataflow_run_all_ended", ""
	if l.flow != "" {
		index, flow = "dataflow_run_flow_ended", " and flow_id = "+l.flow
	}
	return "select id from {s}dataflow_run indexed by " + index + " where ended_at is not null" + flow +
		" and state = '" + string(state) + "' and trigger = " + trigger + " and id < " + l.before + " order by id desc"
}

func (l *runList) byRange(state dataflow.RunState, trigger string) string {
	columns, order, place := "(state, trigger, id)", "state desc, trigger desc, id desc", "("
	if l.flow != "" {
		columns, order, place = "(flow_id, state, trigger, id)", "flow_id desc, "+order, "("+l.flow+", "
	}
	place += "'" + string(state) + "', " + trigger + ", "
	return "select id from {s}dataflow_run where ended_at is not null and " +
		columns + " > " + place + "0) and " + columns + " < " + place + l.before + ") order by " + order
}
