package readers

import (
	"context"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Bus keeps what was seen; *events.Bus does.
type Bus interface {
	RecordRead(ctx context.Context, s events.Sighting) error
}

const (
	// again is how long a further read of an identity adds nothing to what is
	// recorded of it.
	again = time.Minute
	// maxRemembered bounds the identities of which it is remembered when they were
	// recorded.
	maxRemembered = 100_000
)

// Recorder records reads of managed secrets. It is safe for concurrent use.
type Recorder struct {
	bus     Bus
	catalog *catalog.Catalog

	mu   sync.Mutex
	last map[remembered]time.Time // :: what was recorded → when
}

// remembered is what makes two sightings say the same.
type remembered struct {
	id       secret.ID
	identity string
	version  secret.VersionID
	stage    string
}

// NewRecorder returns a Recorder of reads of the secrets in a catalog.
func NewRecorder(bus Bus, c *catalog.Catalog) *Recorder {
	return &Recorder{bus: bus, catalog: c, last: map[remembered]time.Time{}}
}

// At returns the secret that is managed at a path of a store.
func (r *Recorder) At(store, path string) (secret.ID, bool) {
	e, ok := r.catalog.At(store, path)
	return e.Spec.ID, ok && e.Spec.ID != ""
}

// Record records a sighting, unless the same was recorded within the last minute.
func (r *Recorder) Record(ctx context.Context, s events.Sighting) error {
	what := remembered{s.SecretID, s.Identity, s.VersionID, s.Stage}
	now := time.Now()
	if s.At.IsZero() {
		s.At = now
	}
	r.mu.Lock()
	at, ok := r.last[what]
	r.mu.Unlock()
	if ok && now.Sub(at) < again {
		return nil
	}
	if err := r.bus.RecordRead(ctx, s); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.last) >= maxRemembered {
		clear(r.last)
	}
	r.last[what] = now
	return nil
}
