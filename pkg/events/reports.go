package events

import (
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
	"github.com/synadia-io/orbit.go/jetstreamext"
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
	return wrap("report", err)
}

// Withdraw ends the report of an instance at once: for one that closes.
func (b *Bus) Withdraw(ctx context.Context, service, instance string) error {
	m := nats.NewMsg(b.cfg.Names.Report(service, instance))
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	_, err := b.js.PublishMsg(ctx, m, jetstream.WithMsgTTL(time.Second))
	return wrap("withdraw report", err)
}

func (r Report) validate() error {
	if err := errors.Join(ValidToken(r.Service), ValidToken(r.Instance)); err != nil {
		return err
	}
	for _, s := range r.Secrets {
		if err := s.SecretID.Validate(); err != nil {
			return err
		}
		if s.VersionID != "" && s.VersionID.Validate() != nil || s.Wanted != "" && s.Wanted.Validate() != nil || len(s.Reason) > maxText {
			return fmt.Errorf("%s: a version id or the reason is malformed", s.SecretID)
		}
		switch s.Status {
		case StatusApplied, StatusFailed, StatusStaged:
		default:
			return fmt.Errorf("%s: unknown status", s.SecretID)
		}
	}
	return nil
}

// ReportEvent is a change of the fleet.
type ReportEvent struct {
	// Report is what an instance says; of one that is gone only Service and
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
// When the stream was lost it begins anew, without a second Synced.
func (b *Bus) WatchReports(ctx context.Context, fn func(ReportEvent) error) error {
	synced := false
	return b.watch(ctx, b.cfg.Names.ReportsStream(), []string{b.cfg.Names.Report("*", "*")}, func(m jetstream.Msg) error {
		e, err := b.reportOf(m.Subject(), m.Data())
		if err != nil {
			b.note(ctx, m.Subject(), err)
			return nil
		}
		return fn(e)
	}, func() error {
		if synced {
			return nil
		}
		synced = true
		return fn(ReportEvent{Synced: true})
	})
}

// reportBatch is how many reports are read in one call; the server answers at
// most 1,024 subjects.
const reportBatch = 1000

// Reports returns the reports of all live instances.
func (b *Bus) Reports(ctx context.Context) ([]Report, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	name := b.cfg.Names.ReportsStream()
	s, err := b.stream(ctx, name)
	if err != nil {
		return nil, err
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(b.cfg.Names.Report("*", "*")))
	if err != nil {
		return nil, wrap("list the reports", err)
	}
	var out []Report
	for subjects := range slices.Chunk(slices.Sorted(maps.Keys(info.State.Subjects)), reportBatch) {
		msgs, err := jetstreamext.GetLastMsgsFor(ctx, b.js, name, subjects)
		if err != nil {
			return nil, wrap("read the reports", err)
		}
		for m, err := range msgs {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				break // all of them have ended meanwhile
			}
			if err != nil {
				return nil, wrap("read the reports", err)
			}
			e, err := b.reportOf(m.Subject, m.Data)
			if err != nil {
				b.note(ctx, m.Subject, err)
			} else if !e.Gone {
				out = append(out, e.Report)
			}
		}
	}
	return out, nil
}

// reportOf returns the change that a message on the reports' subject stands
// for: a marker of the server and an empty report both say that an instance is
// gone.
func (b *Bus) reportOf(subject string, body []byte) (ReportEvent, error) {
	tokens := strings.Split(subject, ".")
	service, instance := tokens[len(tokens)-2], tokens[len(tokens)-1]
	if len(body) == 0 {
		return ReportEvent{Report: Report{Service: service, Instance: instance}, Gone: true}, nil
	}
	if len(body) > MaxReportSize {
		return ReportEvent{}, reject(rejectOversized, "%d bytes, the limit is %d", len(body), MaxReportSize)
	}
	var r Report
	if err := json.Unmarshal(body, &r); err != nil {
		return ReportEvent{}, reject(rejectMalformed, "the report does not decode")
	}
	if err := r.validate(); err != nil {
		return ReportEvent{}, rejection{rejectMalformed, err}
	}
	if r.Service != service || r.Instance != instance {
		return ReportEvent{}, reject(rejectSubject, "the report is about another instance than its subject says")
	}
	return ReportEvent{Report: r}, nil
}
