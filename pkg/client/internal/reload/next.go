package reload

import (
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// transition is one call of [State.Next]. Its methods change the embedded copy of
// the state, so the caller's state stays as it was.
type transition struct {
	State

	rules   Rules
	now     time.Time
	effects []Effect
	next    *Effect // the effect that has to be answered
}

// Next returns the state after an event at the time now, and the effects of the
// event in the order in which the shell has to carry them out. One that has to be
// answered is the last.
func (s State) Next(r Rules, e Event, now time.Time) (State, []Effect) {
	t := transition{State: s, rules: r, now: now}
	t.apply(e)
	t.dequeue()
	t.dropOld()
	if t.isStarted() && (t.Version != s.Version || t.Status != s.Status || t.Wanted != s.Wanted || t.Reason != s.Reason) {
		t.do(Effect{Kind: Report})
	}
	if due := t.deadline(); !due.Equal(t.due) {
		t.due = due
		t.do(Effect{Kind: Schedule, At: due})
	}
	if t.next != nil {
		t.do(*t.next)
	}
	return t.State, t.effects
}

// do adds an effect that the shell carries out at once.
func (t *transition) do(e Effect) { t.effects = append(t.effects, e) }

// enter begins a phase of a job, whose effect has to be answered.
func (t *transition) enter(phase EffectKind, j job) {
	j.phase = phase
	t.job = &j
	t.next = &Effect{Kind: phase, Version: j.version, Staged: j.staged, Cause: j.cause}
}

// apply passes an event on. Only what waits for an answer sees answers, so a late
// or repeated one does no harm.
func (t *transition) apply(e Event) {
	switch e.Kind {
	case Started:
		t.started(e)
	case Announced:
		t.told = t.told.or(e)
		t.announced(e.Announcement)
		t.shorten()
	case Staged:
		t.staged(e.Announcement)
	case Draining:
		t.draining(e)
	case Clock:
		t.clock()
	case Polled:
		t.polled()
	case RefreshAsked:
		t.refreshAsked()
	case ReadDone, ReadFailed, Prepared, Refused, Committed, CommitFailed:
		if t.job != nil {
			t.answered(e)
		}
	}
}

// answered passes on an answer that the job waits for.
func (t *transition) answered(e Event) {
	switch j := *t.job; {
	case e.Kind == ReadDone && j.phase == Read && j.staged:
		t.readStaged(j, e)
	case e.Kind == ReadDone && j.phase == Read:
		t.readCurrent(j, e)
	case e.Kind == ReadFailed && j.phase == Read:
		t.unread(j, e.Failure)
	case e.Kind == Prepared && j.phase == Prepare:
		t.prepared(j)
	case e.Kind == Refused && j.phase == Prepare:
		t.refused(j, e.Failure)
	case e.Kind == Committed && j.phase == Commit:
		t.use(j)
	case e.Kind == CommitFailed && j.phase == Commit:
		t.commitFailed(j, e.Failure)
	}
}

// readCurrent takes the answer to a read of the current version.
func (t *transition) readCurrent(j job, e Event) {
	t.arrived(e)
	if e.Version == t.Version {
		t.unchanged(j, e)
	} else {
		t.offer(j, e)
	}
}

// started takes the first version into use. Announcements that arrived before are
// queued, and looked at next.
func (t *transition) started(e Event) {
	switch {
	case t.isStarted():
	case e.Version == "":
		t.absent = true
		t.settle()
	case e.Failure != Failure{}:
		t.commitFailed(job{version: e.Version, notAfter: e.NotAfter}, e.Failure)
	default:
		t.use(job{version: e.Version, notAfter: e.NotAfter})
	}
}

// announced takes an announcement of a current version. It is a hint: the version
// that the store returns counts, whichever was announced. The version in use is
// read only after a failure, which may be a rollback to it.
func (t *transition) announced(a Announcement) {
	if t.drain != nil && !t.drain.covers(a) {
		t.drain = nil // a later rollout has a Draining of its own
	}
	switch {
	case !t.isStarted() || t.job != nil:
		t.queued = newest(t.queued, a)
	case t.seen.covers(a):
		// Replayed or overtaken.
	case a.Version == t.Version && t.Status != StatusFailed:
		t.forgo() // it is in use already, and a later announcement than the awaited one
	default:
		t.await(a)
		t.begin(job{cause: a})
	}
}

// staged takes an announcement of a version to verify with. It is read by its id,
// because it is not the current one yet.
func (t *transition) staged(a Announcement) {
	switch {
	case !t.isStarted() || t.job != nil:
		t.queuedStaged = newest(t.queuedStaged, a)
	case t.seen.covers(a), a.Version == t.Version, t.Status == StatusStaged && a.Version == t.Wanted:
		// Replayed, overtaken, promoted or staged already.
	default:
		t.begin(job{staged: true, cause: a, version: a.Version})
	}
}

// newest returns the later of two announcements; of two at the same time the one
// that is queued already.
func newest(have *Announcement, a Announcement) *Announcement {
	if have != nil && (a.At.Equal(have.At) || sightingOf(*have).covers(a)) {
		return have
	}
	return &a
}

// draining takes the order to drop what was before the announced version. It is a
// hint as well: a process that still uses the previous version reads the store.
func (t *transition) draining(e Event) {
	a := e.Announcement
	if t.drained.covers(a) || t.seen.covers(a) {
		return // replayed, or overtaken by a later version
	}
	t.drained = sightingOf(a)
	t.drain = &drain{sightingOf(a), e.Previous}
	if t.Version == e.Previous {
		t.await(a)
		t.polled()
	}
}

// dropOld carries out a [Draining] once its previous version is not in use.
func (t *transition) dropOld() {
	if t.drain != nil && t.isStarted() && t.Version != t.drain.previous {
		t.do(Effect{Kind: Drop, Version: t.drain.version})
		t.drain = nil
	}
}

// polled reads the current version, unless such a read is under way.
func (t *transition) polled() {
	switch {
	case !t.isStarted():
	case t.job == nil:
		t.begin(job{})
	default:
		t.queuedRead = t.queuedRead || !t.isReading()
	}
}

// isReading reports whether the current version is being read.
func (t *transition) isReading() bool { return t.job != nil && t.job.phase == Read && !t.job.staged }

// refreshAsked reads the current version unless that happened just now. During a
// reload it waits for the outcome: the read may have begun before the credentials
// were refused.
func (t *transition) refreshAsked() {
	switch {
	case !t.isStarted():
	case t.job != nil:
		t.queuedAsk = true
	case t.now.Sub(t.tried) >= RefreshPause:
		t.begin(job{})
	}
}

// dequeue begins the next job, if none is under way. What an earlier job has done
// already is dropped. The current version goes before a staged one: if it is the
// staged one, promoted, there is nothing to stage.
func (t *transition) dequeue() {
	if a := t.queued; a != nil && t.isIdle() {
		t.queued = nil
		t.announced(*a)
	}
	if t.queuedRead && t.isIdle() {
		t.begin(job{})
	}
	if t.queuedAsk && t.isIdle() {
		t.queuedAsk = false
		t.refreshAsked()
	}
	if a := t.queuedStaged; a != nil && t.isIdle() {
		t.queuedStaged = nil
		t.staged(*a)
	}
}

// isIdle reports whether a job can begin.
func (t *transition) isIdle() bool { return t.isStarted() && t.job == nil }

// begin starts a job with a read. An announcement leads to one read at once, so
// that replays cost nothing even while the store is down: the retry of a read that
// fails, or that does not return the announced version, has a time of its own.
func (t *transition) begin(j job) {
	if !j.cause.isZero() && !t.seen.covers(j.cause) {
		t.seen = sightingOf(j.cause)
		t.restage = nil // overtaken
	}
	if !j.staged {
		t.tried, t.queuedRead = t.now, false
		if a := t.awaited; a != nil && j.cause.isZero() && t.seen == sightingOf(*a) {
			j.cause = *a
		}
	}
	t.enter(Read, j)
}

// offer has the version that was read offered to the hooks. Any other version
// that they hold was given up.
func (t *transition) offer(j job, e Event) {
	t.withdrawAllBut(e.Version)
	j.version, j.notAfter = e.Version, e.NotAfter
	t.enter(Prepare, j)
}

// unchanged notes that the version in use is the current one, and that nothing
// else is wanted unless a staging has to be tried again. A version that hooks
// refused as current was rolled back; a staged one may still come.
func (t *transition) unchanged(j job, e Event) {
	t.confirm(t.ends(e.Version, e.NotAfter))
	t.warn()
	if !t.offered.staged {
		t.withdrawAllBut("")
	}
	if t.mixed {
		j.version, j.notAfter = e.Version, e.NotAfter
		t.enter(Prepare, j)
		return
	}
	t.job = nil
	if t.restage == nil { // otherwise its next try keeps its time, which may have passed meanwhile
		t.settle()
	}
}

// confirm notes that the store confirmed the version in use, whose end may have
// moved either way. The warning of its near expiry is not repeated.
func (t *transition) confirm(end time.Time) {
	t.asked = t.now
	if !t.Stale && t.NotAfter.Equal(end) {
		return
	}
	t.do(Effect{Kind: Confirm, Version: t.Version, NotAfter: end})
	if t.Stale {
		t.do(Effect{Kind: Fresh, Version: t.Version})
	}
	t.NotAfter, t.Stale = end, false
}

// settle ends the job and notes that nothing has to be tried again. The status is
// that of before a failure: staged while hooks hold a staged version that all of
// them accepted, applied otherwise. While hooks are mixed the failure stays, and
// its next try.
func (t *transition) settle() {
	t.job, t.restage = nil, nil
	if t.mixed {
		return
	}
	t.retry, t.nextTry = 0, time.Time{}
	t.Status, t.Wanted, t.Reason = StatusApplied, "", ""
	if t.offered.staged && t.offered.accepted {
		t.Status, t.Wanted = StatusStaged, t.offered.version
	}
}

// readStaged offers a staged version to the hooks, if it is still pending and they
// do not hold it.
func (t *transition) readStaged(j job, e Event) {
	switch {
	case !e.Pending:
		// It was promoted or given up meanwhile. A read of the current version shows
		// which, and what hooks hold is withdrawn unless it is that.
		t.offered.staged, t.offered.checkAt, t.queuedRead = false, time.Time{}, true
		t.settle()
	case t.offered.accepted && t.offered.version == j.version:
		t.offered.checkAt = t.now.Add(StagedPause)
		t.settle()
	default:
		t.offer(j, e)
	}
}

// unread notes that the store could not be read. A staged version that is missing
// was given up if it was read before, or if it was announced long enough ago for
// every replica to have it.
func (t *transition) unread(j job, f Failure) {
	switch {
	case !j.staged && t.staysAbsent(j, f):
		t.remainAbsent()
	case j.staged && f.missing() && (t.offered.version == j.version || t.now.Sub(j.cause.At) >= GoneAfter):
		if t.offered.version == j.version {
			t.withdrawAllBut("") // given up
		}
		t.settle()
	case j.staged:
		t.restage = &j.cause
		t.fail(j.version, f)
	case j.cause.isZero() && t.Status == StatusFailed:
		t.warn()
		t.fail(t.Wanted, f)
	default:
		t.warn()
		t.fail(j.cause.Version, f)
	}
}

// staysAbsent reports whether a failed read says that there still is no version. Only
// the plain answer of the store says so. For a while after an announcement it may be that
// of a replica.
func (t *transition) staysAbsent(j job, f Failure) bool {
	return t.absent && f.Kind == notFound && (j.cause.isZero() || t.now.Sub(j.cause.At) >= GoneAfter)
}

// remainAbsent notes that there is no version. A version that hooks refused is gone.
func (t *transition) remainAbsent() {
	if !t.offered.staged {
		t.withdrawAllBut("")
	}
	t.mixed = false
	t.forgo()
	t.settle()
}

// prepared goes on to the commit of a current version. A staged one has none: it
// stays prepared until it is promoted or withdrawn. The version in use needs none:
// the hooks that took another one have it again.
func (t *transition) prepared(j job) {
	switch {
	case j.staged:
		t.offered = offer{version: j.version, staged: true, accepted: true, cause: j.cause, checkAt: t.now.Add(StagedPause)}
		t.settle()
	case j.version == t.Version:
		t.mixed = false
		t.settle()
	default:
		t.enter(Commit, j)
	}
}

// refused notes that a hook refused a version: the version in use stays. Other
// hooks may have accepted it, so hooks hold it until it is withdrawn or in use.
func (t *transition) refused(j job, f Failure) {
	if j.version != t.Version {
		t.offered = offer{version: j.version, staged: j.staged}
	}
	t.mixed = t.mixed || !j.staged
	t.restage = nil
	if j.staged {
		t.restage = &j.cause
	}
	t.fail(j.version, f)
}

// use notes that a version is in use. Hooks hold no other version any more. One whose
// staging failed may follow the one that came into use: it is tried again at once.
func (t *transition) use(j job) {
	again := t.restage
	t.Version, t.NotAfter, t.LoadedAt = j.version, t.ends(j.version, j.notAfter), t.now
	t.Stale, t.nearing, t.warned, t.mixed, t.absent, t.asked = false, false, false, false, false, t.now
	t.offered = offer{}
	t.settle()
	if again != nil && again.Version != j.version {
		t.restage, t.nextTry = again, t.now
	}
	t.do(Effect{Kind: Installed, Version: j.version, Cause: j.cause})
}

// commitFailed notes that a version is in use, and that a hook may still use the one
// before. The next read offers the version to that hook again.
func (t *transition) commitFailed(j job, f Failure) {
	t.use(j)
	t.mixed = true
	t.fail(j.version, f)
}

// fail ends the job, notes that a version could not be taken into use, and sets the
// time of the next try. The pause doubles with each failure in a row.
func (t *transition) fail(wanted secret.VersionID, f Failure) {
	t.job = nil
	t.Status, t.Wanted, t.Reason = StatusFailed, wanted, truncate(f.Text)
	t.retry = min(max(t.retry*2, t.rules.Retry), MaxRetry)
	t.nextTry = t.now.Add(t.retry)
	t.do(Effect{Kind: Failed, Version: wanted, Failure: f, Pause: t.retry})
}

// truncate cuts a text to [MaxReason] bytes, between two characters.
func truncate(text string) string {
	if len(text) <= MaxReason {
		return text
	}
	return strings.ToValidUTF8(text[:MaxReason], "")
}

// withdrawAllBut withdraws the version that hooks hold, unless it is v.
func (t *transition) withdrawAllBut(v secret.VersionID) {
	if held := t.offered.version; held != "" && held != v {
		t.offered = offer{}
		t.do(Effect{Kind: Withdraw, Version: held})
	}
}
