package statuspage

import (
	"context"
	"errors"
	"html"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
)

// broken is one system that is wrong: what the page is given, and a part of the sentence
// and the command that it has to answer with.
type broken struct {
	secret  inspect.Secret
	err     error
	health  []Check
	says    string
	command string
}

// systems are twenty of them.
func systems() map[string]broken {
	of := func(s inspect.Secret) inspect.Secret { s.SecretID, s.Path, s.Store = "DB", "db", "main"; return s }
	stalled := func(b events.Blocker) inspect.Secret {
		return of(inspect.Secret{VersionID: "v2", Rollout: events.RolloutStalled, Timeline: &inspect.Timeline{Since: time.Now()}, Blocking: []events.Blocker{b}})
	}
	one := func(r events.BlockReason) events.Blocker {
		return events.Blocker{Service: "api", Instance: "n4", Reason: r, Detail: "more"}
	}
	wrong := secret.Finding{Severity: secret.SeverityError, Message: "the tag rotator:ttl is no duration", Remedy: "correct it"}
	return map[string]broken{
		"the bus is gone":                           {err: errors.New("no servers available"), says: "the secrets cannot be read: no servers available", command: "rotator doctor"},
		"the program is not connected":              {health: []Check{{Name: "nats", Reason: "not connected"}}, says: "nats: not connected", command: "rotator doctor"},
		"no scheduler sweeps":                       {health: []Check{{Name: "scheduler", Reason: "no sweep for 20m"}}, says: "scheduler: no sweep for 20m", command: "rotator doctor"},
		"a store cannot be listed":                  {secret: inspect.Secret{Store: "main", Error: "sealed"}, says: "the store main cannot be listed: sealed", command: "rotator status"},
		"a secret cannot be read":                   {secret: of(inspect.Secret{Error: "permission denied"}), says: "it cannot be read: permission denied", command: "rotator status DB"},
		"a version has expired":                     {secret: of(inspect.Secret{Reason: scheduler.ReasonExpired, Message: "it ended 1h ago", NotAfter: time.Now()}), says: "has expired and is not replaced", command: "rotator rotate DB"},
		"every value was refused":                   {secret: of(inspect.Secret{Reason: scheduler.ReasonQuarantined, Failure: &events.Failure{Step: "apply", Message: "refused"}}), says: "the step apply failed: refused", command: "rotator rotate DB"},
		"a secret is not in its store":              {secret: of(inspect.Secret{Reason: scheduler.ReasonNotFound, Message: "the store has no such secret"}), says: "the store has no such secret", command: "rotator import DB"},
		"a secret was deleted":                      {secret: of(inspect.Secret{Reason: scheduler.ReasonDeleted, Message: "its current version was deleted"}), says: "was deleted", command: "rotator versions DB"},
		"a tag is wrong":                            {secret: of(inspect.Secret{Findings: []secret.Finding{wrong}}), says: "rotator:ttl is no duration", command: "rotator plan DB"},
		"an instance runs the version before":       {secret: stalled(events.Blocker{Service: "api", Instance: "n4", VersionID: "77b1", Reason: events.BlockOldVersion}), says: "api/n4: it runs version 77b1", command: "rotator status DB"},
		"an instance cannot load the version":       {secret: stalled(one(events.BlockFailed)), says: "api/n4", command: "rotator status DB"},
		"an instance of a later client":             {secret: stalled(one(events.BlockNotUnderstood)), says: "api/n4", command: "rotator status DB"},
		"a service has no instance":                 {secret: stalled(events.Blocker{Service: "api", Reason: events.BlockNoInstance}), says: "api: no instance is running", command: "rotator status DB"},
		"no user of the secret is known":            {secret: stalled(events.Blocker{Reason: events.BlockNoSubscriber}), says: "no_subscriber", command: "rotator status DB"},
		"an instance is silent":                     {secret: stalled(one(events.BlockSilent)), says: "api/n4: it has not renewed its presence", command: "rotator forget api/n4 --reason"},
		"an instance accepts the version before":    {secret: stalled(one(events.BlockAccepts)), says: "api/n4", command: "rotator status DB"},
		"the fleet is not known":                    {secret: stalled(events.Blocker{Reason: events.BlockUnknown}), says: "unknown", command: "rotator confirm-fleet --reason"},
		"a consumer is not confirmed":               {secret: stalled(events.Blocker{Service: "erp", Reason: events.BlockUnconfirmed}), says: "erp", command: "rotator confirm DB --consumer erp --version v2"},
		"a session at the database is still open":   {secret: stalled(events.Blocker{Service: "pg", Instance: "10.0.0.7", Reason: events.BlockInUse}), says: "10.0.0.7", command: "rotator status DB"},
		"a region was not heard from":               {secret: stalled(events.Blocker{Service: "eu", Reason: events.BlockFleet}), says: "eu", command: "rotator status DB"},
		"a service is not listed among the readers": {secret: stalled(one(events.BlockUnlisted)), says: "api/n4", command: "rotator status DB"},
	}
}

// TestTwentyBrokenSystems: for each the page says in its first section, in every form, what
// is wrong and the command to run first. No log is needed.
func TestTwentyBrokenSystems(t *testing.T) {
	t.Parallel()
	all := systems()
	if len(all) < 20 {
		t.Errorf("%d systems", len(all))
	}
	for name, tt := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := New(Config{Program: "rotator", Health: func(context.Context) []Check { return tt.health }, Secrets: func(context.Context) ([]inspect.Secret, error) {
				if tt.err != nil {
					return nil, tt.err
				}
				return []inspect.Secret{tt.secret}, nil
			}})
			if err != nil {
				t.Fatal(err)
			}
			p.refresh(t.Context(), 1)
			page := html.UnescapeString(get(t, p, "/").Body.String())
			_, first, _ := strings.Cut(page, "<tbody>")
			first, _, _ = strings.Cut(first, "</tbody>")
			text := get(t, p, "/?format=txt").Body.String()
			problems := p.current().snapshot.Problems
			if len(problems) != 1 || !strings.Contains(problems[0].Sentence, tt.says) || !strings.HasPrefix(problems[0].Command, tt.command) || problems[0].Since.IsZero() {
				t.Fatalf("the problems are %+v, want %q and %q", problems, tt.says, tt.command)
			}
			for form, shown := range map[string]string{"page": first, "text": text} {
				if !strings.Contains(shown, tt.says) || !strings.Contains(shown, tt.command) {
					t.Errorf("the %s does not say %q and %q: %s", form, tt.says, tt.command, shown)
				}
			}
		})
	}
}
