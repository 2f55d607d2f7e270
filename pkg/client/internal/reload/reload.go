package reload

import (
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Rules are the settings of one secret.
type Rules struct {
	// Margin is how long before its end a version counts as near expiry.
	Margin time.Duration
	// Lifetime is how long a value counts as fresh after the store was read; 0
	// means without limit.
	Lifetime time.Duration
	// Retry is the pause after the first failure. It doubles up to [MaxRetry].
	Retry time.Duration
	// Again is the pause after a read that did not return the announced version. It
	// doubles up to [MaxAgain]. Each process draws its own, so that the processes of
	// a service do not read at the same moments.
	Again time.Duration
}

const (
	// MaxRetry bounds the pause between two tries.
	MaxRetry = time.Minute
	// MaxAgain bounds the pause between two reads for an announced version.
	MaxAgain = 5 * time.Minute
	// RefreshPause is the least time between a read of the current version and
	// one that [RefreshAsked] causes.
	RefreshPause = time.Second
	// GoneAfter is how long after its announcement a staged version that was
	// never read may be missing: a replica of the store may lag. After that, a
	// missing version counts as given up.
	GoneAfter = time.Minute
	// StagedPause is the time between two reads of a staged version that hooks
	// accepted, because a version that is given up is not announced.
	StagedPause = time.Minute
	// MaxReason bounds the reason of a failure in a report, in bytes.
	MaxReason = 200
)

// Announcement is a version that the bus announced. The zero Announcement stands
// for a read without one: a poll, a retry or a refresh.
type Announcement struct {
	Version secret.VersionID
	// At is when the version was announced, by the clock of the announcer.
	At time.Time
	// Seq is the position of the announcement in the log, 0 if unknown.
	Seq uint64
	// Trace is the W3C traceparent of the announcement, "" for none.
	Trace string
}

// isZero reports whether there was no announcement: a real one has a time.
func (a Announcement) isZero() bool { return a.At.IsZero() }

// After reports whether a was announced later than b. A log that was lost counts from
// 1 again, so that a lower sequence alone makes nothing older: the clock has to agree.
func (a Announcement) After(b Announcement) bool { return a.Seq > b.Seq && a.At.After(b.At) }

// sighting is what has to be remembered of an announcement.
type sighting struct {
	version secret.VersionID
	at      time.Time
	seq     uint64
}

// sightingOf returns what has to be remembered of a.
func sightingOf(a Announcement) sighting { return sighting{a.Version, a.At, a.Seq} }

// covers reports whether a is a replay of s, or older.
//
// The sequence decides before the clock, because the clocks of two announcers
// differ. A lower sequence alone does not make a old: a log that was lost counts
// from 1 again, so a has to be the older one by the clock as well.
func (s sighting) covers(a Announcement) bool {
	switch {
	case a.At.Equal(s.at) && a.Version == s.version:
		return true
	case a.Seq > s.seq && s.seq != 0:
		return false
	}
	return a.At.Before(s.at)
}

// EventKind names what happened.
type EventKind string

// The events, and the fields of [Event] that each of them sets.
const (
	// Started: the first version was read and is in use. Version, NotAfter. Without a
	// Version the store has none yet, and nothing is in use until a read brings one. With
	// a Failure a hook did not commit the version, see [CommitFailed].
	Started EventKind = "started"
	// Announced: a version was announced as current. Announcement, NotAfter.
	Announced EventKind = "announced"
	// Staged: a version was announced for verification. Announcement.
	Staged EventKind = "staged"
	// Draining: every version before the announced one has to be dropped, because
	// Previous is about to be retired. Announcement, Previous.
	Draining EventKind = "draining"
	// ReadDone: a [Read] succeeded. Version, CreatedAt, NotAfter, Pending.
	ReadDone EventKind = "read"
	// ReadFailed: a [Read] failed. Failure.
	ReadFailed EventKind = "read_failed"
	// Prepared: every hook accepted the version of a [Prepare].
	Prepared EventKind = "prepared"
	// Refused: a hook refused the version of a [Prepare]. Failure.
	Refused EventKind = "refused"
	// Committed: a [Commit] is complete.
	Committed EventKind = "committed"
	// CommitFailed: a hook did not carry out a [Commit], and may use the version
	// before. Failure.
	CommitFailed EventKind = "commit_failed"
	// Clock: the time of the last [Schedule] has come. Extra ones do no harm.
	Clock EventKind = "clock"
	// Polled: the interval of the poll has passed.
	Polled EventKind = "polled"
	// RefreshAsked: the service wants the store read now, because its credentials
	// were refused.
	RefreshAsked EventKind = "refresh_asked"
)

// Event is something that happened. A result that no effect asked for is
// ignored.
type Event struct {
	Kind         EventKind
	Announcement Announcement
	Version      secret.VersionID
	Previous     secret.VersionID
	// CreatedAt is when the version was written, zero if unknown.
	CreatedAt time.Time
	// NotAfter is the end of the version's life, zero for none.
	NotAfter time.Time
	// Pending is set for a version that is not promoted yet.
	Pending bool
	Failure Failure
}

// Failure is why a read or a hook failed.
type Failure struct {
	// Kind is a short constant, such as "unavailable"; see [store.Reason].
	Kind string
	// Text is for people. It holds no value.
	Text string
}

// missing reports whether the store answered that it has no such version, or no
// value of it.
func (f Failure) missing() bool { return f.Kind == notFound || f.Kind == "no_value" }

// notFound is the kind of a failure that says that there is no such secret or version.
const notFound = "not_found"

// EffectKind names what the shell has to do.
type EffectKind string

// The effects, and the fields of [Effect] that each of them sets. The first three
// have to be answered by an event, and at most one of them is under way at a time.
// The shell carries out the others at once.
const (
	// Read reads the current version from the store, or Version for a staged one.
	// The answer is [ReadDone] or [ReadFailed]. Version, Staged, Cause.
	Read EffectKind = "read"
	// Prepare offers the version that was read to every hook. When it is the version
	// in use, only the hooks that took another one are asked. The answer is
	// [Prepared] or [Refused]. Version, Staged, Cause.
	Prepare EffectKind = "prepare"
	// Commit takes the prepared version into use, which no hook may refuse. The answer
	// is [Committed] or [CommitFailed]. Version, Cause.
	Commit EffectKind = "commit"
	// Withdraw tells hooks that a version that was offered will not come into use.
	// Version.
	Withdraw EffectKind = "withdraw"
	// Drop ends the acceptance of every version but Version, the one in use and one
	// that is offered. Version.
	Drop EffectKind = "drop"
	// Installed logs and counts the version that has come into use. Version, Cause.
	Installed EffectKind = "installed"
	// Confirm publishes that the store confirmed the version in use, whose end may
	// have moved. It ends the mark stale. Version, NotAfter.
	Confirm EffectKind = "confirm"
	// Ends publishes that the version in use ends earlier than its store says. Version,
	// NotAfter.
	Ends EffectKind = "ends"
	// Fresh logs that a Confirm ended the mark stale. Version.
	Fresh EffectKind = "fresh"
	// MarkStale publishes that the version in use has been stale since At. Version.
	MarkStale EffectKind = "stale"
	// NearExpiry logs and counts that the version in use is near its end, and that the
	// store has no newer one or cannot be read. Version, NotAfter.
	NearExpiry EffectKind = "near_expiry"
	// Failed logs and counts a failure. Version is the one that was wanted, "" if
	// unknown. Failure, Pause.
	Failed EffectKind = "failed"
	// Report sends [State.Report] to the bus.
	Report EffectKind = "report"
	// Schedule replaces the time of the next [Clock]; a zero At means never. At.
	Schedule EffectKind = "schedule"
)

// Effect is something that the shell has to do.
type Effect struct {
	Kind    EffectKind
	Version secret.VersionID
	Staged  bool
	// Cause is the announcement that led to it, zero for none.
	Cause    Announcement
	NotAfter time.Time
	At       time.Time
	Failure  Failure
	// Pause is the time until the next try.
	Pause time.Duration
}

// Status is what became of the version that is wanted.
type Status string

// The statuses have the words of a report on the bus.
const (
	// StatusApplied: the version in use is the one that is wanted.
	StatusApplied Status = "applied"
	// StatusFailed: the wanted version could not be taken into use.
	StatusFailed Status = "failed"
	// StatusStaged: the wanted version is staged.
	StatusStaged Status = "staged"
)

// State is everything that is known of one secret. The zero State waits for
// [Started]. It is a value: what its pointers point to never changes.
type State struct {
	// Version is the version in use, "" while there is none, and NotAfter its end, zero
	// for none.
	Version  secret.VersionID
	NotAfter time.Time
	LoadedAt time.Time
	// Stale marks a version in use that the store has not confirmed since its end.
	Stale bool

	Status Status
	// Wanted is the version that failed or is staged, "" for none.
	Wanted secret.VersionID
	// Reason says why Status is failed, in at most [MaxReason] bytes.
	Reason string

	absent   bool          // it was started without a version, and no read has brought one
	asked    time.Time     // when the store last confirmed the version in use
	tried    time.Time     // when the store was last asked for the current version
	attended time.Time     // moments up to here were attended to
	due      time.Time     // the last Schedule
	retry    time.Duration // the pause after the last failure, 0 after a success
	nextTry  time.Time     // zero when nothing has to be tried again
	seen     sighting      // the newest announcement that led to a read
	told     told          // the end that the newest announcement gave its version
	awaited  *Announcement // no read has returned its version or a newer one
	again    time.Duration // the pause after the last read for awaited
	againAt  time.Time     // when the store is read again for awaited
	offered  offer
	mixed    bool          // see Mixed
	nearing  bool          // the version in use has come near its end, and no read was answered since
	warned   bool          // near expiry was said of the version in use
	restage  *Announcement // the staging that failed and is tried again
	drain    *drain        // waits until its previous version is not in use
	drained  sighting      // the newest Draining
	job      *job          // nil while nothing is under way

	// What waits for the job to end.
	queued       *Announcement // the newest version announced as current
	queuedStaged *Announcement // the newest version announced for verification
	queuedRead   bool          // a read of the current version
	queuedAsk    bool          // a RefreshAsked
}

// offer is a version other than the one in use that hooks may hold.
type offer struct {
	version  secret.VersionID // "" for none
	staged   bool             // it was offered for verification, and is pending for all we know
	accepted bool             // every hook accepted it
	cause    Announcement     // of a staged one
	checkAt  time.Time        // when an accepted staged one is read again
}

// drain is a [Draining] that has not led to a [Drop].
type drain struct {
	sighting

	previous secret.VersionID
}

// job is a reload that is under way.
type job struct {
	phase    EffectKind // Read, Prepare or Commit: what has to be answered
	staged   bool
	cause    Announcement
	version  secret.VersionID // "" until the current version was read
	notAfter time.Time
}

// Busy reports whether a reload is under way.
func (s State) Busy() bool { return s.job != nil }

// Mixed reports whether a hook may use another version than the one in use: a later
// hook refused that version, or this one did not carry out its commit.
func (s State) Mixed() bool { return s.mixed }

// Offered returns the version other than the one in use that hooks may hold, ""
// for none.
func (s State) Offered() secret.VersionID { return s.offered.version }

// Pause returns the pause after the last failure, 0 when nothing failed.
func (s State) Pause() time.Duration { return s.retry }

// Phase returns the effect that has to be answered, "" for none.
func (s State) Phase() EffectKind {
	if s.job == nil {
		return ""
	}
	return s.job.phase
}

// isStarted reports whether [Started] was taken. Before that, announcements are queued
// and everything else is ignored.
func (s State) isStarted() bool { return s.Version != "" || s.absent }
