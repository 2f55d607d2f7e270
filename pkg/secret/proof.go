package secret

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Proof is what the retirement of a version rests on besides the names of the
// services. The zero value of every field has a meaning. Its JSON form is part of
// secret.discovered; durations are in nanoseconds there.
type Proof struct {
	// Subscribers says more of a service, by its name. It may name services that are
	// not among [Spec.Services].
	Subscribers map[string]Subscriber `json:"subscribers,omitempty"`
	// Consumers use the secret and have no client.
	Consumers []Consumer `json:"consumers,omitempty"`
	// NoSubscribers says what becomes of previous versions of a secret without
	// services and consumers while no instance reports it.
	NoSubscribers NoSubscribers `json:"no_subscribers,omitempty"`
	// Fleets are the fleets of which a live instance has to be heard from.
	Fleets []string `json:"fleets,omitempty"`
	// TargetUnknown says that the target of the secret cannot tell who uses a
	// version, such as one behind a pooler: the proof has one side only.
	TargetUnknown bool `json:"target_unknown,omitempty"`
}

// ServiceKind says how the processes of a service live.
type ServiceKind string

// The kinds of service.
const (
	// KindServer runs all the time: without a live instance, nothing is known of it.
	// It is the zero value's meaning.
	KindServer ServiceKind = "server"
	// KindJob runs now and then, for MaxRun at most.
	KindJob ServiceKind = "job"
)

// Subscriber says more of a service.
type Subscriber struct {
	// Kind says how its processes live.
	Kind ServiceKind `json:"kind,omitempty"`
	// MaxRun is how long a run of a job takes at most.
	MaxRun time.Duration `json:"max_run_ns,omitempty"`
	// JoinRequired is true if its instances start only after their use is on record.
	JoinRequired bool `json:"join_required,omitempty"`
	// PresumedEndedAfter is the silence after which an instance is presumed to have
	// ended, 0 for never. Nothing proves that it has.
	PresumedEndedAfter time.Duration `json:"presumed_ended_after_ns,omitempty"`
}

// Consumer uses a secret and has no client, so that it reports nothing.
type Consumer struct {
	// Name is its name; it shares no names with services.
	Name string `json:"name"`
	// After is how long after the promotion it counts as moved to the new version, 0
	// for never: it has to be confirmed. Nothing proves that it has moved.
	After time.Duration `json:"after_ns,omitempty"`
}

// NoSubscribers says what becomes of the previous version of a secret of which no
// user is known.
type NoSubscribers string

// What becomes of it.
const (
	// NoSubscribersHold keeps it. It is the zero value's meaning.
	NoSubscribersHold NoSubscribers = "hold"
	// NoSubscribersRetire retires it by time alone.
	NoSubscribersRetire NoSubscribers = "retire-after-grace"
)

// Claimed reports whether the spec names a user of the secret.
func (s Spec) Claimed() bool { return len(s.Services)+len(s.Proof.Consumers) > 0 }

// Job returns how long a run of a service takes at most, and false for a service
// that is not a job.
func (s Spec) Job(service string) (maxRun time.Duration, ok bool) {
	sub := s.Proof.Subscribers[service]
	return sub.MaxRun, sub.Kind == KindJob
}

// Of returns the part of p that is about the given services, and all that is about
// no service.
func (p Proof) Of(services []string) Proof {
	all := p.Subscribers
	p.Subscribers = nil
	for _, name := range services {
		sub, ok := all[name]
		switch {
		case !ok:
			continue
		case p.Subscribers == nil:
			p.Subscribers = map[string]Subscriber{}
		}
		p.Subscribers[name] = sub
	}
	return p
}

// String returns a text that is equal for equal proofs, and "" for the zero value.
func (p Proof) String() string {
	if len(p.Subscribers)+len(p.Consumers)+len(p.NoSubscribers)+len(p.Fleets) == 0 {
		return ""
	}
	text, _ := json.Marshal(p) // it has nothing that JSON lacks, and maps are in order
	return string(text)
}

// validateProof calls bad with all that is wrong with the proof.
func (s Spec) validateProof(bad func(format string, args ...any)) {
	names := slices.Clone(s.Services)
	for _, c := range s.Proof.Consumers {
		names = append(names, c.Name)
		if err := ValidName(c.Name); err != nil {
			bad("consumer %w", err)
		}
		if c.After < 0 {
			bad("consumer %s: after is negative: leave it out to have the consumer confirmed", c.Name)
		}
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			bad("%s is listed twice among services and consumers: remove one", name)
		}
	}
	for _, name := range s.Services {
		if err := s.Proof.Subscribers[name].Validate(); err != nil {
			bad("service %s: %w", name, err)
		}
	}
	for i, name := range s.Proof.Fleets {
		if err := ValidName(name); err != nil {
			bad("fleet %w", err)
		}
		if slices.Contains(s.Proof.Fleets[:i], name) {
			bad("fleet %s is listed twice: remove one", name)
		}
	}
	if !slices.Contains([]NoSubscribers{"", NoSubscribersHold, NoSubscribersRetire}, s.Proof.NoSubscribers) {
		bad("no_subscribers %q is unknown, use %s or %s", s.Proof.NoSubscribers, NoSubscribersHold, NoSubscribersRetire)
	}
}

// Validate returns why the settings contradict each other, and after a colon what to
// do about it.
func (u Subscriber) Validate() error {
	switch {
	case u.Kind != "" && u.Kind != KindServer && u.Kind != KindJob:
		return fmt.Errorf("kind %q is unknown, use %s or %s", u.Kind, KindServer, KindJob)
	case u.Kind == KindJob && u.MaxRun <= 0:
		return fmt.Errorf("max_run is missing: say how long a run of the %s takes at most", KindJob)
	case u.Kind != KindJob && u.MaxRun != 0:
		return fmt.Errorf("max_run is set, and only a %s has one: add kind: %s, or remove it", KindJob, KindJob)
	case u.Kind == KindJob && u.PresumedEndedAfter != 0:
		return fmt.Errorf("presumed_ended_after is set, and a run of a %s ends after max_run: remove it", KindJob)
	case u.PresumedEndedAfter < 0:
		return fmt.Errorf("presumed_ended_after is negative: leave it out to presume nothing")
	default:
		return nil
	}
}
