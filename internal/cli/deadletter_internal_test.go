package cli

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

// A field keeps its type of JSON if it is a text, and its place.
func TestWithFields(t *testing.T) {
	t.Parallel()
	record := json.RawMessage(`{"id": 12345678901234567890, "amount": "12,50", "paid": true}`)
	for set, want := range map[string]string{
		"amount=12.50": `{"id":12345678901234567890,"amount":"12.50","paid":true}`,
		"amount=a=b":   `{"id":12345678901234567890,"amount":"a=b","paid":true}`,
		"paid=false":   `{"id":12345678901234567890,"amount":"12,50","paid":false}`,
		"paid=no":      `{"id":12345678901234567890,"amount":"12,50","paid":"no"}`,
		"amount:=12.5": `{"id":12345678901234567890,"amount":12.5,"paid":true}`,
		"id=7":         `{"id":7,"amount":"12,50","paid":true}`,
	} {
		got, err := withFields(record, []string{set})
		require.NoError(t, err)
		require.Equal(t, want, string(got), set)
	}
	for set, want := range map[string]string{"amount": "is not FIELD=VALUE", "amount:=a": "is not FIELD:=JSON", "total:=1": `no field "total"`, "total=1": `no field "total"; its fields are amount, id, paid`} {
		_, err := withFields(record, []string{set})
		require.ErrorContains(t, err, want)
	}
	require.ErrorContains(t, valuesAsText(errors.New("cannot unmarshal string"), []string{"amount=12"}), "--set amount:=12 sets what is no text")
	_, err := withFields(json.RawMessage(`["a"]`), []string{"a=1"})
	require.ErrorContains(t, err, "--payload")
}
