package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// contradictions are what records say against the proofs of retirements, until the log
// has it. The lock of the tracker guards it.
type contradictions struct {
	seen    map[contradiction]int64 // :: without uses and time → uses that were taken for the log
	pending []contradiction
	kick    chan struct{}           // has a value when there is something pending
	told    map[secret.ID]time.Time // :: secret → the last one in the log before the first that was taken for it
}

// contradiction is one thing that a record says. As a key of what was seen it has no
// uses and no times.
type contradiction struct {
	name

	id       secret.ID
	instance string
	kind     events.ContradictionKind
	version  secret.VersionID // that was used, "" for an instance that joined late
	client   string
	uses     int64
	at       time.Time // of the last use, or of the first record
	first    bool      // of its key: another notifier, or this one before, may have told
}

// newContradictions returns an empty collection. What the log has of contradictions is
// read when the first one of a secret is told.
func newContradictions() contradictions {
	return contradictions{seen: map[contradiction]int64{}, kick: make(chan struct{}, 1), told: map[secret.ID]time.Time{}}
}

// see notes what a record says against proofs; t.mu is held.
func (c *contradictions) see(e events.FleetEvent) {
	u := e.Use
	if u == nil || e.Problem != "" {
		if len(c.pending) > 0 {
			c.wake() // it may be the presence that one waits for
		}
		return
	}
	of := contradiction{name: name{u.Service, u.Incarnation}, id: u.SecretID, instance: u.Instance}
	for _, r := range u.RetiredUses {
		next := of
		next.kind, next.version, next.client = events.ContradictionRetiredUsed, r.VersionID, r.Client
		c.note(next, r.Uses, r.Last)
	}
	if !u.Joined && u.VersionID != "" && u.PastFence != events.PastFenceRefuse {
		next := of
		next.kind = events.ContradictionJoinedLate
		c.note(next, 1, e.At)
	}
}

// note takes a contradiction for the log unless it was taken before.
func (c *contradictions) note(of contradiction, uses int64, at time.Time) {
	before, known := c.seen[of]
	if uses <= before {
		return
	}
	c.seen[of] = uses
	of.uses, of.at, of.first = uses, at, !known
	c.pending = append(c.pending, of)
	c.wake()
}

// wake has tellContradictions look at what is pending; t.mu is held.
func (c *contradictions) wake() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// tellContradictions puts contradictions into the log, until ctx ends. What fails is
// tried again.
func (t *tracker) tellContradictions(ctx context.Context) error {
	if !t.wasLoaded(ctx) {
		return nil
	}
	again := time.NewTicker(retryPause)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.contradictions.kick:
		case <-again.C:
		}
		for _, c := range t.takeContradictions() {
			if err := t.tellContradiction(ctx, c); err != nil && ctx.Err() == nil {
				t.log.LogAttrs(ctx, slog.LevelWarn, "proof.contradiction_not_told", slog.String("secret_id", string(c.id)), slog.String("error", err.Error()))
				t.mu.Lock()
				t.contradictions.pending = append(t.contradictions.pending, c)
				t.mu.Unlock()
			}
		}
	}
}

// takeContradictions returns what is pending, and forgets what was seen of instances
// whose records are gone. An instance of which no presence is known waits for it.
func (t *tracker) takeContradictions() (out []contradiction) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.contradictions.seen {
		if t.fleet.instances.get(c.name) == nil {
			delete(t.contradictions.seen, c)
		}
	}
	var wait []contradiction
	for _, c := range t.contradictions.pending {
		switch who := t.fleet.instances.get(c.name); {
		case c.kind == events.ContradictionJoinedLate && who != nil && who.renewed == 0:
			wait = append(wait, c)
		case c.kind == events.ContradictionJoinedLate && who == nil: // it was forgotten meanwhile
		default:
			out = append(out, c)
		}
	}
	t.contradictions.pending = wait
	slices.SortStableFunc(out, func(a, b contradiction) int { return a.at.Compare(b.at) })
	return out
}

// toldBefore returns when the last contradiction about a secret happened that was in
// the log before this process put one there. Only tellContradictions calls it.
func (t *tracker) toldBefore(ctx context.Context, id secret.ID) (time.Time, error) {
	if at, ok := t.contradictions.told[id]; ok {
		return at, nil
	}
	last, err := t.bus.Last(ctx, events.TypeProofContradicted, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return time.Time{}, err
	}
	t.contradictions.told[id] = last.Event.Data.OccurredAt
	return last.Event.Data.OccurredAt, nil
}

// tellContradiction puts one into the log. One that this process hears of first may
// have been told by another one, or before a restart: then it is not later than what
// the log has. Each has one ID, so that two notifiers tell it once.
func (t *tracker) tellContradiction(ctx context.Context, c contradiction) error {
	before, err := t.toldBefore(ctx, c.id)
	if err != nil || c.first && !c.at.After(before) {
		return err
	}
	d, err := t.contradicted(ctx, c)
	if err != nil || d.PreviousVersionID == "" {
		return err
	}
	salt := fmt.Sprint(c.kind, " ", c.service, " ", c.incarnation, " ", c.client, " ", c.uses)
	e := events.Event{
		ID:   string(secret.NewToken(c.id, d.PreviousVersionID, salt, 0)),
		Type: events.TypeProofContradicted, Source: t.source, Time: d.OccurredAt, Data: d,
	}
	if err := t.bus.Publish(ctx, e); err != nil {
		return err
	}
	t.metrics.contradicted.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", string(c.kind)), attribute.String("service", c.service)))
	t.log.LogAttrs(ctx, slog.LevelError, "secret.proof_contradicted", slog.String("secret_id", string(c.id)), slog.String("version_id", string(d.PreviousVersionID)),
		slog.String("kind", string(c.kind)), slog.String("service", c.service), slog.String("instance", c.instance), slog.String("client", c.client), slog.Int64("uses", c.uses))
	return nil
}

// contradicted returns the body of the event. PreviousVersionID is "" when nothing was
// retired between the start of an instance and its first record.
func (t *tracker) contradicted(ctx context.Context, c contradiction) (events.Data, error) {
	t.mu.Lock()
	d := events.Data{SecretID: c.id, PreviousVersionID: c.version, OccurredAt: c.at, Contradiction: &events.Contradiction{
		Kind: c.kind, Service: c.service, Instance: c.instance, Incarnation: c.incarnation,
	}}
	if tr := t.secrets[c.id]; tr != nil {
		d.Store, d.VersionID = tr.rollout.Store, tr.rollout.VersionID
	}
	var started time.Time
	if who := t.fleet.instances.get(c.name); who != nil {
		started = who.startedAt()
		d.Contradiction.Instance = cmp.Or(c.instance, who.instance())
	}
	t.mu.Unlock()
	if c.kind == events.ContradictionRetiredUsed {
		d.Contradiction.Client, d.Contradiction.Uses, d.Contradiction.Last = c.client, c.uses, c.at
		return d, nil
	}
	d.Contradiction.StartedAt, d.Contradiction.JoinedAt = started, c.at
	all, err := t.bus.Retirements(ctx, c.id)
	for _, r := range all {
		if r.Barrier.At.After(started) && r.Barrier.At.Before(c.at) && len(r.Retired) > 0 {
			d.PreviousVersionID = r.Retired[0]
		}
	}
	return d, err
}
