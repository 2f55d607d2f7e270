package client

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	// tripEvery is the least time between two records or log lines of one client that
	// uses a retired version.
	tripEvery = time.Minute
	// tripForget is after how long without a use the room of a client is given to
	// another one.
	tripForget = time.Hour
)

type clientKey struct{}

// WithClient returns a context that names the client on whose behalf a key of a
// [Keyring] or a token is used, by its address. It is in the report of the use of a
// retired version.
func WithClient(ctx context.Context, addr string) context.Context {
	return context.WithValue(ctx, clientKey{}, addr)
}

// clientOf returns the client that a context names, "" for none.
func clientOf(ctx context.Context) string {
	addr, _ := ctx.Value(clientKey{}).(string)
	return addr
}

// tripwire counts the uses of retired versions of one secret, by version and client.
// Its zero value is ready.
type tripwire struct {
	mu  sync.Mutex
	all []trip
}

// trip is what is known of one client, and what of that is on record.
type trip struct {
	events.RetiredUse

	shown   events.RetiredUse // what is on record
	shownAt time.Time         // since when
	saidAt  time.Time         // when the client was logged
}

// used counts a use, and returns how many there are of the client and whether it is
// to be reported now. Clients for which there is no room are one, ClientOthers.
func (w *tripwire) used(v secret.VersionID, client string, now time.Time) (uses int64, report bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.find(v, events.ClientName(client), now)
	t.Uses, t.Last = t.Uses+1, now
	if report = t.saidAt.IsZero() || now.Sub(t.saidAt) >= tripEvery; report {
		t.saidAt = now
	}
	return t.Uses, report
}

// find returns the entry of a client.
func (w *tripwire) find(v secret.VersionID, client string, now time.Time) *trip {
	at := func(v secret.VersionID, client string) int {
		return slices.IndexFunc(w.all, func(t trip) bool { return t.VersionID == v && t.Client == client })
	}
	if i := at(v, client); i >= 0 {
		return &w.all[i]
	}
	if len(w.all) >= events.MaxRetiredUses-1 && !w.makeRoom(now) {
		client = events.ClientOthers
		if i := slices.IndexFunc(w.all, func(t trip) bool { return t.Client == client }); i >= 0 {
			w.all[i].VersionID = v // the last one stands for all
			return &w.all[i]
		}
	}
	w.all = append(w.all, trip{RetiredUse: events.RetiredUse{VersionID: v, Client: client}})
	return &w.all[len(w.all)-1]
}

// makeRoom drops the entry whose last use is the oldest, if that is long ago and on
// record.
func (w *tripwire) makeRoom(now time.Time) bool {
	oldest := -1
	for i, t := range w.all {
		if t.Client != events.ClientOthers && t.RetiredUse == t.shown && now.Sub(t.Last) >= tripForget && (oldest < 0 || t.Last.Before(w.all[oldest].Last)) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	w.all = slices.Delete(w.all, oldest, oldest+1)
	return true
}

// record returns what the next record says. Each client is in it with as many uses as
// the last time, unless that was tripEvery ago.
func (w *tripwire) record(now time.Time) []events.RetiredUse {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []events.RetiredUse
	for i := range w.all {
		t := &w.all[i]
		if t.shown != t.RetiredUse && (t.shownAt.IsZero() || now.Sub(t.shownAt) >= tripEvery) {
			t.shown, t.shownAt = t.RetiredUse, now
		}
		out = append(out, t.shown)
	}
	slices.SortFunc(out, func(a, b events.RetiredUse) int {
		return cmp.Or(cmp.Compare(a.VersionID, b.VersionID), cmp.Compare(a.Client, b.Client))
	})
	return out
}

// tripped counts the use of a retired version, which is refused: either the proof of
// its retirement was wrong, or the value has leaked. It is logged and put on record,
// at most once a minute for each client.
func (e *entry) tripped(ctx context.Context, v secret.VersionID, client string) {
	e.m.meters.retired.Add(ctx, 1, metric.WithAttributes(attrID(e.id)))
	uses, report := e.trips.used(v, client, time.Now())
	if !report {
		return
	}
	e.logger().LogAttrs(ctx, slog.LevelError, "secret.retired_used", slog.String("version_id", string(v)),
		slog.String("client", events.ClientName(client)), slog.Int64("uses", uses))
	e.m.renew()
}
