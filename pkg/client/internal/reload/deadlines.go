package reload

import "time"

// deadline returns when [Clock] is due, zero for never. While a reload is under
// way only the marks are due: its outcome decides when to try again.
func (t *transition) deadline() time.Time {
	if !t.isStarted() {
		return time.Time{}
	}
	at := t.readAt()
	for _, m := range t.moments() {
		if m.After(t.attended) && (at.IsZero() || m.Before(at)) {
			at = m
		}
	}
	return at
}

// readAt returns when the store has to be read, zero for never: the next try, or
// without one the earliest of the refresh before the lifetime ends, the check of a
// staged version, and the next read for an announced one. It may be in the past, and
// then the clock begins a read.
func (t *transition) readAt() time.Time {
	switch {
	case t.job != nil:
		return time.Time{}
	case !t.nextTry.IsZero():
		return t.nextTry
	}
	at := earlier(t.offered.checkAt, t.againAt)
	if t.lifetime() > 0 {
		at = earlier(at, t.refreshAt())
	}
	return at
}

// earlier returns the earlier of two times, of which each may be zero for never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || !a.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// moments returns when the version in use comes near its end or becomes stale.
// Those that were attended to are among them.
func (t *transition) moments() []time.Time {
	var out []time.Time
	if !t.NotAfter.IsZero() {
		out = append(out, t.NotAfter.Add(-t.rules.Margin), t.NotAfter)
	}
	if t.lifetime() > 0 {
		out = append(out, t.asked.Add(t.lifetime()))
	}
	return out
}

// lifetime returns for how long the version in use counts as fresh, 0 for ever or
// without one.
func (t *transition) lifetime() time.Duration {
	if t.absent {
		return 0
	}
	return t.rules.Lifetime
}

// refreshAt returns when the store has to be read so that the lifetime does not
// end: the margin before, or half of a lifetime that is too short for that.
func (t *transition) refreshAt() time.Time {
	return t.asked.Add(max(t.lifetime()-t.rules.Margin, t.lifetime()/2))
}

// staleSince returns when the version in use becomes stale, or became so, unless
// the store confirms it; zero for never.
func (t *transition) staleSince() time.Time {
	var since time.Time
	if !t.NotAfter.IsZero() && t.asked.Before(t.NotAfter) {
		since = t.NotAfter
	}
	if end := t.asked.Add(t.lifetime()); t.lifetime() > 0 && (since.IsZero() || end.Before(since)) {
		since = end
	}
	return since
}

// clock attends to the deadlines that have passed. A mark is never delayed by a
// reload under way; a read is.
func (t *transition) clock() {
	if !t.isStarted() {
		return
	}
	waits := t.nextTry.After(t.now)
	at := t.readAt()
	due := !at.IsZero() && !t.now.Before(at)
	if t.near() {
		due = true
	}
	if t.age() && !waits {
		due = true
	}
	t.attended = t.now
	if due {
		t.look()
	}
}

// near reports once per version that the version in use has come near its end. The
// answer of the next read decides whether that is said: see warn.
func (t *transition) near() bool {
	if t.warned || t.nearing || !t.isNear() {
		return false
	}
	t.nearing = true
	return true
}

func (t *transition) isNear() bool {
	return !t.NotAfter.IsZero() && !t.now.Before(t.NotAfter.Add(-t.rules.Margin))
}

// warn says once per version that it is near its end, when a read has brought no
// newer one.
func (t *transition) warn() {
	if t.nearing && t.isNear() {
		t.warned = true
		t.do(Effect{Kind: NearExpiry, Version: t.Version, NotAfter: t.NotAfter})
	}
	t.nearing = false
}

// age marks a version that the store has not confirmed since its end. It reports
// whether the mark is new.
func (t *transition) age() bool {
	since := t.staleSince()
	if t.Stale || since.IsZero() || t.now.Before(since) {
		return false
	}
	t.Stale = true
	t.do(Effect{Kind: MarkStale, Version: t.Version, At: since})
	return true
}

// look reads a staged version whose staging failed or whose check is due, and then
// the current version, whose lifetime must not end because of the other.
func (t *transition) look() {
	switch c := t.offered.checkAt; {
	case t.job != nil:
	case t.restage != nil:
		t.begin(job{staged: true, cause: *t.restage, version: t.restage.Version})
	case !c.IsZero() && !t.now.Before(c):
		t.begin(job{staged: true, cause: t.offered.cause, version: t.offered.version})
	}
	t.polled()
}
