package scheduler

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// claimTries bounds how often a claim is tried again on a fresh log.
const claimTries = 3

// claim is what became of the claim of a discovered secret's ID.
type claim struct {
	// entry is the secret, with a collision among its findings.
	entry catalog.Entry
	// refusal is why the secret is not scheduled, "" for one that is.
	refusal Reason
	// owned is whether the ID belongs to this secret.
	owned bool
	// published is whether the announcement of the discovery changed.
	published bool
}

// claim registers the ID of a discovered secret in the log; the first claimant
// wins, until its secret is gone. If the tags of the secret can be carried out, it
// also updates the announcement of the discovery. registered is whether an earlier
// claim did both; then the log is not read.
func (r *reconciler) claim(ctx context.Context, e catalog.Entry, registered bool) (claim, error) {
	c := claim{entry: e}
	switch {
	case e.Spec.ID == "":
		c.refusal = ReasonInvalid
		return c, nil
	case e.Has(catalog.CodeCollision):
		c.refusal = ReasonCollision
		return c, nil
	}
	if !registered {
		var collision *secret.Finding
		var err error
		if collision, c.published, err = r.register(ctx, e); err != nil {
			return c, fmt.Errorf("%s: %w", e.Spec.ID, err)
		}
		if collision != nil {
			c.refusal, c.entry.Findings = ReasonCollision, append(slices.Clip(e.Findings), *collision)
			return c, nil
		}
	}
	if c.owned = true; e.Refused() {
		c.refusal = ReasonInvalid
	}
	return c, nil
}

// register announces the discovery of a secret after what the log says of its ID,
// again while other schedulers announce at the same time. It returns the
// collision, if any, and whether it published.
func (r *reconciler) register(ctx context.Context, e catalog.Entry) (*secret.Finding, bool, error) {
	discovery := events.Discovery(r.cfg.Source, time.Now(), e.Spec)
	for range claimTries {
		collision, published, err := r.announceDiscovery(ctx, e, discovery)
		if !errors.Is(err, events.ErrConflict) {
			return collision, published, err
		}
	}
	return nil, false, fmt.Errorf("claim the id: %w", events.ErrConflict)
}

// announceDiscovery publishes the discovery of a secret unless its ID is taken,
// its tags cannot be carried out, or the log has the discovery already.
func (r *reconciler) announceDiscovery(ctx context.Context, e catalog.Entry, discovery events.Event) (*secret.Finding, bool, error) {
	spec := e.Spec
	last, err := r.cfg.Bus.Last(ctx, events.TypeDiscovered, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, false, err
	}
	logged := last.Event.Data
	announced, _ := logged.Spec()
	if collision := r.cfg.Catalog.Collision(spec, announced); collision != nil {
		return collision, false, nil
	}
	if e.Refused() || logged.Store == spec.Store && logged.Discovered.Same(discovery.Data.Discovered) {
		return nil, false, nil
	}
	if _, err := r.cfg.Bus.PublishAfter(ctx, discovery, last.Seq); err != nil {
		return nil, false, err
	}
	r.cfg.Logger.LogAttrs(ctx, slog.LevelInfo, "secret.discovered", slog.String("secret_id", string(spec.ID)), slog.String("store", spec.Store),
		slog.String("path", spec.Path), slog.String("services", strings.Join(spec.Services, " ")))
	return nil, true, nil
}

// suspend takes the timer of a refused secret away, so that tags which cannot be
// carried out do not let it be rotated by what they said before. The announcement
// of the discovery stays, so that a rollout under way finds its services.
func (r *reconciler) suspend(ctx context.Context, c claim, timer bool) error {
	if !c.owned || !timer || r.cfg.LeaveTimers {
		return nil
	}
	return r.cfg.Bus.Disarm(ctx, events.TypeNearExpiry, c.entry.Spec.ID)
}

// fingerprint identifies the announcement of a discovery. A collision would only
// delay an announcement until the next full sweep.
func fingerprint(s secret.Spec) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %d %s %s", s.GracePeriod(), s.RolloutDeadline(), strings.Join(s.Services, " "), s.Proof.Of(s.Services)) // a hash takes everything
	return h.Sum64()
}
