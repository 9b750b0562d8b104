package zonedata_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/activedataflow/dataflow/internal/zonedata"
)

func TestOffsets(t *testing.T) {
	t.Parallel()
	from := time.Date(2027, 3, 1, 1, 2, 3, 0, time.UTC)
	berlin, err := zonedata.Offsets("Europe/Berlin", from)
	require.NoError(t, err)
	require.Equal(t, []zonedata.Offset{
		{From: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC).Unix(), Seconds: 3600},
		{From: time.Date(2027, 3, 28, 6, 0, 0, 0, time.UTC).Unix(), Seconds: 7200},
		{From: time.Date(2027, 10, 31, 6, 0, 0, 0, time.UTC).Unix(), Seconds: 3600},
	}, berlin)
	lagos, err := zonedata.Offsets("Africa/Lagos", from.Add(20*time.Hour))
	require.NoError(t, err)
	at, x, y, differ := zonedata.Differ(berlin, lagos, from)
	require.True(t, differ)
	require.Equal(t, time.Date(2027, 3, 28, 6, 0, 0, 0, time.UTC), at)
	require.Equal(t, []int{7200, 3600}, []int{x, y})
	_, _, _, differ = zonedata.Differ(berlin, berlin, from)
	require.False(t, differ)
	_, _, _, differ = zonedata.Differ(berlin, nil, from)
	require.False(t, differ)
	_, err = zonedata.Offsets("Europe/Atlantis", from)
	require.Error(t, err)
}

func TestWhere(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "Europe"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Europe", "Berlin"), nil, 0o600))
	t.Setenv("ZONEINFO", dir)
	source, version := zonedata.Where("Europe/Berlin")
	require.Equal(t, []string{"ZONEINFO " + dir, ""}, []string{source, version})
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tzdata.zi"), []byte("# version 2026f\n# more\n"), 0o600))
	source, version = zonedata.Where("Europe/Berlin")
	require.Equal(t, []string{"ZONEINFO " + dir, "2026f"}, []string{source, version})
	source, _ = zonedata.Where("No/Where")
	require.Contains(t, source, "the data of go")
}
