package cli

import (
	"runtime/debug"
	"testing"
)

// TestTheVersionNamesTheCommit: also of a released version, whose name does not.
func TestTheVersionNamesTheCommit(t *testing.T) {
	t.Parallel()
	b := Build{Version: "v1.2.3"}.with(&debug.BuildInfo{GoVersion: "go1.26.7", Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.modified", Value: "true"}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"}}})
	if got := b.String(); got != "v1.2.3 (commit 0123abcd, modified, go1.26.7)" {
		t.Error(got)
	}
	if b.Time != "2026-01-02T03:04:05Z" {
		t.Errorf("%+v", b)
	}
	if got := (Build{Version: "v1.2.3"}).String(); got != "v1.2.3" {
		t.Error(got)
	}
}
