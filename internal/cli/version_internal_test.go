package cli

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProgramVersion(t *testing.T) {
	t.Parallel()
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "4f3c2a1"}, {Key: "vcs.modified", Value: "true"},
	}}
	require.Equal(t, "v1.2.3, revision 4f3c2a1, modified", programVersion(info, true))
	require.Equal(t, "(devel)", programVersion(&debug.BuildInfo{}, true))
	require.Equal(t, "of an unknown version", programVersion(nil, false))
}
