package driverkit

import (
	"cmp"
	"math"
	"strconv"
	"strings"

	"github.com/activedataflow/dataflow"
)

// arguments are those of a statement that is made of parts.
type arguments struct {
	mark string // begins a parameter: "$" or "?"
	args []any
}

func (a *arguments) add(v any) string {
	a.args = append(a.args, v)
	return a.mark + strconv.Itoa(len(a.args))
}

// flowOf is SQL of the id of the flow of a name.
func (a *arguments) flowOf(name string) string {
	return "(select id from {s}dataflow_flow where name = " + a.add(name) + ")"
}

// newest returns the rest of a query for a page of ids below before, newest first, of rows whose
// columns have the values. It asks for a range and an order that only an index of these columns
// and the id has. So the database does not walk through the rows of others, whatever it believes of
// their number.
func (a *arguments) newest(columns, values []string, before int64, limit int, more string) string {
	before = cmp.Or(before, math.MaxInt64)
	if len(columns) == 0 {
		return "where id < " + a.add(before) + more + " order by id desc limit " + a.add(limit)
	}
	row, place := "("+strings.Join(columns, ", ")+", id)", "("+strings.Join(values, ", ")+", "
	return "where " + row + " > " + place + "0) and " + row + " < " + place + a.add(before) + ")" + more +
		" order by " + strings.Join(columns, " desc, ") + " desc, id desc limit " + a.add(limit)
}

// AuditList returns the statement that lists the audit log, newest first, and its arguments. mark
// begins a parameter: "$" or "?".
func AuditList(p *dataflow.AuditListParams, mark string) (query string, args []any) {
	a := arguments{mark: mark}
	var columns, values []string
	more := ""
	switch {
	case p.Flow != "":
		columns, values = []string{"flow_id"}, []string{a.flowOf(p.Flow)}
		if p.Actor != "" {
			more = " and actor = " + a.add(p.Actor)
		}
	case p.Actor != "":
		columns, values = []string{"actor"}, []string{a.add(p.Actor)}
	}
	page := "select id from {s}dataflow_audit " + a.newest(columns, values, p.Before, p.Limit, more)
	return "select a.id, a.at, a.actor, a.action, a.flow_id, f.name, coalesce(a.run_id, 0), a.reason, a.before, a.after\nfrom (" + page +
		") page join {s}dataflow_audit a on a.id = page.id join {s}dataflow_flow f on f.id = a.flow_id\norder by a.id desc", a.args
}

// DeadLetterList returns the statement that lists dead letters, newest first, and its arguments.
// columns is a select of the tables l and f without a condition. mark begins a parameter.
func DeadLetterList(p *dataflow.DeadLetterListParams, columns, mark string) (query string, args []any) {
	a := arguments{mark: mark}
	state := p.State
	if p.Open {
		state = cmp.Or(state, dataflow.DeadLetterOpen)
	}
	var by, values []string
	more := ""
	if p.Flow != "" && p.Run == 0 {
		by, values = append(by, "flow_id"), append(values, a.flowOf(p.Flow))
	}
	if p.Run != 0 {
		by, values = append(by, "run_id"), append(values, a.add(p.Run))
		if p.Flow != "" {
			more += " and flow_id = " + a.flowOf(p.Flow)
		}
		if state != "" {
			more += " and state = " + a.add(string(state))
		}
	} else if state != "" {
		by, values = append(by, "state"), append(values, a.add(string(state)))
	}
	if p.Open {
		more += " and closed_at is null"
	}
	page := "select id from {s}dataflow_dead_letter " + a.newest(by, values, p.Before, p.Limit, more)
	return columns + "\nwhere l.id in (" + page + ")\norder by l.id desc", a.args
}
