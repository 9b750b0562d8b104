package reconcile_test

import (
	"os"
	"testing"

	"github.com/activedataflow/dataflow/internal/dbtest"
)

func TestMain(m *testing.M) { os.Exit(dbtest.Main(m)) }
