//go:build unix

package mysqltest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/sqltable"
)

// A unique index of columns that are not written is refused too, if two records may have equal values there: MySQL's
// upsert would give the values of one to the row of the other.
func TestUpsertTo_UniqueOfOthers(t *testing.T) {
	t.Parallel()
	type person struct {
		ID    int64
		Email string
	}
	for name, tc := range map[string]struct {
		column  string // that is not written, and is unique
		refused bool
	}{
		"Stored":      {"x varchar(50) as (lower(Email)) persistent", true},
		"Virtual":     {"x varchar(50) as (lower(email)) virtual", true},
		"OfBoth":      {"x varchar(50) as (concat(id div 10, email)) virtual", true},
		"Number":      {"x int not null default 0", true},
		"Text":        {"x varchar(9) default 'none(s)'", true},
		"Moment":      {"x timestamp(6) not null default current_timestamp(6)", true},
		"OfTheKey":    {"x bigint as (-id) persistent", false},
		"Numbered":    {"x bigint not null auto_increment", false},
		"Null":        {"x bigint", false},
		"DefaultNull": {"x bigint default null", false},
		"Random":      {"x varchar(36) not null default (uuid())", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := setup(t, "create table person (id bigint primary key, email varchar(50) character set utf8mb4 collate utf8mb4_bin, "+tc.column+", unique index other (x))")
			s := claimed(t, sqltable.UpsertTo[person](db, "person", "id"))
			for range 2 {
				err := s.WriteFenced(t.Context(), batch(1, person{1, "A"}, person{2, "a"}))
				if tc.refused {
					require.ErrorContains(t, err, "the table has another unique index, `other`")
					require.True(t, dataflow.IsPermanent(err))
					require.Empty(t, texts(t, db, "select id from person"))
					continue
				}
				require.NoError(t, err)
				require.Equal(t, []string{"1 A", "2 a"}, texts(t, db, "select concat(id, ' ', email) from person order by id"))
			}
		})
	}
}
