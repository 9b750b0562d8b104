package pgchange

import (
	"context"
	"fmt"
	"regexp"

	"github.com/activedataflow/dataflow"
)

// moneyQuery returns the locale by which the server writes amounts of a type that is money or holds
// it, and the type's name; "" for another type.
const moneyQuery = `
with recursive inside (oid) as (
	select $1::oid
	union
	select part.oid
	from inside
	join pg_catalog.pg_type t on t.oid = inside.oid
	cross join lateral (
		select t.typelem where t.typcategory = 'A'
		union all select t.typbasetype where t.typtype = 'd'
		union all select a.atttypid from pg_catalog.pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
	) part (oid)
)
select case when exists (select from inside where oid = 'money'::regtype) then current_setting('lc_monetary') else '' end, pg_catalog.format_type($1::oid, null)`

// usualMoney are the locales whose text of an amount means the same in most sessions, as in pgtable.
var usualMoney = regexp.MustCompile(`(?i)^(c|posix|en_us)([._@].*)?$`)

// checkMoney returns an error if a column has amounts whose text may be another amount in the
// target: "$ 12,50" of es_AR is 1250.00 in the locale C.
func (r *reader[T]) checkMoney(ctx context.Context, name string, rel *relation[T]) error {
	for i, oid := range rel.types {
		if _, known := r.types.TypeForOID(oid); known || !rel.decoder.Has(i) || r.noMoney[oid] {
			continue
		}
		var locale, typ string
		if err := r.control.QueryRow(ctx, moneyQuery, oid).Scan(&locale, &typ); err != nil {
			return fmt.Errorf("look up type %d: %w", oid, err)
		}
		if locale != "" && !usualMoney.MatchString(locale) {
			return dataflow.Permanent(fmt.Errorf("table %s: column %q is of type %s, which is read as text that depends on lc_monetary, and that is %s for this role on the source: the text could mean another amount in the target: "+
				"alter the column to numeric, or set lc_monetary to 'C' for the role if amounts have two decimals", name, rel.columns[i], typ, locale))
		}
		r.noMoney[oid] = true
	}
	return nil
}
