package evidence

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// header is the first row of each table.
var header = map[string][]string{
	filePopulation: {"secret", "store", "path", "owner", "purpose", "contact", "services", "consumers_without_client", "discovered", "strategy", "lifetime", "margin", "grace", "fence", "old_values", "policy", "current_version", "created_at", "expires_at", "next_rotation", "state", "error"},
	fileRotations:  {"line", "record", "secret", "new_version", "retired_versions", "compromised_versions", "cause", "basis", "rotation_id", "promoted_at", "converged_at", "retirement_decided_at", "worker", "instances_live", "instances_silent", "instances_ended", "a_timer_would_have_broken"},
	fileExceptions: {"line", "record", "at", "secret", "kind", "by", "reason", "ticket", "detail"},
	fileCoverage:   {"secret", "managed", "owner_named", "purpose_named", "subscribers", "instances_live", "instances_silent", "instances_ended", "old_versions_may_be_revoked", "rotations", "exceptions", "last_retirement"},
	fileSample:     {"rank", "line", "record", "secret", "new_version", "retired_versions", "retirement_decided_at", "basis"},
}

// deriver makes the rows of the tables from the lines.
type deriver struct {
	out    func(table string, row []string) error
	seed   string
	size   int
	counts Counts
	cover  map[secret.ID]*cover
	order  []secret.ID
	sample ranks
}

// cover is what is known of one secret.
type cover struct {
	secret                *Secret // nil for one that is not managed any more
	rotations, exceptions int
	last                  time.Time
}

func newDeriver(seed string, size int, out func(table string, row []string) error) (*deriver, error) {
	d := &deriver{out: out, seed: seed, size: size, cover: map[secret.ID]*cover{}}
	for _, t := range tables {
		if err := out(t, header[t]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// line takes the next line.
func (d *deriver) line(l Line) error {
	d.counts.Lines++
	switch {
	case l.Secret != nil:
		d.counts.Secrets++
		d.of(l.Secret.ID).secret = l.Secret
		return d.out(filePopulation, l.Secret.row())
	case l.Record != nil:
		d.counts.Records++
		return d.record(l)
	case l.Event != nil:
		return d.except(l, 0, exception{at: l.Event.At, id: l.Event.Data.SecretID, kind: string(l.Event.Type), by: l.Event.Source, detail: l.Event.What()})
	}
	return nil
}

func (d *deriver) of(id secret.ID) *cover {
	c := d.cover[id]
	if c == nil {
		c = new(cover)
		d.cover[id] = c
		d.order = append(d.order, id)
	}
	return c
}

// record takes a record: a rotation, exceptions, or both.
func (d *deriver) record(l Line) error {
	e := read(l.Record)
	if e.receipt != nil && e.believed {
		if err := d.rotation(l, *e.receipt); err != nil {
			return err
		}
	}
	for _, x := range e.exceptions() {
		if err := d.except(l, l.Record.Seq, x); err != nil {
			return err
		}
	}
	return nil
}

func (d *deriver) rotation(l Line, r events.Receipt) error {
	d.counts.Rotations++
	c := d.of(r.SecretID)
	c.rotations, c.last = c.rotations+1, r.DecidedAt
	d.choose(l, r)
	n := func(s rollout.InstanceState) string { return strconv.Itoa(r.Instances[string(s)]) }
	return d.out(fileRotations, []string{
		strconv.Itoa(l.N), strconv.FormatUint(l.Record.Seq, 10), string(r.SecretID), string(r.VersionID), versions(r.Retired), versions(r.Compromised), string(r.Cause), string(r.Basis), string(r.RotationID),
		stamp(r.PromotedAt), stamp(r.ConvergedAt), stamp(r.DecidedAt), r.Worker, n(rollout.InstanceLive), n(rollout.InstanceSilent), n(rollout.InstanceEnded), strconv.Itoa(r.Timer.Broken),
	})
}

func (d *deriver) except(l Line, seq uint64, x exception) error {
	d.counts.Exceptions++
	if x.id != "" {
		d.of(x.id).exceptions++
	}
	record := ""
	if seq != 0 {
		record = strconv.FormatUint(seq, 10)
	}
	return d.out(fileExceptions, []string{strconv.Itoa(l.N), record, stamp(x.at), string(x.id), x.kind, x.by, x.reason, x.ticket, x.detail})
}

// choose keeps the rotation if it is among the first by the hash of seed and sequence.
func (d *deriver) choose(l Line, r events.Receipt) {
	hash := sha256.Sum256([]byte(d.seed + "/" + strconv.FormatUint(l.Record.Seq, 10)))
	row := []string{
		strconv.Itoa(l.N), strconv.FormatUint(l.Record.Seq, 10), string(r.SecretID), string(r.VersionID), versions(r.Retired), stamp(r.DecidedAt), string(r.Basis),
	}
	heap.Push(&d.sample, rank{string(hash[:]), row})
	if len(d.sample) > d.size {
		heap.Pop(&d.sample)
	}
}

// end makes the rows that need all lines.
func (d *deriver) end() error {
	for _, id := range d.order {
		if err := d.out(fileCoverage, d.cover[id].row(id)); err != nil {
			return err
		}
	}
	slices.SortFunc(d.sample, func(a, b rank) int { return strings.Compare(a.hash, b.hash) })
	for i, r := range d.sample {
		if err := d.out(fileSample, append([]string{strconv.Itoa(i + 1)}, r.row...)); err != nil {
			return err
		}
	}
	return nil
}

func (c *cover) row(id secret.ID) []string {
	s := cmp.Or(c.secret, new(Secret))
	n := func(state rollout.InstanceState) string { return strconv.Itoa(s.Instances[state]) }
	return []string{
		string(id), yes(c.secret != nil), yes(s.Owner != ""), yes(s.Purpose != ""), strconv.Itoa(len(s.Services) + len(s.Consumers)), n(rollout.InstanceLive), n(rollout.InstanceSilent), n(rollout.InstanceEnded),
		cmp.Or(string(s.Safe), "not known"), strconv.Itoa(c.rotations), strconv.Itoa(c.exceptions), stamp(c.last),
	}
}

func (s *Secret) row() []string {
	return []string{
		string(s.ID), s.Store, s.Path, s.Owner, s.Purpose, s.Contact, strings.Join(s.Services, " "), strings.Join(s.Consumers, " "), yes(s.Discovered), s.Strategy, s.Lifetime, s.Margin, s.Grace, s.Fence,
		string(s.Retire), s.PolicyID, string(s.VersionID), stamp(s.CreatedAt), stamp(s.NotAfter), stamp(s.RotateAt), s.State, s.Error,
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func versions(all []secret.VersionID) string {
	return strings.Trim(fmt.Sprint(all), "[]")
}

// ranks is a heap with the largest hash first.
type ranks []rank //nolint:recvcheck // as container/heap wants it

type rank struct {
	hash string
	row  []string
}

func (r ranks) Len() int           { return len(r) }
func (r ranks) Less(i, j int) bool { return r[i].hash > r[j].hash }
func (r ranks) Swap(i, j int)      { r[i], r[j] = r[j], r[i] }
func (r *ranks) Push(x any)        { *r = append(*r, x.(rank)) } //nolint:forcetypeassert // nothing else is put there
func (r *ranks) Pop() any {
	last := (*r)[len(*r)-1]
	*r = (*r)[:len(*r)-1]
	return last
}
