package reload

import "time"

// await has the store read again until it returns the announced version or a newer
// one: the first answer may be that of a replica that lags behind.
func (t *transition) await(a Announcement) {
	t.awaited, t.again, t.againAt = &a, 0, time.Time{}
}

// arrived compares the answer of a read of the current version with the announcement
// that is awaited. A version that was made after the announcement has replaced the
// announced one.
func (t *transition) arrived(e Event) {
	switch a := t.awaited; {
	case a == nil:
	case e.Version == a.Version, e.CreatedAt.After(a.At):
		t.forgo()
	default:
		t.again = min(max(t.again*2, t.rules.Again), MaxAgain)
		t.againAt = t.now.Add(t.again)
	}
}

// forgo ends await.
func (t *transition) forgo() { t.awaited, t.again, t.againAt = nil, 0, time.Time{} }
