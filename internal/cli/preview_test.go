package cli_test

import "testing"

func TestPreview(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *cliT) {
		t.migrated().golden("preview",
			"preview orders",
			"preview orders --limit 2 --from 1 -o json",
			"preview orders --from 5",
			"preview broken",
			"preview orders --limit -1",
			"preview orders --params {}",
			"preview missing",
			"run list",
			"cursor show orders",
		)
		t.plain().golden("preview_plain", "preview orders")
	})
}
