package cli_test

import "testing"

func TestCursor(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("cursor",
			"cursor show orders",
			"cursor history orders",
			"enqueue orders --wait",
			"cursor show orders",
			"cursor show orders -o json",
			"cursor set orders",
			"cursor set orders --to 3 --beginning",
			"cursor set orders --to 3",
			"cursor set orders --to 3 --yes",
			"cursor set orders --to x --if-seq 2 --yes",
			"cursor set orders --to [3] --if-seq 2 --yes",
			"cursor set orders --to 3 --if-seq 1 --yes",
			"cursor set orders --to 3 --if-cursor null --yes",
			`cursor set orders --to 3 --if-seq 2 --yes --reason "two were wrong"`,
			"enqueue orders --wait",
			"cursor set orders --beginning --if-cursor 5 --yes --actor bob",
			"cursor show orders -o json",
			"cursor history orders",
			"cursor history orders --limit 1 -o json",
			"cursor show missing",
			"cursor set missing --beginning --if-seq 0 --yes",
			"cursor history missing",
		)
	})
}

// On a terminal, the cursor is set only if it is still the one that the question shows.
func TestCursor_Asks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().ask = true
		t.in = "y\n"
		t.golden("cursor_asks", "cursor set orders --to 3", "cursor history orders -o json")
	})
}
