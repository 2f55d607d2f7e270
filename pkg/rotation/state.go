package rotation

import (
	"errors"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Outcome says how a rotation ended that did not fail.
type Outcome string

// The outcomes.
const (
	// OutcomeRotated: this run promoted the new version.
	OutcomeRotated Outcome = "rotated"
	// OutcomeFinished: an earlier run, or the store, had promoted the version.
	// This run did what was left.
	OutcomeFinished Outcome = "finished"
	// OutcomeSuperseded: the version that the request names is not current.
	OutcomeSuperseded Outcome = "superseded"
	// OutcomeNotDue: the version is current and its time has not come.
	OutcomeNotDue Outcome = "not_due"
	// OutcomePaused: a person has paused scheduled rotations of the secret.
	OutcomePaused Outcome = "paused"
	// OutcomePhase: the phase that was asked for is done, and the rotation is
	// not.
	OutcomePhase Outcome = "phase"
	// OutcomeNoPending: there is no pending value of this rotation, and the phase
	// that was asked for makes none.
	OutcomeNoPending Outcome = "no_pending"
)

const (
	// freshAfter is how many times in a row one pending value may be refused
	// before it is replaced: a value that was stored before a crash may be one
	// that the target will never take.
	freshAfter = 2
	// maxRejections is how many refusals end in quarantine, after three values.
	maxRejections = 3 * freshAfter
)

// state is all that a run knows. It is a value and does no I/O, so that a
// simulation can take the same path through every interleaving.
type state struct {
	try  Try
	spec secret.Spec

	// meta and log are what the last read returned. noLog says that there was no
	// log to read, see [ErrNoLog].
	meta  secret.Metadata
	log   events.Announcement
	noLog bool
	// due says whether the rotation was allowed to start at that read.
	due bool
	// paused is true while a person has scheduled rotations of the secret wait.
	paused bool
	// thaws is when the freeze ends that is in force, zero for none.
	thaws time.Time

	// pending is the version of this rotation, zero until it is known.
	pending secret.Version
	// skipped is how many tokens the run has found to name versions that another
	// writer took the pending stage from.
	skipped int
}

// token is the name of this rotation: the one that the request demands, or the
// derived one. A derived token changes only with the value: after freshAfter
// refusals, and when its version was withdrawn.
func (s state) token() secret.Token {
	if s.try.Token != "" {
		return s.try.Token
	}
	attempt := s.attempt()
	// Written before the store knew an incarnation, or by an earlier version.
	if t := s.spec.Token(s.try.From, attempt); s.has(t) {
		return t
	}
	return s.spec.TokenIn(s.meta.Incarnation, s.try.From, attempt)
}

func (s state) attempt() int { return s.try.Retry.Rejections/freshAfter + s.skipped }

// skip returns the state with the next derived token, and false when there is none.
func (s state) skip() (state, bool) {
	s.skipped++
	return s, s.try.Token == "" && s.attempt() < secret.MaxAttempts
}

// made reports whether v was written by a rotation for this request, by any
// worker and with any of its values.
func (s state) made(v secret.Version) bool {
	return v.Token != "" && v.Token == s.try.Token || s.spec.MadeIn(s.meta.Incarnation, s.try.From, v.Token)
}

// has reports whether a version was written under a token.
func (s state) has(t secret.Token) bool {
	return slices.ContainsFunc(s.meta.Versions, func(v secret.Version) bool { return v.Token == t })
}

// remade reports whether the secret was deleted and made anew after the request. A
// version with the id that the request names is another one then.
func (s state) remade() bool {
	return s.try.Incarnation != "" && s.meta.Incarnation != s.try.Incarnation
}

// reusable returns the pending version that an earlier run of this rotation
// wrote, and false when there is none.
func (s state) reusable() (secret.Version, bool) {
	p, ok := s.meta.At(secret.StagePending)
	return p, ok && !p.Empty && p.Token == s.token()
}

// hasPending reports whether there is a pending value of this rotation.
func (s state) hasPending() bool {
	_, ok := s.reusable()
	return ok
}

// abandoned returns the pending version that may be replaced: one with an
// earlier value of this rotation, or, from the given attempt on, one of another
// writer.
func (s state) abandoned(takeover int) secret.VersionID {
	p, ok := s.meta.At(secret.StagePending)
	if !ok || s.hasPending() {
		return ""
	}
	if s.made(p) || s.try.Retry.Attempt >= takeover {
		return p.ID
	}
	return ""
}

// unannounced reports whether the log lacks the current version.
func (s state) unannounced() bool {
	return !s.noLog && rollout.Unannounced(s.meta, s.log.Event.Data)
}

// dueAt reports whether the rotation may start at now, given what the store
// shows. One that was asked for always may, and so may the first version. A
// scheduled one may from [secret.Spec.DueAt] on, and not at all while scheduled
// rotation is switched off, unless it has begun before that.
func (s state) dueAt(m secret.Metadata, now time.Time) (bool, error) {
	if s.requested() {
		return true, nil
	}
	if m.Current().ID == "" {
		return true, nil
	}
	if _, begun := m.At(secret.StagePending); begun && s.external() {
		return true, nil // it has been started already
	}
	if p, begun := m.At(secret.StagePending); s.spec.Disabled && (!begun || !s.spec.MadeIn(m.Incarnation, s.try.From, p.Token)) {
		return false, nil
	}
	at, err := s.spec.DueAt(m, now)
	if errors.Is(err, secret.ErrNoWindow) {
		err = nil // the scheduler reports it; the time beside it is valid
	}
	return err == nil && !at.IsZero() && !now.Before(at), err
}

// afterRead returns the state after a read. It forgets all else: the store is
// the truth. An early phase adopts the pending version of the phase before.
func (s state) afterRead(m secret.Metadata, log events.Announcement, noLog, due bool) state {
	s.meta, s.log, s.noLog, s.due = m, log, noLog, due
	s.pending = secret.Version{}
	if p, ok := s.reusable(); ok && s.try.Phase.early() && s.try.Phase != PhaseCreate {
		s.pending = p
	}
	return s
}

// afterPromotion returns the state with the stages moved as the store moved
// them, so that the new version need not be read back.
func (s state) afterPromotion() state {
	from := s.meta.Current().ID
	versions := make([]secret.Version, 0, len(s.meta.Versions)+1)
	for _, v := range s.meta.Versions {
		switch {
		case v.ID == s.pending.ID:
			continue
		case v.ID == from:
			v.Stage = secret.StagePrevious
		case v.Stage == secret.StagePrevious:
			v.Stage = secret.StageRetired
		}
		versions = append(versions, v)
	}
	cur := s.pending
	cur.Stage = secret.StageCurrent
	versions = append(versions, cur)
	s.meta.Versions = versions
	return s
}
