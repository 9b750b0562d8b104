package jsonl_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/jsonl"
)

// BenchmarkOpen reads objects of four fields. One object in a hundred has escapes.
// The Nested case adds two fields, which hold a list and an object.
func BenchmarkOpen(b *testing.B) {
	type flat struct {
		ID        int64     `json:"id"`
		Name      string    `json:"name"`
		Amount    float64   `json:"amount"`
		UpdatedAt time.Time `json:"updated_at"`
	}
	type nested struct {
		flat
		Tags []string          `json:"tags"`
		More map[string]string `json:"more"`
	}
	b.Run("Flat", func(b *testing.B) { benchmarkOpen[flat](b, "") })
	b.Run("Nested", func(b *testing.B) { benchmarkOpen[nested](b, `,"tags":["a","b"],"more":{"x":"y"}`) })
}

func benchmarkOpen[T any](b *testing.B, more string) {
	b.Helper()
	b.ReportAllocs()
	var text strings.Builder
	for i := range b.N {
		city := "city"
		if i%100 == 0 {
			city = `\"city\"`
		}
		fmt.Fprintf(&text, `{"id":%d,"name":"customer %032x of %s %d","amount":%d.%02d,"updated_at":"2024-01-02T03:04:%02dZ"%s}`+"\n", i, i, city, i%1000, i%1000, i%100, i%60, more)
	}
	path := filepath.Join(b.TempDir(), "f.jsonl")
	require.NoError(b, os.WriteFile(path, []byte(text.String()), 0o600))
	b.SetBytes(int64(text.Len() / b.N))
	b.ResetTimer()
	n := 0
	for _, err := range jsonl.Open[T](path, nil).Read(b.Context(), dataflow.Request[jsonl.Cursor]{}) {
		if n++; err != nil {
			require.NoError(b, err)
		}
	}
	require.Equal(b, b.N, n)
}
