package client

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// EventKeyRotated is the event of the record with which a key takes over a chain. It
// is the first record that the new key signs. Its fields name the key before (from)
// and the MAC of the last record of that key (head).
const EventKeyRotated = "key.rotated"

// The fields of EventKeyRotated.
const (
	fieldFrom = "from"
	fieldHead = "head"
)

// AuditPosition names a record: an anchor, if it was kept where who can write the log
// cannot write, such as the log line audit.head.
type AuditPosition struct {
	Seq uint64 `json:"seq"`
	MAC string `json:"mac"`
}

// KeyLife is when a version of a key may have signed. A zero time is unknown.
type KeyLife struct{ From, Until time.Time }

// DefaultAuditOverlap is how long after the next version was made a version may still
// sign: as long as a process goes on with what it has while no store answers.
const DefaultAuditOverlap = 24 * time.Hour

// auditSkew is how far the clock of a store and that of a process may be apart.
const auditSkew = 5 * time.Minute

// AuditLives returns the lives of the versions that m shows, for
// [AuditVerifier.Life]. A version ends overlap after the next one was made; 0 means
// DefaultAuditOverlap. One that never was current ends no other.
func AuditLives(m secret.Metadata, overlap time.Duration) func(secret.VersionID) (KeyLife, bool) {
	overlap = cmp.Or(overlap, DefaultAuditOverlap)
	var used []secret.Version
	for _, v := range m.Versions {
		if v.Stage == secret.StageCurrent || v.Stage == secret.StagePrevious || v.Kept {
			used = append(used, v)
		}
	}
	slices.SortFunc(used, func(a, b secret.Version) int { return a.CreatedAt.Compare(b.CreatedAt) })
	lives := map[secret.VersionID]KeyLife{}
	for _, v := range m.Versions {
		life := KeyLife{From: v.CreatedAt}
		for _, next := range used {
			if next.CreatedAt.After(v.CreatedAt) && !v.CreatedAt.IsZero() {
				life.Until = next.CreatedAt.Add(overlap)
				break
			}
		}
		lives[v.ID] = life
	}
	return func(v secret.VersionID) (KeyLife, bool) {
		life, ok := lives[v]
		return life, ok
	}
}

// chain is one chain up to its last record.
type chain struct {
	seq       uint64
	key       secret.VersionID          // "" before the first record that was read
	before    map[secret.VersionID]bool // keys that were replaced
	announced bool                      // a record of EventKeyRotated was read
}

// successor returns what is wrong with the key of a record that follows the chain.
// unannounced is true for a change without EventKeyRotated, which releases before
// that event made.
func (c *chain) successor(r AuditRecord) (reason string, unannounced bool) {
	switch {
	case c.key == "" || c.key == r.KeyID:
		return "", false
	case c.before[r.KeyID]:
		return fmt.Sprintf("its key %q was replaced before in this chain", string(r.KeyID)), false
	case r.Event == EventKeyRotated && (r.Fields[fieldFrom] != string(c.key) || r.Fields[fieldHead] != r.Prev):
		return "it takes over from another key or another record than the one before it", false
	case r.Event != EventKeyRotated && c.announced:
		return "its key is another one, and no " + EventKeyRotated + " announces it", false
	}
	return "", r.Event != EventKeyRotated
}

// add makes r the last record.
func (c *chain) add(r AuditRecord) {
	if c.key != "" && c.key != r.KeyID {
		c.before = replaced(c.before, c.key)
		c.announced = c.announced || r.Event == EventKeyRotated
	}
	c.seq, c.key = r.Seq, r.KeyID
}

// alive returns what is wrong with the time of a record, or with the order of its key
// and the key before.
func (c *auditChecker) alive(r AuditRecord, before secret.VersionID) string {
	if c.v.Life == nil {
		return ""
	}
	life, ok := c.v.Life(r.KeyID)
	if !ok {
		return ""
	}
	switch last, known := c.v.Life(before); {
	case !life.From.IsZero() && r.Time.Before(life.From.Add(-auditSkew)):
		return fmt.Sprintf("its time is before its key was made, at %s", life.From.UTC().Format(time.RFC3339))
	case !life.Until.IsZero() && r.Time.After(life.Until.Add(auditSkew)):
		return fmt.Sprintf("its time is after the life of its key, which ended at %s", life.Until.UTC().Format(time.RFC3339))
	case known && before != r.KeyID && !life.From.IsZero() && life.From.Before(last.From):
		return fmt.Sprintf("its key is older than the key %q before it", string(before))
	}
	return ""
}

// anchored returns what is wrong with a record that an anchor names, and takes the
// anchors that it fits off the list.
func (c *auditChecker) anchored(r AuditRecord) string {
	for _, a := range c.anchors {
		if a.Seq == r.Seq && a.MAC != r.MAC && !c.v.Merged {
			return "it is not the record with this number that was anchored"
		}
	}
	c.anchors = slices.DeleteFunc(c.anchors, func(a AuditPosition) bool { return a.MAC == r.MAC && a.Seq == r.Seq })
	return ""
}

// cut returns an error if an anchored record is not in the log.
func (c *auditChecker) cut() error {
	for _, a := range c.anchors {
		if a.Seq > c.v.After.Seq {
			return c.bad(fmt.Sprintf("the log has ended, and record %d, which was anchored, is not in it: records were removed", a.Seq))
		}
	}
	return nil
}
