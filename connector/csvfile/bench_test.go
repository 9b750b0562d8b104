package csvfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/connector/csvfile"
)

// BenchmarkOpen reads records of four cells. One record in a hundred has quotes; in
// the Quoted case, every cell is quoted.
func BenchmarkOpen(b *testing.B) {
	type row struct {
		ID        int64     `csv:"id"`
		Name      string    `csv:"name"`
		Amount    float64   `csv:"amount"`
		UpdatedAt time.Time `csv:"updated_at"`
	}
	for _, quoted := range []bool{false, true} {
		b.Run(map[bool]string{false: "Plain", true: "Quoted"}[quoted], func(b *testing.B) {
			b.ReportAllocs()
			var text strings.Builder
			text.WriteString("id,name,amount,updated_at\n")
			for i := range b.N {
				line := fmt.Sprintf("%d,customer %032x of city %d,%d.%02d,2024-01-02T03:04:%02dZ", i, i, i%1000, i%1000, i%100, i%60)
				switch {
				case quoted:
					line = `"` + strings.ReplaceAll(line, ",", `","`) + `"`
				case i%100 == 0:
					line = strings.Replace(strings.Replace(line, "city", `""city""`, 1), fmt.Sprintf("customer %032x of \"\"city\"\" %d", i, i%1000), fmt.Sprintf("\"customer %032x of \"\"city\"\" %d\"", i, i%1000), 1)
				}
				text.WriteString(line + "\n")
			}
			path := filepath.Join(b.TempDir(), "f.csv")
			require.NoError(b, os.WriteFile(path, []byte(text.String()), 0o600))
			b.SetBytes(int64(text.Len() / b.N))
			b.ResetTimer()
			n := 0
			for _, err := range csvfile.Open[row](path, nil).Read(b.Context(), dataflow.Request[csvfile.Cursor]{}) {
				if n++; err != nil {
					require.NoError(b, err)
				}
			}
			require.Equal(b, b.N, n)
		})
	}
}
