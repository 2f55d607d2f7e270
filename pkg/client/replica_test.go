package client_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// replica is a source that answers reads of the current version as it was at the
// last pause, so many times.
type replica struct {
	client.Source

	mu      sync.Mutex
	version secret.Version
	value   secret.Value
	answers int
}

// pause keeps what the source returns now for so many reads.
func (r *replica) pause(t *testing.T, id secret.ID, reads int) {
	t.Helper()
	v, val, err := r.Source.Read(t.Context(), id, store.Selector{Primary: true})
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.version, r.value, r.answers = v, val, reads
}

// left returns how many reads are still answered from the past.
func (r *replica) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers
}

func (r *replica) Read(ctx context.Context, id secret.ID, sel store.Selector) (secret.Version, secret.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == key && sel.Version == "" && r.answers > 0 {
		r.answers--
		return r.version, r.value, nil
	}
	return r.Source.Read(ctx, id, sel)
}

// TestAReplicaThatLagsBehindIsAskedAgain: a store whose replica answers the read
// after a notification from before it, as those of AWS and Vault do, delays the
// rotation by some pauses. There is no poll that would find the version.
func TestAReplicaThatLagsBehindIsAskedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	source := &replica{Source: r.source}
	m := r.manager(func(c *client.Config) { c.Source = source })
	source.pause(t, key, 3)
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	r.eventually("the second version is in use", func() bool { return value(m.Secret(key).Get()) == "second-value" })
	if n := source.left(); n > 0 {
		t.Errorf("%d answers from the past are left", n)
	}
	r.eventually("it is reported", func() bool { return r.running().VersionID == v2 })
}
