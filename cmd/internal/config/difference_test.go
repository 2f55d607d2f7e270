package config_test

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

// TestADifferenceNamesAndTellsNoValue: what is loaded apart from what takes a restart.
func TestADifferenceNamesAndTellsNoValue(t *testing.T) {
	t.Parallel()
	const before = `
http: {listen: "127.0.0.1:9001"}
stores: {main: {type: natskv}}
policies: {strict: {length: 40}}
defaults: {no_subscribers: hold}
secrets: [{id: A, ttl: 1h}, {id: B, ttl: 1h}]
`
	after := strings.NewReplacer("9001", "9002", "40", "41", "{id: A, ttl: 1h}, ", "{id: C, ttl: 77m}, ", "{id: B, ttl: 1h}", "{id: B, ttl: 77m, grace: 1m}").Replace(before)
	from, to := parse(t, before), parse(t, after)
	const want = "added C; removed A; changed B (grace, ttl); changed sections policies.strict; a restart is needed for http.listen"
	d := config.Diff(from, to)
	if got := d.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !d.Loadable() || from.Digest() == to.Digest() {
		t.Error("the digest or Loadable misses it")
	}
	loaded := from.Loaded(to)
	if d := config.Diff(loaded, to); d.Loadable() || d.String() != "a restart is needed for http.listen" || loaded.Digest() != to.Digest() {
		t.Errorf("after loading: %s", d)
	}
	if d := config.Diff(from, from); !d.IsZero() {
		t.Errorf("from itself: %s", d)
	}
}
