package integration

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
)

// forbidden lets audit-api do all that it must not.
func (a *accounts) forbidden(t *testing.T, s *site) {
	t.Helper()
	inside := a.connect("WORKER")
	before := a.holdings(inside)
	nc := a.connect("AUDIT_API")
	nc.SetErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}) // refusals are expected
	k := string(accountSecret.Key())
	for _, subject := range []string{
		"secret.near_expiry." + k, "secret.retire." + k, "secret.staged." + k, "secret.rotated." + k, "secret.rotation_failed." + k, "secret.rollout." + k,
		"timer." + k, "timer.retire." + k, "sweep.timer", "sweep.due", "notify.audit-api." + k, "notify.admin-api." + k, "live.admin-api." + k,
		"report.admin-api.one", "report.admin-api.one.one", "uses." + k + ".admin-api.one", "uses._barrier._barrier.last", "report._barrier.one",
		"secret.proof_contradicted." + k, "secret.verified." + k, "record.retired." + k, "record.uses",
		"reader." + k + ".one", "reader." + k + "._more", "reader._own.embedded.one", "reader._source.embedded.one", "$KV.secrets.s." + k, "$KV.secrets.keyset", "$JS.ACK.ROTATION.rotator.1.1.1.1.1", "$SYS.REQ.SERVER.PING",
	} {
		if err := nc.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	api := []string{
		"STREAM.INFO.NOTIFY", "STREAM.INFO.REPORTS", "STREAM.INFO.USES", "STREAM.PURGE.USES", "STREAM.MSG.GET.USES", "DIRECT.GET.USES", "CONSUMER.CREATE.USES.mine", "STREAM.NAMES", "STREAM.PURGE.ROTATION", "STREAM.DELETE.ROTATION", "STREAM.CREATE.MINE",
		"STREAM.MSG.GET.ROTATED", "STREAM.MSG.GET.NOTIFY", "STREAM.MSG.GET.KV_secrets", "STREAM.MSG.DELETE.ROTATED", "CONSUMER.CREATE.NOTIFY.mine", "CONSUMER.MSG.NEXT.ROTATED.notifier", "CONSUMER.DELETE.ROTATION.rotator",
		"DIRECT.GET.NOTIFY", "DIRECT.GET.NOTIFY.notify.admin-api." + k, "DIRECT.GET.ROTATION.timer." + k, "DIRECT.GET.ROTATED.secret.rotated." + k,
		"DIRECT.GET.KV_secrets.$KV.secrets.s." + k, "DIRECT.GET.KV_secrets.$KV.secrets.keyset", "DIRECT.GET.REPORTS.report.admin-api.one",
		"STREAM.INFO.READERS", "STREAM.PURGE.READERS", "STREAM.MSG.GET.READERS", "DIRECT.GET.READERS", "DIRECT.GET.READERS.reader." + k + ".one", "CONSUMER.CREATE.READERS.mine",
	}
	for _, what := range api {
		for _, prefix := range []string{apiPrefix, "$JS.API"} {
			a.unanswered(t, nc, prefix+"."+what)
		}
	}
	// The answer to what it may ask for goes where it says: nowhere but to itself.
	for _, reply := range []string{"timer." + k, "secret.near_expiry." + k, "secret.rotated." + k, "notify.admin-api." + k, "$KV.secrets.s." + k, "live.admin-api." + k} {
		for _, ask := range []string{"report.audit-api.one", apiPrefix + ".DIRECT.GET.NOTIFY.notify.audit-api." + k} {
			if err := nc.PublishRequest(ask, reply, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if after := a.holdings(inside); !maps.Equal(before, after) {
		t.Errorf("the streams held %v before and hold %v after", before, after)
	}
	a.deaf(t, nc, s)
	// Inside of one account the same trick works. Were the server to refuse it
	// there too, nothing above would have been tried.
	if err := inside.PublishRequest("secret.rollout.other", "timer.other", nil); err != nil {
		t.Fatal(err)
	}
	waittest.Until(t, "the answer is stored", func() error {
		if a.holdings(inside)["ROTATION"] == before["ROTATION"] {
			return errors.New("the answer was stored nowhere")
		}
		return nil
	})
}

// unanswered asks for something that must not be answered.
func (a *accounts) unanswered(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if m, err := nc.RequestWithContext(ctx, subject, []byte("{}")); err == nil {
		t.Errorf("%s is answered with %d bytes", subject, len(m.Data))
	}
}

// deaf subscribes to what others hear: it hears nothing of it while they are
// told.
func (a *accounts) deaf(t *testing.T, nc *nats.Conn, s *site) {
	t.Helper()
	heard := make(chan string, 64)
	for _, subject := range []string{">", "live.admin-api.*", "live.>", "secret.>", "report.>", "$KV.>", "$JS.EVENT.>", "$SYS.>"} {
		if _, err := nc.Subscribe(subject, func(m *nats.Msg) { heard <- m.Subject }); err != nil {
			t.Fatal(err)
		}
	}
	told := make(chan struct{}, 8)
	other := a.connect("ADMIN_API")
	if _, err := other.Subscribe("live.admin-api.*", func(*nats.Msg) { told <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*nats.Conn{nc, other} {
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	e := events.Rotated("/test", now, events.Data{SecretID: "OTHER", Store: "embedded", VersionID: "v1", Reason: events.ReasonManual})
	if err := s.bus(a.connect("NOTIFIER"), "notifier").Notify(t.Context(), "admin-api", e, 1); err != nil {
		t.Fatal(err)
	}
	<-told
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	select {
	case subject := <-heard:
		t.Errorf("it hears %s", subject)
	default:
	}
}

// holdings returns the last sequence of every stream but those of the fleet, and
// the subjects of these that audit-api may not write.
func (a *accounts) holdings(nc *nats.Conn) map[string]string {
	a.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		a.t.Fatal(err)
	}
	out := map[string]string{}
	for _, name := range []string{"ROTATION", "ROTATED", "NOTIFY", "KV_secrets", "USES", "REPORTS", "RECORD", "READERS"} {
		s, err := js.Stream(a.t.Context(), name)
		if err != nil {
			a.t.Fatal(err)
		}
		info, err := s.Info(a.t.Context(), jetstream.WithSubjectFilter(">"))
		if err != nil {
			a.t.Fatal(err)
		}
		out[name] = fmt.Sprint(info.State.LastSeq)
		if name == "REPORTS" || name == "USES" {
			subjects := slices.Sorted(maps.Keys(info.State.Subjects))
			out[name] = strings.Join(slices.DeleteFunc(subjects, func(s string) bool { return strings.Contains(s, ".audit-api.") }), " ")
		}
	}
	return out
}
