package dataflowotel

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow"
	"github.com/activedataflow/dataflow/internal/rowparts"
)

type asked struct{ error }

func (asked) ErrorType() string { return "closed" }

// The type of an error is that of what failed, whichever packages of the library have wrapped it.
func TestErrorType(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial"}, "*net.OpError"},
		{&dataflow.RunError{Err: fmt.Errorf("write: %w", &rowparts.EndedError{Err: &net.OpError{Op: "dial"}})}, "*net.OpError"},
		{dataflow.Transient(fmt.Errorf("look: %w", asked{&net.OpError{Op: "dial"}})), "closed"},
	} {
		require.Equal(t, c.want, errorType(c.err).Value.AsString())
	}
}
