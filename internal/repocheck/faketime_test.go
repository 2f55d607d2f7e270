package repocheck_test

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	// A server in a bubble needs the ticker that all servers of a process share to start outside of it.
	startsClock = regexp.MustCompile(`\b(eventstest\.StartClock|ats\.Register)\(\)`)
	opensBubble = regexp.MustCompile(`\bsynctest\.Test\(`)
	withoutRace = regexp.MustCompile(`(?m)^//go:build !race$`)
)

// The race detector crashes the runtime when a whole server runs in a bubble of fake time. The task faketime finds such
// tests by their build constraint and runs them without it.
func TestServersInFakeTimeRunWithoutTheRaceDetector(t *testing.T) {
	clock, bubbles := map[string]bool{}, map[string]string{}
	files(t, func(name string, content []byte) {
		if !strings.HasSuffix(name, "_test.go") || path.Dir(name) == "internal/repocheck" {
			return
		}
		if startsClock.Match(content) {
			clock[path.Dir(name)] = true
		}
		if opensBubble.Match(content) && !withoutRace.Match(content) {
			bubbles[name] = path.Dir(name)
		}
	})
	if len(clock) == 0 {
		t.Fatal("no test starts the clock of a server")
	}
	for _, name := range slices.Sorted(maps.Keys(bubbles)) {
		if clock[bubbles[name]] {
			t.Errorf("%s: a bubble in a package that runs servers in fake time needs //go:build !race", name)
		}
	}
}
