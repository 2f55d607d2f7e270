package scheduler

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// discover looks at a secret that no configuration lists and that wants to be
// managed.
func (p *pass) discover(ctx context.Context, m secret.Metadata) error {
	spec, problems := p.found.Spec(m)
	if spec.ID == "" {
		p.refuse(ctx, m.Path, spec, ReasonInvalid, problems)
		return nil
	}
	mine, err := p.claim(ctx, spec, len(problems) == 0)
	if err != nil {
		return fmt.Errorf("%s: %w", spec.ID, err)
	}
	switch {
	case mine != nil:
		p.refuse(ctx, m.Path, spec, ReasonCollision, append(problems, *mine))
		return nil
	case len(problems) > 0:
		p.refuse(ctx, m.Path, spec, ReasonInvalid, problems)
		return p.suspend(ctx, spec)
	default:
		return p.secret(ctx, spec, Facts{Known: true, Meta: m})
	}
}

// refuse counts and notes a secret that is not scheduled.
func (p *pass) refuse(ctx context.Context, path string, spec secret.Spec, why Reason, problems []store.Problem) {
	p.note(ctx, path, spec.ID, problems)
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

// claim sees to it that the id of a discovered secret is its own, and with
// publish that the log says what it says of itself. The log decides who of two
// has an id: whoever was first has it, until it is gone. It returns what to tell
// the owner of a secret that came second.
func (p *pass) claim(ctx context.Context, spec secret.Spec, publish bool) (*store.Problem, error) {
	if taken := configured(p.s.Catalog, spec); taken != nil {
		return taken, nil
	}
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

// announceDiscovery has the log say what a discovered secret says of itself, if
// nobody else has its id.
func (p *pass) announceDiscovery(ctx context.Context, spec secret.Spec, e events.Event, publish bool) (*store.Problem, error) {
	last, err := p.s.Bus.Last(ctx, events.TypeDiscovered, spec.ID)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, err
	}
	said := last.Event.Data
	if taken := Taken(p.s.Catalog, spec, said); taken != nil {
		return taken, nil
	}
	if !publish || said.Store == spec.Store && said.Discovered.Same(e.Data.Discovered) {
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

// Taken returns the problem of a discovered secret whose id another one has: one
// of the configuration, or the one of which the log says so in last, if that can
// still be discovered here. Nil means that the id is its own.
func Taken(c *store.Catalog, spec secret.Spec, last events.Data) *store.Problem {
	if taken := configured(c, spec); taken != nil {
		return taken
	}
	owner, ok := last.Spec()
	if !ok || owner.Store == spec.Store && owner.Path == spec.Path {
		return nil
	}
	if d := c.Discovery(owner.Store); d == nil || !strings.HasPrefix(owner.Path, d.Prefix) {
		return nil
	}
	return collision(spec, owner)
}

func configured(c *store.Catalog, spec secret.Spec) *store.Problem {
	owner, _, err := c.Lookup(spec.ID)
	if err != nil {
		return nil
	}
	return collision(spec, owner)
}

func collision(spec, owner secret.Spec) *store.Problem {
	return &store.Problem{Kind: store.ProblemCollision, Message: fmt.Sprintf(
		"the id %s belongs to %s in the store %s; give this one another with rotator:id", spec.ID, owner.StorePath(), owner.Store)}
}

// fingerprint stands for what is said of a secret, where two that are equal for
// two that differ would only delay an announcement until the next full sweep.
func fingerprint(d *events.Discovered) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d %d %s", d.GraceMS, d.DeadlineMS, strings.Join(d.Services, " ")) // a hash takes everything
	return h.Sum64()
}

// note counts the problems of a secret, and logs them when they are others than
// before.
func (p *pass) note(ctx context.Context, path string, id secret.ID, problems []store.Problem) {
	if len(problems) == 0 {
		return
	}
	texts := make([]string, len(problems))
	for i, problem := range problems {
		texts[i] = problem.String()
	}
	text := strings.Join(texts, "; ")
	p.tally(func(r *Result) {
		for _, problem := range problems {
			r.Problems[problem.Kind]++
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
