package pgtable

import (
	"errors"

	"github.com/activedataflow/dataflow"
)

// errHidden is the error of a table whose rows may be hidden.
var errHidden = dataflow.Permanent(errors.New("row security is active for this role and may hide rows, which then would not be deleted or changed as in the source: use a role with bypassrls, or the table's owner, or a policy for it using (true)"))

// hides is an expression that tells whether row security may hide rows of a table from this role. It cannot if policies
// show it all rows, to read, update and delete them, and none restricts that.
func hides(table string) string {
	return `coalesce(pg_catalog.row_security_active(` + table + `) and (
	exists (select from pg_catalog.pg_policy policy where policy.polrelid = ` + table + ` and not policy.polpermissive)
	or exists (select from pg_catalog.unnest(array['r', 'w', 'd']) need (command) where not exists (
		select from pg_catalog.pg_policy policy where policy.polrelid = ` + table + ` and policy.polcmd::text in ('*', need.command)
			and pg_catalog.pg_get_expr(policy.polqual, policy.polrelid) = 'true'
			and exists (select from pg_catalog.unnest(policy.polroles) given (role) where given.role = 0 or pg_catalog.pg_has_role(given.role, 'usage'))))), false)`
}

// unlessHidden is a condition that is true, or ends the statement with alteredText if row security may hide rows by
// now. Without it, a row that is hidden would stay, as if it were not there.
func unlessHidden(table string) string {
	return "(case when " + hides(literal(table)+"::regclass") + " then '" + alteredText + "' else '0' end)::int = 0"
}
