package pgchange

import (
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/pgtable"
	"github.com/activedataflow/dataflow/internal/dbtest"
)

// Amounts of money are refused if their text may be another amount elsewhere: "$ 12,50" of es_AR is
// 1250.00 in the locale C. The server of the test has only the latter, which is taken for another one.
func TestReader_CheckMoney(t *testing.T) { //nolint:paralleltest // it sets usualMoney
	was := usualMoney
	t.Cleanup(func() { usualMoney = was })
	for name, want := range map[string]bool{"C": true, "C.UTF-8": true, "en_US.utf8": true, "es_AR.UTF-8": false, "de_DE": false, "": false} {
		require.Equal(t, want, usualMoney.MatchString(name), name)
	}
	pool := dbtest.Postgres(t)
	_, err := pool.Exec(t.Context(), `create domain price as money; create type offer as (at date, prices price[]); create type mood as enum ('sad'); alter role current_user in database `+
		pool.Config().ConnConfig.Database+` set lc_monetary = 'C'; create table t (v money, a price[], o offer, m mood)`)
	require.NoError(t, err)
	pool.Reset()
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	defer conn.Release()
	described, err := conn.Conn().Prepare(t.Context(), "", `select v, a, o, m from t`)
	require.NoError(t, err)
	type row struct{ V string }
	check := func(field pgconn.FieldDescription, column string) error {
		r := &reader[row]{control: conn.Conn(), decoding: decoding[row]{types: pgtype.NewMap(), noMoney: make(map[uint32]bool)}}
		decoder, err := pgtable.NewRowDecoder[row](r.types, []pgconn.FieldDescription{{Name: column, DataTypeOID: pgtype.TextOID}})
		require.NoError(t, err)
		return r.checkMoney(t.Context(), "public.t", &relation[row]{columns: []string{column}, types: []uint32{field.DataTypeOID}, decoder: decoder})
	}
	for _, f := range described.Fields {
		require.NoError(t, check(f, "v"))
	}
	usualMoney = regexp.MustCompile(`^en_US$`)
	for i, typ := range []string{"money", "price[]", "offer"} {
		err := check(described.Fields[i], "v")
		require.ErrorContains(t, err, `table public.t: column "v" is of type `+typ+`, which is read as text that depends on lc_monetary, and that is C for this role on the source`)
		require.True(t, dataflow.IsPermanent(err))
	}
	require.NoError(t, check(described.Fields[3], "v"))
	require.NoError(t, check(described.Fields[0], "other"), "the record has no field for it")
}
