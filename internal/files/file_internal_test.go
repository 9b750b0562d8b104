package files

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// However long a stream is, and a line of it, what is kept of it is not.
func TestFile_ForgetsStream(t *testing.T) {
	t.Parallel()
	f, err := Reader(io.LimitReader(endless{}, 16<<20)).Open(t.Context(), "")
	require.NoError(t, err)
	lines := NewLines(f, 0, 100)
	text, err := lines.Next()
	require.ErrorIs(t, err, ErrTooLong)
	require.Len(t, text, 100)
	require.EqualValues(t, 16<<20, lines.Offset)
	require.LessOrEqual(t, cap(f.stream.buf)+cap(lines.long), 8*chunk)
	_, err = lines.Next()
	require.ErrorIs(t, err, io.EOF)
	_, err = f.Bytes(0, 1)
	require.ErrorIs(t, err, errForgotten)
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}
