package events

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MaxReportSize bounds a report in bytes: some 4,000 secrets per instance.
const MaxReportSize = 512 << 10

// Report publishes what an instance runs. It is gone from the fleet unless it
// is renewed within the lease, which is rounded up to whole seconds.
//
// Reports are not signed: a service holds no signing key. Who may report for
// whom is a matter of the permissions on the subject.
func (b *Bus) Report(ctx context.Context, r Report, lease time.Duration) error {
	if err := r.validate(); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if len(body) > MaxReportSize {
		return fmt.Errorf("report: %d bytes, the limit is %d; split the secrets over several services", len(body), MaxReportSize)
	}
	ttl := max((lease + time.Second - 1).Truncate(time.Second), time.Second)
	_, err = b.js.PublishMsg(ctx, &nats.Msg{Subject: b.cfg.Names.Report(r.Service, r.Instance), Data: body}, jetstream.WithMsgTTL(ttl))
	return wrap("report", b.full(b.cfg.Names.ReportsStream(), err))
}

// Withdraw ends the report of an instance at once: for one that closes.
func (b *Bus) Withdraw(ctx context.Context, service, instance string) error {
	_, err := b.js.PublishMsg(ctx, &nats.Msg{Subject: b.cfg.Names.Report(service, instance)}, jetstream.WithMsgTTL(time.Second))
	return wrap("withdraw report", err)
}

// validate holds a report to what its reader can understand. A status that the
// reader does not know yet is not an error: it never counts as applied.
func (r Report) validate() error {
	if err := errors.Join(ValidToken(r.Service), ValidToken(r.Instance)); err != nil {
		return err
	}
	if r.Service == barrierService {
		return fmt.Errorf("service %s: the name is reserved", barrierService)
	}
	for _, s := range r.Secrets {
		if err := s.SecretID.Validate(); err != nil {
			return err
		}
		if s.VersionID != "" && s.VersionID.Validate() != nil || s.Wanted != "" && s.Wanted.Validate() != nil {
			return fmt.Errorf("%s: a version ID is malformed", s.SecretID)
		}
		if len(s.Status) > maxStatus || len(s.Reason) > maxText {
			return fmt.Errorf("%s: the status or the reason is too long", s.SecretID)
		}
	}
	return nil
}

// maxStatus bounds an [ApplyStatus] in bytes.
const maxStatus = 64

// ReportEvent is a change of the fleet.
type ReportEvent struct {
	// Report is what an instance says. Of one that is gone only Service and
	// Instance are set.
	Report Report
	// Gone is true when the instance has closed or its lease has ended.
	Gone bool
	// Synced is true, once, after the reports that were there at the start; the
	// event has no Report.
	Synced bool
}

// WatchReports calls fn with the report of every live instance, then once with
// Synced, then with every change, until ctx ends (it returns nil) or fn fails.
// A report that is not understood is passed on with [Report.Problem] set.
// When the stream was lost it begins anew, without a second Synced.
func (b *Bus) WatchReports(ctx context.Context, fn func(ReportEvent) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l := &leases{fn: fn, fail: cancel, timers: map[string]leaseTimer{}}
	defer l.stop()
	synced := false
	err := b.watch(ctx, b.cfg.Names.ReportsStream(), []string{b.cfg.Names.Report("*", "*")}, watchFuncs{message: func(m message) error {
		e, ok := b.reportOf(ctx, m.subject, m.body)
		if !ok {
			return nil
		}
		return l.see(e, leaseOf(m.header))
	}, synced: func() error {
		if synced {
			return nil
		}
		synced = true
		return l.see(ReportEvent{Synced: true}, 0)
	}})
	if stop, ok := errors.AsType[stopError](context.Cause(ctx)); ok {
		return stop.err
	}
	return err
}

// Reports returns the report of every live instance: all that the bus had
// acknowledged before the call, or an error, which wraps [ErrIncomplete] when a
// part of the answer is missing and a later call may succeed. Reports that are
// not understood are among them, with [Report.Problem] set.
func (b *Bus) Reports(ctx context.Context) ([]Report, error) {
	var out []Report
	_, err := b.reports(ctx, func(r Report, _ record) { out = append(out, r) })
	if err != nil {
		return nil, wrap("read the reports", err)
	}
	return out, nil
}

// reports calls fn with the report of every live instance, and returns which service holds
// most of the stream if that refuses further instances, see [Fleet.FullBy].
func (b *Bus) reports(ctx context.Context, fn func(Report, record)) (fullBy string, err error) {
	s, err := b.reportsBehindBarrier(ctx)
	if err != nil {
		return "", err
	}
	subjects, info, err := s.list(ctx, b.cfg.Names.Report("*", "*"))
	if err != nil {
		return "", err
	}
	held := map[string]int{} // :: service → reports
	err = s.read(ctx, subjects, func(rec record) {
		if e, ok := b.reportOf(ctx, rec.subject, rec.body); ok {
			held[e.Report.Service]++
			if !e.Gone {
				fn(e.Report, rec)
			}
		}
	})
	if limit := info.Config.MaxMsgs; err != nil || limit <= 0 || info.State.Msgs < uint64(limit) {
		return "", err
	}
	most := slices.MaxFunc(append(slices.Sorted(maps.Keys(held)), barrierService), func(x, y string) int { return cmp.Compare(held[x], held[y]) })
	return most, nil
}

// reportOf returns the change that a message on the reports' subject describes,
// and false for a barrier. A marker of the server and an empty report both say
// that an instance is gone. A message that is not understood is still a sign of
// a live instance.
func (b *Bus) reportOf(ctx context.Context, subject string, body []byte) (ReportEvent, bool) {
	tokens := strings.Split(subject, ".")
	service, instance := tokens[len(tokens)-2], tokens[len(tokens)-1]
	if service == barrierService {
		return ReportEvent{}, false
	}
	if len(body) == 0 {
		return ReportEvent{Report: Report{Service: service, Instance: instance}, Gone: true}, true
	}
	r, err := decodeReport(service, instance, body)
	if err != nil {
		b.note(ctx, subject, err)
		r = Report{Service: service, Instance: instance, Problem: err.Error()}
	}
	return ReportEvent{Report: r}, true
}

// decodeReport returns the report of an instance, or a [rejection], whose text
// holds nothing of the body.
func decodeReport(service, instance string, body []byte) (Report, error) {
	if len(body) > MaxReportSize {
		return Report{}, reject(rejectOversized, "%d bytes, the limit is %d", len(body), MaxReportSize)
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return Report{}, reject(rejectMalformed, "the report does not decode")
	}
	if err := r.validate(); err != nil {
		return Report{}, reject(rejectMalformed, "the report has an ID, a status or a reason that is malformed")
	}
	if r.Service != service || r.Instance != instance {
		return Report{}, reject(rejectSubject, "the report is about another instance than its subject says")
	}
	return r, nil
}
