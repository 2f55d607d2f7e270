package dev

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Summary is what happened during a run, counted from events, notifications
// and the records of what services use. It is the object that --json prints last.
type Summary struct {
	// Rotations is how many new versions workers announced, and First how many of them
	// were the first of their secrets and replaced none.
	Rotations int `json:"rotations"`
	First     int `json:"first_versions"`
	// NearExpiry is how many near-expiry events workers took.
	NearExpiry int `json:"near_expiry"`
	// Rotated is how many secret.rotated events are in the log.
	Rotated int `json:"rotated"`
	// Notified is how many notifications of them services heard.
	Notified int `json:"notified"`
	// Applied is how many times an instance took a new version into use.
	Applied int `json:"applied"`
	// Failed is how many rotations were given up and reloads failed.
	Failed int `json:"failed"`
	// Converged is how many rollouts every instance finished.
	Converged int `json:"converged"`
	// Retired is how many rollouts ended with the previous version retired.
	Retired int `json:"retired"`
	// ReloadLatency is from the announcement of a version to its use.
	ReloadLatency Latency `json:"reload_latency_ms"`
}

// Latency holds percentiles in milliseconds, nil before there was anything to measure.
type Latency struct {
	P50 *float64 `json:"p50"`
	P99 *float64 `json:"p99"`
}

// String returns two lines.
func (s Summary) String() string {
	return fmt.Sprintf("%s, %s, %d converged, %d retired, %d failed\nreload %s",
		cli.Count(s.First, "first version"), cli.Count(s.Rotations-s.First, "rotation"), s.Converged, s.Retired, s.Failed, s.ReloadLatency)
}

func (l Latency) String() string {
	if l.P50 == nil || l.P99 == nil {
		return "–"
	}
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", *l.P50, *l.P99)
}

// maxLines bounds the events that the board remembers for the view.
const maxLines = 200

// board is what is known of the running system. It is safe for concurrent use.
type board struct {
	mu        sync.Mutex
	sum       Summary
	secrets   map[secret.ID]*row
	latencies []time.Duration
	lines     []line
	said      func(line) // called for each new line, under the lock
}

// row is what is known of one secret.
type row struct {
	id        secret.ID
	version   secret.VersionID
	previous  secret.VersionID
	since     time.Time // when version was announced
	pending   bool
	rotateAt  time.Time
	rollout   events.RolloutState
	announced []secret.VersionID
	converged map[secret.VersionID]bool
	instances map[string]events.Use // :: service/instance → what it does with the secret
	latency   time.Duration
}

// line is one event as the view shows it.
type line struct {
	at   time.Time
	kind string
	id   secret.ID
	text string
}

func newBoard(ids []secret.ID, said func(line)) *board {
	b := &board{secrets: map[secret.ID]*row{}, said: said}
	for _, id := range ids {
		b.secrets[id] = &row{id: id, converged: map[secret.VersionID]bool{}, instances: map[string]events.Use{}}
	}
	return b
}

func (b *board) say(kind string, id secret.ID, format string, args ...any) {
	l := line{at: time.Now(), kind: kind, id: id, text: fmt.Sprintf(format, args...)}
	b.lines = append(b.lines, l)
	if len(b.lines) > maxLines {
		b.lines = slices.Delete(b.lines, 0, len(b.lines)-maxLines)
	}
	if b.said != nil {
		b.said(l)
	}
}

// logged takes an event of the log.
func (b *board) logged(e events.Event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.secrets[e.Data.SecretID]
	if r == nil {
		return
	}
	switch e.Type {
	case events.TypeRotated:
		b.sum.Rotated++
		if e.Source == workerSource {
			b.sum.Rotations++
			if e.Data.PreviousVersionID == "" {
				b.sum.First++
			}
		}
		r.version, r.previous, r.since, r.rollout = e.Data.VersionID, e.Data.PreviousVersionID, e.Time, events.RolloutRolling
		r.announced = append(r.announced, r.version)
		b.say("secret.rotated", r.id, "%s", rotated(e.Data))
		for _, u := range r.instances {
			b.measure(r, u)
		}
	case events.TypeRollout:
		b.rolledOut(r, e)
	case events.TypeRotationFailed:
		b.sum.Failed++
		b.say("secret.rotation_failed", r.id, "%s: %s", e.Data.Failure.Code, e.Data.Failure.Message)
	default:
	}
}

func rotated(d events.Data) string {
	if d.PreviousVersionID == "" {
		return short(d.VersionID) + " is the first version"
	}
	return fmt.Sprintf("%s → %s (%s)", short(d.PreviousVersionID), short(d.VersionID), d.Reason)
}

func (b *board) rolledOut(r *row, e events.Event) {
	ro := e.Data.Rollout
	if e.Data.VersionID == r.version {
		r.rollout = ro.State
	}
	switch ro.State {
	case events.RolloutConverged:
		b.sum.Converged++
		r.converged[e.Data.VersionID] = true
		then := "there is nothing before it to retire"
		if e.Data.PreviousVersionID != "" {
			then = fmt.Sprintf("%s drains in %s", short(e.Data.PreviousVersionID), time.Until(ro.RetireAt).Round(100*time.Millisecond))
		}
		b.say("rollout.converged", r.id, "%s runs on every instance (%d); %s", short(e.Data.VersionID), ro.Applied, then)
	case events.RolloutDraining:
		b.say("rollout.draining", r.id, "services stop accepting %s", short(e.Data.PreviousVersionID))
	case events.RolloutRetired:
		b.sum.Retired++
		b.say("rollout.retired", r.id, "%s is retired: no instance uses or accepts it", short(e.Data.PreviousVersionID))
	case events.RolloutWaiting:
		b.say("rollout.waiting", r.id, "%s is current; the version before does not die yet. %s", short(e.Data.VersionID), blockers(ro))
	case events.RolloutStalled:
		b.say("rollout.stalled", r.id, "%s is not everywhere; the version before does not die. %s", short(e.Data.VersionID), blockers(ro))
	default:
	}
}

// blockers says who a rollout waits for.
func blockers(ro *events.Rollout) string {
	var out []string
	for _, b := range ro.Blocking {
		out = append(out, inspect.Blocked(b))
	}
	return strings.Join(out, "; ")
}

// nearExpiry takes a near-expiry event that a worker took.
func (b *board) nearExpiry(d events.Data) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum.NearExpiry++
	what := "has no version yet"
	if d.VersionID != "" {
		what = short(d.VersionID) + " is near its end"
	}
	b.say("secret.near_expiry", d.SecretID, "%s", what)
}

// notified takes a notification that a service heard.
func (b *board) notified() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sum.Notified++
}

// used takes what an instance does with a secret.
func (b *board) used(u events.Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.secrets[u.SecretID]
	if r == nil || u.VersionID == "" { // it is written before the first read too
		return
	}
	who := u.Service + "/" + u.Instance
	was, known := r.instances[who]
	r.instances[who] = u
	switch {
	case u.Status == events.StatusFailed && (was.Status != u.Status || was.Wanted != u.Wanted):
		b.sum.Failed++
		b.say("reload.failed", r.id, "%s keeps %s: %s", who, short(u.VersionID), u.Reason)
	case !known || was.VersionID != u.VersionID:
		b.sum.Applied++
		b.say("reload.applied", r.id, "%s uses %s", who, short(u.VersionID))
		b.measure(r, u)
	}
}

// ended takes that an instance has ended.
func (b *board) ended(p events.Presence) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.secrets {
		delete(r.instances, p.Service+"/"+p.Instance)
	}
}

// measure takes how long the newest version took from its announcement to its use
// by an instance. Either may be heard of first.
func (b *board) measure(r *row, u events.Use) {
	if d := u.At.Sub(r.since); u.VersionID == r.version && d >= 0 {
		b.latencies = append(b.latencies, d)
		r.latency = d
	}
}

// looked takes what a look at the store and the timers shows.
func (b *board) looked(id secret.ID, pending bool, rotateAt time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.secrets[id]; r != nil {
		r.pending, r.rotateAt = pending, rotateAt
	}
}

// verified takes how many audit records verify.
func (b *board) verified(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.say("audit.verified", auditID, "%d records, signed with every version there was", n)
}

// summary returns the counts so far.
func (b *board) summary() Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sum
	s.ReloadLatency = Latency{P50: percentile(b.latencies, 0.50), P99: percentile(b.latencies, 0.99)}
	return s
}

// unconverged returns the versions whose rollout should have ended: all but the
// newest of each secret.
func (b *board) unconverged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, r := range b.rows() {
		for _, v := range r.announced[:max(len(r.announced)-1, 0)] {
			if !r.converged[v] {
				out = append(out, fmt.Sprintf("%s %s", r.id, short(v)))
			}
		}
	}
	return out
}

// rows returns the secrets in the order of their ids; the caller holds the lock.
func (b *board) rows() []*row {
	out := make([]*row, 0, len(b.secrets))
	for _, r := range b.secrets {
		out = append(out, r)
	}
	slices.SortFunc(out, func(x, y *row) int { return cmp.Compare(x.id, y.id) })
	return out
}

// percentile returns the nearest-rank percentile of d in milliseconds, with
// three decimals; nil when there is nothing.
func percentile(d []time.Duration, p float64) *float64 {
	if len(d) == 0 {
		return nil
	}
	s := slices.Sorted(slices.Values(d))
	i := int(math.Ceil(p*float64(len(s)))) - 1
	out := float64(s[max(i, 0)].Microseconds()) / 1000
	return &out
}

// short returns the first characters of a version id, enough to tell two apart
// on a screen.
func short(v secret.VersionID) string {
	if v == "" {
		return "–"
	}
	return string(v[:min(len(v), 8)])
}
