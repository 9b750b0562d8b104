package dataflow_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
)

func TestParseGlobalID(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]dataflow.GlobalID{
		"gid://dataflow/Flow/7":                                                    {App: "dataflow", Model: "Flow", ID: 7},
		"gid://my-app/ActiveDataFlow::DataFlow/12":                                 {App: "my-app", Model: "ActiveDataFlow::DataFlow", ID: 12},
		"gid://app/ActiveDataFlow::ActiveRecord::DataFlow/1?expires_in=3600&a=b/c": {App: "app", Model: "ActiveDataFlow::ActiveRecord::DataFlow", ID: 1, Params: "expires_in=3600&a=b/c"},
		"gid://dataflow/Run/9223372036854775807":                                   {App: "dataflow", Model: "Run", ID: 9223372036854775807},
	} {
		got, err := dataflow.ParseGlobalID(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
		require.Equal(t, text, got.String())
	}
	for text, why := range map[string]string{
		"":                                 "does not begin with gid://",
		"7":                                "does not begin with gid://",
		"GID://dataflow/Flow/7":            "does not begin with gid://",
		"gid://dataflow/Flow":              "has 2 parts",
		"gid://dataflow/Flow/7/":           "has 4 parts",
		"gid:///Flow/7":                    "must be names",
		"gid://dataflow//7":                "must be names",
		"gid://data flow/Flow/7":           "must be names",
		"gid://dataflow/Flow/0":            "is not a positive number",
		"gid://dataflow/Flow/-7":           "is not a positive number",
		"gid://dataflow/Flow/+7":           "is not a positive number",
		"gid://dataflow/Flow/07":           "is not a positive number",
		"gid://dataflow/Flow/orders":       "is not a positive number",
		"gid://a/Flow/9223372036854775808": "is not a positive number",
	} {
		_, err := dataflow.ParseGlobalID(text)
		require.ErrorIs(t, err, dataflow.ErrGlobalID, text)
		require.ErrorContains(t, err, why, text)
		require.ErrorContains(t, err, "use gid://dataflow/Flow/ID")
		requirePublic(t, err)
	}
}
