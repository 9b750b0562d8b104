package week_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(workerEnv); text != "" {
		if err := work(context.Background(), text); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(dbtest.Main(m))
}
