package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// sourceSilence is how long a listener may say nothing before it counts as
	// stopped. It speaks twice a minute.
	sourceSilence = 2 * time.Minute
	// sourceQuiet is how long a store may log nothing before its log counts as cut
	// off: each sweep of a scheduler makes it log.
	sourceQuiet = time.Hour
)

// KnownReaders says which identities of the stores belong to whom.
type KnownReaders struct {
	// Services are the identities that each service reads with.
	Services map[string][]string
	// Ignore are the identities whose reads need no report, such as those of other
	// programs of ours, of backups and of people.
	Ignore []string
	// Sources are the listeners that hear every read of the secrets of a store. A
	// store without one makes no answer unknown by what was missed.
	Sources []ReadSource
}

// ReadSource names one listener, see [events.ReadSource].
type ReadSource struct{ Store, Name string }

// Reader is an identity that reads a secret and reports no use of it.
type Reader struct {
	Identity string `json:"identity"`
	// Entity is another name of it.
	Entity  string `json:"entity,omitempty"`
	Address string `json:"address,omitempty"`
	// VersionID is the version that it read last, "" where the log does not say.
	// Stage is the stage by which it asked for it.
	VersionID secret.VersionID `json:"version_id,omitempty"`
	Stage     string           `json:"stage,omitempty"`
	LastSeen  time.Time        `json:"last_seen"`
}

// String says what the identity did.
func (r Reader) String() string {
	what := "it"
	switch {
	case r.VersionID != "":
		what = "version " + string(r.VersionID)
	case r.Stage != "":
		what = r.Stage
	}
	return fmt.Sprintf("%s read %s at %s and reports no use", r.Identity, what, clock(r.LastSeen))
}

// UnknownReaders is what the logs of a store add to what a fleet says. The zero
// value adds nothing.
type UnknownReaders struct {
	// Readers are those seen last first.
	Readers []Reader
	// More is true when there were further identities than are kept.
	More bool
	// Missed says why there may be readers that were not seen, "" for no reason.
	Missed string
}

// Readers returns which identities read the secret and are not those of a service
// that reports it or is listed as its subscriber (a subscriber without a live
// instance blocks already), nor those of our own programs. Only sightings count that were stored since one TTL before
// the promotion. A reader that was seen earlier holds a version that was replaced
// before the previous one.
func (q Question) Readers(seen events.Reads, f events.Fleet, known KnownReaders) UnknownReaders {
	var out UnknownReaders
	since := q.readsSince()
	accounted := q.accounted(seen, f, known)
	for _, s := range seen.Sightings {
		if !s.StoredAt.Before(since) && !accounted[s.Identity] && (s.Entity == "" || !accounted[s.Entity]) {
			out.Readers = append(out.Readers, Reader{s.Identity, s.Entity, s.Address, s.VersionID, s.Stage, s.At})
		}
	}
	slices.SortFunc(out.Readers, func(a, b Reader) int {
		if c := b.LastSeen.Compare(a.LastSeen); c != 0 {
			return c
		}
		return strings.Compare(a.Identity, b.Identity)
	})
	out.More = !seen.More.IsZero() && !seen.More.Before(since)
	for _, source := range known.Sources {
		if out.Missed == "" && source.Store == q.Spec.Store {
			out.Missed = missed(source, seen.Sources, since, f.At)
		}
	}
	return out
}

// readsSince returns the time before which a sighting says nothing about the
// previous version.
func (q Question) readsSince() time.Time {
	life := q.Spec.TTL
	if life <= 0 || life > events.ReadsKept {
		life = events.ReadsKept
	}
	return q.Promoted.Add(-life)
}

// accounted returns the identities whose reads are explained.
func (q Question) accounted(seen events.Reads, f events.Fleet, known KnownReaders) map[string]bool {
	out := map[string]bool{}
	for _, own := range seen.Own {
		if own.Store == q.Spec.Store {
			out[own.Identity] = true
		}
	}
	for _, identity := range known.Ignore {
		out[identity] = true
	}
	services := slices.Clone(q.Spec.Services)
	for _, u := range f.Users {
		services = append(services, u.Use.Service)
	}
	for _, s := range services {
		for _, identity := range known.Services[s] {
			out[identity] = true
		}
	}
	return out
}

// missed returns why reads since a time may not have been heard of by a listener, ""
// for no reason.
func missed(want ReadSource, have []events.ReadSource, since, now time.Time) string {
	i := slices.IndexFunc(have, func(s events.ReadSource) bool { return s.Store == want.Store && s.Name == want.Name })
	name := fmt.Sprintf("the audit source %s of the store %s", want.Name, want.Store)
	switch {
	case i < 0:
		return name + " has heard of nothing yet"
	case now.Sub(have[i].At) > sourceSilence:
		return name + " has not run since " + clock(have[i].At)
	case now.Sub(have[i].Heard) > sourceQuiet:
		return name + " has heard nothing since " + clock(have[i].Heard) + ": check that its audit device is on"
	case have[i].Since.After(since):
		return name + " may have missed reads before " + clock(have[i].Since)
	default:
		return ""
	}
}

// Because says in one line what makes an answer unknown, "" for nothing.
func (u UnknownReaders) Because() string {
	var parts []string
	if len(u.Readers) > 0 {
		parts = append(parts, u.Readers[0].String())
	}
	if n := len(u.Readers) - 1; n > 0 {
		parts = append(parts, fmt.Sprintf("so do %d other identities", n))
	}
	if u.More {
		parts = append(parts, fmt.Sprintf("more than %d identities read it, and no others are named", events.MaxReaders))
	}
	if u.Missed != "" {
		parts = append(parts, "readers that report nothing cannot be excluded: "+u.Missed)
	}
	return strings.Join(parts, "; ")
}

// Among returns the answer of a fleet with what the logs of the store add to it. It
// turns a yes into unknown, and changes no other answer: what the logs say is a hint
// that any program may have forged.
func (s SafeToRevoke) Among(u UnknownReaders) SafeToRevoke {
	s.UnknownReaders = u.Readers
	if why := u.Because(); why != "" && s.Answer == AnswerYes {
		s.Answer, s.Because = AnswerUnknown, why
	}
	return s
}
