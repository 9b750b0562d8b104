package driverkit

import (
	"cmp"
	"math"
	"strconv"

	"github.com/activedataflow/dataflow"
)

// AuditList returns the statement that lists the audit log, newest first, and its arguments. mark
// begins a parameter: "$" or "?". It orders by what only one index has, so that the database walks
// through no entries of others.
func AuditList(p *dataflow.AuditListParams, mark string) (query string, args []any) {
	parameter := func(v any) string {
		args = append(args, v)
		return mark + strconv.Itoa(len(args))
	}
	where, order := "a.id < "+parameter(cmp.Or(p.Before, math.MaxInt64)), "a.id desc"
	if p.Actor != "" {
		where += " and a.actor = " + parameter(p.Actor)
	}
	switch {
	case p.Flow != "":
		where += " and a.flow_id = (select id from {s}dataflow_flow where name = " + parameter(p.Flow) + ")"
		order = "a.flow_id desc, " + order
	case p.Actor != "":
		order = "a.actor desc, " + order
	}
	return "select a.id, a.at, a.actor, a.action, a.flow_id, f.name, coalesce(a.run_id, 0), a.reason, a.before, a.after\n" +
		"from {s}dataflow_audit a join {s}dataflow_flow f on f.id = a.flow_id\nwhere " + where + "\norder by " + order + " limit " + parameter(p.Limit), args
}
