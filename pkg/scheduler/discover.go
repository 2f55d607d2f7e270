package scheduler

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// discover compares a discovered secret with the bus if its id is its own and
// its tags can be carried out.
func (p *pass) discover(ctx context.Context, e catalog.Entry, m secret.Metadata) error {
	spec := e.Spec
	switch {
	case spec.ID == "":
		p.refuse(ctx, m.Path, e, ReasonInvalid)
		return nil
	case e.Has(catalog.CodeCollision):
		p.refuse(ctx, m.Path, e, ReasonCollision)
		return nil
	}
	collision, err := p.claim(ctx, spec, len(e.Findings) == 0)
	if err != nil {
		return fmt.Errorf("%s: %w", spec.ID, err)
	}
	switch {
	case collision != nil:
		e.Findings = append(e.Findings, *collision)
		p.refuse(ctx, m.Path, e, ReasonCollision)
		return nil
	case len(e.Findings) > 0:
		p.refuse(ctx, m.Path, e, ReasonInvalid)
		return p.suspend(ctx, spec)
	default:
		return p.secret(ctx, spec, Facts{Known: true, Meta: m})
	}
}

// refuse counts and notes a secret that is not scheduled.
func (p *pass) refuse(ctx context.Context, path string, e catalog.Entry, why Reason) {
	p.note(ctx, path, e.Spec.ID, e.Findings)
	p.tally(func(r *Result) { r.Secrets[why]++ })
}

// suspend keeps a secret whose tags cannot be carried out from being rotated by
// what they said before. It stays known, so that a rollout that is under way
// finds its services.
func (p *pass) suspend(ctx context.Context, spec secret.Spec) error {
	p.own(spec, 0)
	if _, armed := p.armed[spec.ID.Key()]; !armed || p.s.LeaveTimers {
		return nil
	}
	return p.s.Bus.Disarm(ctx, events.TypeNearExpiry, spec.ID)
}

// claim registers the id of a discovered secret in the log; the first claimant
// wins, until it is gone. It returns the collision, if any. With publish it also
// updates the announcement of the discovery.
func (p *pass) claim(ctx context.Context, spec secret.Spec, publish bool) (*secret.Finding, error) {
	e := events.Discovery(p.s.Source, time.Now(), spec)
	mark := fingerprint(e.Data.Discovered)
	if was, ok := p.before(spec.ID); ok && !p.all && was.path == spec.Path && was.mark == mark {
		p.own(spec, mark)
		return nil, nil
	}
	for range claimTries {
		taken, err := p.announceDiscovery(ctx, spec, e, publish)
		if errors.Is(err, events.ErrConflict) {
			continue // somebody else has just claimed it, or is this one's scheduler
		}
		if err == nil && taken == nil {
			p.own(spec, mark)
		}
		return taken, err
	}
	return nil, fmt.Errorf("claim the id: %w", events.ErrConflict)
}

// claimTries bounds how often a claim is tried again on a fresh log.
const claimTries = 3

// announceDiscovery publishes the discovery e of a secret unless the log has it
// already. It returns the collision, if any.
func (p *pass) announceDiscovery(ctx context.Context, spec secret.Spec, e events.Event, publish bool) (*secret.Finding, error) {
	last, err := p.s.Bus.Last(ctx, events.TypeDiscovered, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, err
	}
	logged := last.Event.Data
	announced, _ := logged.Spec()
	if collision := p.s.Catalog.Collision(spec, announced); collision != nil {
		return collision, nil
	}
	if !publish || logged.Store == spec.Store && logged.Discovered.Same(e.Data.Discovered) {
		return nil, nil
	}
	if _, err := p.s.Bus.PublishAfter(ctx, e, last.Seq); err != nil {
		return nil, err
	}
	p.tally(func(r *Result) { r.Discovered++ })
	p.s.log.LogAttrs(ctx, slog.LevelInfo, "secret.discovered", slog.String("secret_id", string(spec.ID)), slog.String("store", spec.Store),
		slog.String("path", spec.Path), slog.String("services", strings.Join(spec.Services, " ")))
	return nil, nil
}

// own remembers that a discovered secret has its id. Mark 0 has the log read
// again next time.
func (p *pass) own(spec secret.Spec, mark uint64) {
	p.edit(spec.ID, func(r *remembered) { r.path, r.mark = spec.Path, mark })
}

// fingerprint stands for what is said of a secret, where two that are equal for
// two that differ would only delay an announcement until the next full sweep.
func fingerprint(d *events.Discovered) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %d %s", d.GraceMS, d.DeadlineMS, strings.Join(d.Services, " ")) // a hash takes everything
	return h.Sum64()
}

// note counts the findings about a secret, and logs them when they are others
// than before.
func (p *pass) note(ctx context.Context, path string, id secret.ID, findings []secret.Finding) {
	if len(findings) == 0 {
		return
	}
	texts := make([]string, len(findings))
	for i, f := range findings {
		texts[i] = f.String()
	}
	text := strings.Join(texts, "; ")
	p.tally(func(r *Result) {
		for _, f := range findings {
			r.Findings[f.Code]++
		}
	})
	p.shelf.mu.Lock()
	known := p.noted[path].text == text
	p.noted[path] = noted{p.round, text}
	p.shelf.mu.Unlock()
	if !known {
		p.s.log.LogAttrs(ctx, slog.LevelWarn, "discovery.problem", slog.String("store", p.name), slog.String("path", path),
			slog.String("secret_id", string(id)), slog.String("problem", text))
	}
}
