package pgtable

import (
	"context"
	"errors"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/activedataflow/dataflow"
)

// checkEncoding returns an error if the server takes the session's texts, which are UTF-8 in Go, for
// texts of another encoding. That is so in a database of another encoding, unless the client says
// otherwise. SQL_ASCII converts nothing.
func checkEncoding(conn *pgx.Conn) error {
	client, server := conn.PgConn().ParameterStatus("client_encoding"), conn.PgConn().ParameterStatus("server_encoding")
	switch {
	case client == "UTF8", client == "UNICODE", client == "": // UNICODE is its old name; a proxy may not say it
		return nil
	case client == "SQL_ASCII" && (server == "UTF8" || server == "SQL_ASCII"):
		return nil
	default:
		return dataflow.Permanent(fmt.Errorf("the session's client_encoding is %s, in which Postgres would read and write other characters than the records have: add client_encoding=UTF8 to the pool's connection string", client))
	}
}

// pgx reads types that it does not know as text: money, composite types, and what holds these. That
// text may depend on settings of the session. checkTexts refuses it in a session whose settings make
// it another text than the defaults do, as the text may then mean another value elsewhere.

// typeParts finds the types of which those of inside consist.
const typeParts = `
	select inside.type, part.oid
	from inside
	join pg_catalog.pg_type t on t.oid = inside.oid
	cross join lateral (
		select t.typelem where t.typcategory = 'A'
		union all select t.typbasetype where t.typtype = 'd'
		union all select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid or to_jsonb(r) ->> 'rngmultitypid' = t.oid::text
		union all select a.atttypid from pg_catalog.pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
	) part (oid)`

// insideTypes are the types inside each type of the array $1.
const insideTypes = `
with recursive inside (type, oid) as (
	select k::oid, k::oid from unnest($1::bigint[]) k
	union` + typeParts + `
)`

// textSettingsQuery lists the settings on which the texts of types depend.
const textSettingsQuery = insideTypes + `
select distinct inside.type::bigint, pg_catalog.format_type(inside.type, null), s.name, current_setting(s.name)
from inside
join pg_catalog.pg_type t on t.oid = inside.oid
join (values ('date', 'DateStyle'), ('timestamp', 'DateStyle'), ('timestamptz', 'DateStyle'), ('interval', 'IntervalStyle'), ('float4', 'extra_float_digits'),
	('float8', 'extra_float_digits'), ('cube', 'extra_float_digits'), ('bytea', 'bytea_output'), ('money', 'lc_monetary')) s (type, name) on s.type = t.typname
order by 1, 3`

// usual are the values of settings that give the text of the defaults. For money, it is that of
// en_US, which the locale C gives too.
var usual = map[string]*regexp.Regexp{ //nolint:gochecknoglobals // nothing changes it
	"DateStyle":          regexp.MustCompile(`^ISO`),
	"IntervalStyle":      regexp.MustCompile(`^postgres$`),
	"extra_float_digits": regexp.MustCompile(`^[1-9]`),
	"bytea_output":       regexp.MustCompile(`^hex$`),
	moneyLocale:          regexp.MustCompile(`(?i)^(c|posix|en_us)([._@].*)?$`),
}

// advice says how the text of a type gets to be independent of a setting.
func advice(setting string) string {
	if setting == moneyLocale {
		return "select the column as numeric (v::numeric), or set lc_monetary to 'C' for this role"
	}
	return fmt.Sprintf("set %s to its default for this role, or select the parts of the value", setting)
}

// checkTexts returns an error if a column of a result is read as text that depends on unusual
// settings of the session.
func checkTexts(ctx context.Context, conn *pgx.Conn, columns []pgconn.FieldDescription) error {
	var oids []int64
	for _, c := range columns {
		if _, known := conn.TypeMap().TypeForOID(c.DataTypeOID); !known {
			oids = append(oids, int64(c.DataTypeOID))
		}
	}
	if oids == nil {
		return nil
	}
	rows, err := conn.Query(ctx, textSettingsQuery, oids)
	if err != nil {
		return inTheWay(fmt.Errorf("look up the types of the query: %w", err))
	}
	var oid int64
	var typ, setting, value string
	var unusual []error
	_, err = pgx.ForEachRow(rows, []any{&oid, &typ, &setting, &value}, func() error {
		if usual[setting].MatchString(value) {
			return nil
		}
		for _, c := range columns {
			if int64(c.DataTypeOID) == oid {
				unusual = append(unusual, fmt.Errorf("column %q is of type %s, which is read as text that depends on %s, and that is %s in this session: the text could mean another value elsewhere: %s",
					c.Name, typ, setting, value, advice(setting)))
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return inTheWay(fmt.Errorf("look up the types of the query: %w", err))
	case unusual != nil:
		return dataflow.Permanent(errors.Join(unusual...))
	default:
		return nil
	}
}

// checkMoney refuses to write money in a session whose locale reads another amount from the text
// "1,234.50".
func (st *statement) checkMoney(locale string) error {
	if usual[moneyLocale].MatchString(locale) {
		return nil
	}
	for _, c := range st.columns {
		if c.oid == moneyOID || c.oid == moneyArrayOID {
			return dataflow.Permanent(fmt.Errorf("column %q (field %s) is of type %s, and the text of an amount means another one if %s is %s: set %s to 'C' for this role, or alter the column to numeric",
				c.name, c.field.Field, c.typ, moneyLocale, locale, moneyLocale))
		}
	}
	return nil
}

const (
	moneyLocale   = "lc_monetary"
	moneyArrayOID = 791
)
