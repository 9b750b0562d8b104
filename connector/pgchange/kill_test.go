package pgchange_test

import (
	"context"
)

const workerEnv = "PGCHANGE_TEST_WORKER"

func worker(context.Context) error { return nil }
