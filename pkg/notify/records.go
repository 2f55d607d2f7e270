package notify

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tradepulse/rotator/internal/backoff"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// forgetEvery is how often records that prove nothing any more are looked for.
	forgetEvery = time.Minute
	// forgetEmpty is how long a presence without uses is kept: uses are written before
	// it.
	forgetEmpty = time.Hour
	// olderLease is for how long an instance with an older client lives after its
	// last report, in seconds.
	olderLease = 60
)

// recordOlder records what instances with an older client report, until ctx ends.
// Such a report runs out with its lease and leaves nothing; its records stay, so
// that the instance becomes silent. One whose report is not understood is recorded as a
// user of any secret, until one of its reports is understood.
func (t *tracker) recordOlder(ctx context.Context) error {
	return t.bus.WatchReports(ctx, func(e events.ReportEvent) error {
		if e.Gone || e.Synced {
			return nil
		}
		if err := t.record(ctx, readable(e.Report)); err != nil && ctx.Err() == nil {
			t.log.LogAttrs(ctx, slog.LevelWarn, "report.not_recorded", slog.String("service", e.Report.Service), slog.String("instance", e.Report.Instance),
				slog.String("error", err.Error()))
		}
		return nil // the instance reports again
	})
}

// readable returns a report, or in place of one that is not understood one that may use
// anything.
func readable(r events.Report) events.Report {
	if r.Problem != "" {
		r.Secrets = []events.Running{{SecretID: events.UnreadReports}}
	}
	return r
}

// record writes the uses of a report, and then its presence.
func (t *tracker) record(ctx context.Context, r events.Report) error {
	incarnation := events.OlderIncarnation(r.Instance)
	unread := events.Use{Running: events.Running{SecretID: events.UnreadReports}, Service: r.Service, Instance: r.Instance, Incarnation: incarnation, PastFence: events.PastFenceServe, Joined: true}
	uses := make([]events.Use, 0, len(r.Secrets)+1)
	for _, running := range r.Secrets {
		u := unread
		u.Running = running
		uses = append(uses, u)
	}
	if r.Problem == "" && t.knows(unread) {
		unread.Accepts, unread.Ended = []secret.VersionID{}, true
		uses = append(uses, unread)
	}
	for _, u := range uses {
		if t.knows(u) {
			continue
		}
		if err := t.bus.WriteUse(ctx, u); err != nil {
			return err
		}
	}
	_, err := t.bus.Join(ctx, events.Presence{
		Service: r.Service, Instance: r.Instance, Incarnation: incarnation, StartedAt: r.StartedAt, At: r.At, Lease: olderLease,
	})
	return err
}

// knows reports whether the record of a use is there.
func (t *tracker) knows(u events.Use) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fleet.knows(u)
}

// forget purges records that prove nothing any more, until ctx ends.
func (t *tracker) forget(ctx context.Context) error {
	if !t.wasLoaded(ctx) {
		return nil
	}
	for backoff.Pause(ctx, forgetEvery) {
		now, err := t.bus.Now(ctx)
		if err != nil {
			if ctx.Err() == nil {
				t.log.LogAttrs(ctx, slog.LevelWarn, "clock.not_read", slog.String("error", err.Error()))
			}
			continue // it is tried again with the next look
		}
		for _, f := range t.forgettable(now) {
			if err := t.purge(ctx, f); err != nil {
				if ctx.Err() == nil && !errors.Is(err, events.ErrConflict) { // it was heard of since
					t.log.LogAttrs(ctx, slog.LevelWarn, "instance.not_forgotten", slog.String("service", f.service), slog.String("instance", f.instance),
						slog.String("error", err.Error()))
				}
				continue // it is tried again with the next look
			}
			t.forgot(f)
		}
	}
	return nil
}

// purge records that an incarnation has ended, so that another program can finish what
// this one begins, and purges its records. Without the right to record that it purges them
// all the same.
func (t *tracker) purge(ctx context.Context, f forgotten) error {
	err := t.bus.RecordEnd(ctx, f.service, f.instance, f.incarnation, f.seq)
	if errors.Is(err, events.ErrConflict) {
		return err
	}
	if err != nil {
		t.log.LogAttrs(ctx, slog.LevelWarn, "instance.end_not_recorded", slog.String("service", f.service), slog.String("instance", f.instance), slog.String("error", err.Error()))
	}
	return t.bus.Forget(ctx, f.service, f.instance, f.incarnation, f.ids, f.seq)
}

// forgotten is an incarnation whose records can be purged.
type forgotten struct {
	name

	instance string
	ids      []secret.ID
	seq      uint64
}

// forgettable returns the incarnations of which no record proves anything.
func (t *tracker) forgettable(now time.Time) []forgotten {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []forgotten
	for who := range t.fleet.instances.all() {
		f := forgotten{name: who.name(), instance: who.instance(), seq: who.seq}
		proves := len(who.uses) == 0 && (who.stateNow() == rollout.InstanceLive || now.Before(moment(who.renewed).Add(forgetEmpty)))
		for k := range who.uses {
			u := &who.uses[k]
			spec, _ := t.spec(u.of.id)
			f.ids = append(f.ids, u.of.id)
			proves = proves || !rollout.Forgettable(who.using(u), now, spec)
		}
		if !proves {
			out = append(out, f)
		}
	}
	return out
}

// forgot takes an incarnation out of the index, unless it was heard of since.
func (t *tracker) forgot(f forgotten) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if who := t.fleet.instances.get(f.name); who != nil && who.seq == f.seq {
		t.fleet.remove(who, t.touched)
	}
}

// wasLoaded waits until the records and the log have been read, and returns false
// when ctx ends before.
func (t *tracker) wasLoaded(ctx context.Context) bool {
	select {
	case <-t.loaded:
		return true
	case <-ctx.Done():
		return false
	}
}

// watchForgotten has the records read again after a person had some purged, until ctx
// ends: those would hold rollouts back until the next refresh.
func (t *tracker) watchForgotten(ctx context.Context) error {
	return t.bus.WatchForgotten(ctx, func(f events.Forgotten) error {
		if f.Done {
			t.refresh()
		}
		return nil
	})
}
