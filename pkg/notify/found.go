package notify

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// found is what the log says of a discovered secret, as little as a million of
// them allow.
type found struct {
	services        []string // shared by all with the same
	grace, deadline time.Duration
}

// spec returns what is wanted of a secret, and false when nobody says; t.mu is
// held. What is configured comes before what was discovered.
func (t *tracker) spec(id secret.ID) (secret.Spec, bool) {
	if spec, ok := t.specs(id); ok {
		return spec, true
	}
	f, ok := t.found[id]
	return secret.Spec{ID: id, Services: f.services, Grace: f.grace, Deadline: f.deadline}, ok
}

// discovered takes what the log says of a discovered secret; t.mu is held.
func (t *tracker) discovered(d events.Data) {
	spec, ok := d.Spec()
	if !ok {
		delete(t.found, d.SecretID)
	} else {
		t.found[d.SecretID] = found{services: t.shared(spec.Services), grace: spec.Grace, deadline: spec.Deadline}
	}
	t.touched(d.SecretID)
}

// shared returns a list that is the same for everybody with these services.
func (t *tracker) shared(services []string) []string {
	key := strings.Join(services, " ")
	list, ok := t.lists[key]
	if !ok {
		list = services
		t.lists[key] = list
	}
	return list
}

// services returns the services that are wanted to run a secret. Of a secret
// that is not configured here the log is asked at once: it is discovered before
// it is announced for the first time, and whoever follows the log may be behind.
func (n *Notifier) services(ctx context.Context, id secret.ID) ([]string, error) {
	if spec, ok := n.cfg.Specs(id); ok {
		return spec.Services, nil
	}
	a, err := n.cfg.Bus.Last(ctx, events.TypeDiscovered, id)
	if err != nil && !errors.Is(err, events.ErrUntrusted) {
		return nil, err
	}
	spec, _ := a.Event.Data.Spec()
	return spec.Services, nil
}
