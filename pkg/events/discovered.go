package events

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/secret"
)

// maxServices bounds [Discovered.Services].
const maxServices = 1000

// Discovered is what others than the scheduler have to know of a secret that no
// configuration lists. Who may read its store takes it as a hint where to look;
// a notifier, which may not, has nothing else to go by.
type Discovered struct {
	// Path is the store's own name for the secret.
	Path string `json:"path"`
	// Gone is true when the secret is managed no longer. Nothing below is set
	// then.
	Gone bool `json:"gone,omitempty"`
	// Services are the subscribers that have to run a new version before the old
	// one is retired.
	Services []string `json:"services,omitempty"`
	// GraceMS is the grace period and DeadlineMS how long a rollout may take, in
	// milliseconds; 0 is none.
	GraceMS    int64 `json:"grace_ms,omitempty"`
	DeadlineMS int64 `json:"deadline_ms,omitempty"`
	// FenceMS is how long an instance may use a version without confirming it, in
	// milliseconds; 0 is the default.
	FenceMS int64 `json:"fence_ms,omitempty"`
	// Proof is what else the retirement of a version rests on.
	Proof *secret.Proof `json:"proof,omitempty"`
}

// Discovery returns the announcement that a secret with this spec was
// discovered.
func Discovery(source string, now time.Time, s secret.Spec) Event {
	d := Discovered{
		Path: s.StorePath(), Services: s.Services, GraceMS: s.GracePeriod().Milliseconds(), DeadlineMS: s.RolloutDeadline().Milliseconds(),
		FenceMS: s.FencePeriod().Milliseconds(),
	}
	if p := s.Proof.Of(s.Services); p.String() != "" {
		d.Proof = &p
	}
	return discovery(source, now, s, d)
}

// Gone returns the announcement that a discovered secret is managed no longer.
func Gone(source string, now time.Time, s secret.Spec) Event {
	return discovery(source, now, s, Discovered{Path: s.StorePath(), Gone: true})
}

func discovery(source string, now time.Time, s secret.Spec, d Discovered) Event {
	salt := string(TypeDiscovered) + " " + now.UTC().Format(time.RFC3339Nano)
	return Event{
		ID: string(secret.NewToken(s.ID, "", salt, 0)), Type: TypeDiscovered, Source: source, Time: now,
		Data: Data{SecretID: s.ID, Store: s.Store, OccurredAt: now, Discovered: &d},
	}
}

// Spec returns what the announcement of a discovery says of a secret: its place,
// its services, and the times of its rollouts. False means that there is no such
// secret, or no longer.
func (d Data) Spec() (secret.Spec, bool) {
	if d.Discovered == nil || d.Discovered.Gone {
		return secret.Spec{}, false
	}
	s := secret.Spec{
		ID: d.SecretID, Store: d.Store, Path: d.Discovered.Path, Services: d.Discovered.Services,
		Grace: orNone(d.Discovered.GraceMS), Deadline: orNone(d.Discovered.DeadlineMS), Fence: time.Duration(d.Discovered.FenceMS) * time.Millisecond,
	}
	if d.Discovered.Proof != nil {
		s.Proof = *d.Discovered.Proof
	}
	return s, true
}

func orNone(ms int64) time.Duration {
	if ms == 0 {
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}

// Same reports whether two discoveries say the same.
func (d *Discovered) Same(o *Discovered) bool {
	if d == nil || o == nil {
		return d == o
	}
	return d.Path == o.Path && d.Gone == o.Gone && d.GraceMS == o.GraceMS && d.DeadlineMS == o.DeadlineMS && d.FenceMS == o.FenceMS && slices.Equal(d.Services, o.Services) && reflect.DeepEqual(d.Proof, o.Proof)
}

func (d *Discovered) validate() error {
	if err := secret.ID(d.Path).Validate(); err != nil {
		return fmt.Errorf("path: %w", err)
	}
	if len(d.Services) > maxServices || min(d.GraceMS, d.DeadlineMS, d.FenceMS) < 0 || max(d.GraceMS, d.DeadlineMS, d.FenceMS) > maxMS {
		return fmt.Errorf("more than %d services, or a time that is out of range", maxServices)
	}
	for _, s := range d.Services {
		if err := ValidToken(s); err != nil {
			return fmt.Errorf("service %w", err)
		}
	}
	return nil
}

// maxMS is the longest duration there is.
const maxMS = int64(1<<63-1) / int64(time.Millisecond)

// DiscoveredKeys returns the secrets that were ever discovered, in one call per
// 100,000; those that are gone are among them.
func (b *Bus) DiscoveredKeys(ctx context.Context) (map[secret.Key]struct{}, error) {
	return b.keys(ctx, b.cfg.Names.RotatedStream(), b.cfg.Names.Event(TypeDiscovered, ""))
}

// RotatedKeys returns the secrets of which a version was ever announced, as
// [Bus.DiscoveredKeys] does.
func (b *Bus) RotatedKeys(ctx context.Context) (map[secret.Key]struct{}, error) {
	return b.keys(ctx, b.cfg.Names.RotatedStream(), b.cfg.Names.Event(TypeRotated, ""))
}

// keys returns the keys that follow a prefix in the subjects of a stream.
func (b *Bus) keys(ctx context.Context, stream, prefix string) (map[secret.Key]struct{}, error) {
	s, err := b.stream(ctx, stream)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("list %s*: %w", prefix, err)
	}
	out := make(map[secret.Key]struct{}, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		out[secret.Key(strings.TrimPrefix(subject, prefix))] = struct{}{}
	}
	return out, nil
}
