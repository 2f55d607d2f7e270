package doctor

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/scheduler"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// same is the configuration of the command and of what runs.
var same = &config.Config{}

var now = time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)

// healthy returns the facts of a system in which nothing is wrong.
func healthy() Facts {
	due := now.Add(20 * 24 * time.Hour)
	spec := secret.Spec{ID: "a", Store: "main", TTL: 30 * 24 * time.Hour, Services: []string{"api"}}
	swept := time.Minute
	u := events.User{UsedAt: now, RenewedAt: now, Presence: events.Presence{Service: "api", Instance: "1", Incarnation: "x", Lease: 60}}
	u.Use = events.Use{Running: events.Running{SecretID: "a", VersionID: "v1", Status: events.StatusApplied}, Service: "api", Instance: "1", Incarnation: "x", Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse, Joined: true}
	return Facts{
		Now: now, Features: map[string]store.Features{"main": {Attributes: true}}, Swept: &swept, SweepEvery: 5 * time.Minute, Idle: time.Hour,
		Fleet: events.Fleet{At: now, Users: []events.User{u}}, Timers: []secret.ID{"a"}, Config: same, Nodes: []running.Answer{{Source: "/rotator/worker/n1", Digest: same.Digest()}},
		Consumers: []events.ConsumerState{{Stream: "ROTATION", Name: events.WorkerConsumer, Known: true, Served: true}, {Stream: "ROTATED", Name: "reader", Served: true}},
		Uses:      "USES",
		Streams:   []events.StreamHealth{{Stream: "USES", Replicas: 1, Messages: 10, MaxMessages: 1000, Known: true, Skew: time.Second}},
		Secrets: []inspect.Secret{{
			SecretID: "a", Store: "main", Path: "a", VersionID: "v1", Announced: "v1", Reason: scheduler.ReasonScheduled, RotateAt: due, TimerAt: due, Armed: true, Spec: spec, Services: spec.Services,
			Rollout: events.RolloutConverged, SafeToRevoke: &rollout.SafeToRevoke{Answer: rollout.AnswerYes},
			Meta: secret.Metadata{Attributes: map[string]string{"owner": "core"}, Versions: []secret.Version{{ID: "v1", Stage: secret.StageCurrent, CreatedAt: now.Add(-time.Hour)}}},
		}},
	}
}

// pending adds a pending version to the secret.
func pending(f *Facts, token secret.Token, age time.Duration) {
	s := &f.Secrets[0]
	s.Meta.Versions = append(s.Meta.Versions, secret.Version{ID: "v2", Token: token, Stage: secret.StagePending, CreatedAt: now.Add(-age)})
}

// lost makes the instance silent.
func lost(f *Facts, past events.PastFence) {
	f.Fleet.Users[0].RenewedAt, f.Fleet.Users[0].Use.PastFence = now.Add(-5*time.Minute), past
}

// also adds another user, made of the one there is.
func also(f *Facts, service string, change func(*events.Use)) {
	u := f.Fleet.Users[0]
	u.Use.Service, u.Use.Instance, u.Use.Incarnation = service, "2", "y"
	change(&u.Use)
	f.Fleet.Users = append(f.Fleet.Users, u)
}

// TestEachFaultIsNamedFirst breaks a healthy system in one way at a time.
func TestEachFaultIsNamedFirst(t *testing.T) {
	t.Parallel()
	if found := Diagnose(healthy()); len(found) > 0 {
		t.Fatalf("of a healthy system: %+v", found)
	}
	denied := fmt.Errorf("describe a: %w", store.ErrAccessDenied)
	fail := func(err error) func(*Facts) {
		return func(f *Facts) { f.Secrets[0].Err, f.Secrets[0].Error = err, err.Error() }
	}
	ours := healthy().Secrets[0].Spec.Token("v1", 0)
	for name, c := range map[string]struct {
		change  func(*Facts)
		code    secret.FindingCode
		subject string
		remedy  string
		fix     FixKind
	}{
		"the bus is not reached":     {func(f *Facts) { *f = Facts{Now: now, Bus: errors.New("refused"), Secrets: f.Secrets} }, CodeBusUnreachable, "bus", "rotator run", ""},
		"the bus refuses":            {func(f *Facts) { f.Bus = nats.ErrAuthorization }, CodeBusPermission, "bus", "rotator config schema", ""},
		"a listing is not permitted": {func(f *Facts) { f.Unread = []Unread{{"consumers", nats.ErrPermissionViolation}} }, CodeBusPermission, "consumers", "", ""},
		"something is not read":      {func(f *Facts) { f.Unread = []Unread{{"instances", errors.New("timeout")}} }, CodeUnread, "instances", "", ""},
		"a store refuses":            {fail(denied), CodeStorePermission, "a", "rotator explain a", ""},
		"a store does not answer":    {fail(store.ErrUnavailable), CodeUnread, "a", "rotator explain a", ""},
		"a store is not listed": {func(f *Facts) {
			f.Secrets = append(f.Secrets, inspect.Secret{Store: "aws", Err: denied, Error: denied.Error()})
		}, CodeStorePermission, "store aws", "rotator list", ""},
		"an unknown key has signed":  {fail(events.ErrUntrusted), CodeUntrusted, "a", "rotator explain a", ""},
		"the own key is not trusted": {func(f *Facts) { f.Key = events.ErrUntrusted }, CodeOwnKey, "signing.key", "", ""},
		"no key is configured":       {func(f *Facts) { f.Key = events.ErrNoSigner }, CodeOwnKey, "signing.key", "", ""},
		"a stream is gone":           {func(f *Facts) { f.Streams[0].Err = errors.New("not found") }, CodeStream, "stream USES", "rotator run", ""},
		"a replica is missing":       {func(f *Facts) { f.Streams[0].Replicas, f.Streams[0].Missing = 3, 1 }, CodeReplica, "stream USES", "nats stream info USES", ""},
		"a stream is nearly full":    {func(f *Facts) { f.Streams[0].Messages = 800 }, CodeQuota, "stream USES", "", ""},
		"an account is full":         {func(f *Facts) { f.Account.Bytes, f.Account.MaxBytes = 10, 10 }, CodeQuota, "account", "", ""},
		"the clocks differ":          {func(f *Facts) { f.Streams[0].Skew = -time.Minute }, CodeClock, "clock", "timedatectl set-ntp true", ""},
		"no worker runs":             {func(f *Facts) { f.Consumers[0].Served = false }, CodeNotServed, "consumer rotator", "rotator run", ""},
		"a consumer is missing":      {func(f *Facts) { f.Consumers[0].Missing = true }, CodeNoConsumer, "consumer rotator", "rotator run", ""},
		"a consumer is orphaned":     {func(f *Facts) { f.Consumers[1].Served, f.Consumers[1].Idle = false, 2*time.Hour }, CodeOrphaned, "consumer reader", "rotator doctor --fix", FixConsumer},
		"no sweep ends":              {func(f *Facts) { *f.Swept = time.Hour }, CodeNoSweep, "scheduler", "rotator run", FixSweep},
		"the configuration differs":  {func(f *Facts) { f.Nodes[0].Digest = "d2" }, CodeConfig, "/rotator/worker/n1", "rotator reload", ""},
		"no node says what it is":    {func(f *Facts) { f.Nodes = nil }, CodeUnread, "configuration", "", ""},
		"a version is past its end":  {func(f *Facts) { f.Secrets[0].Reason, f.Secrets[0].Message = scheduler.ReasonExpired, "it ended" }, "expired", "a", "rotator rotate a", ""},
		"a secret is not there": {func(f *Facts) {
			f.Secrets[0].Reason, f.Secrets[0].Message = scheduler.ReasonNotFound, "it is not there"
		}, "not_found", "a", "rotator explain a", ""},
		"a rollout has stalled":             {func(f *Facts) { f.Secrets[0].Rollout = events.RolloutStalled }, CodeStalled, "a", "rotator explain a", ""},
		"a store refuses a rotation":        {func(f *Facts) { f.Secrets[0].Failure = &events.Failure{Code: "access_denied"} }, CodeStorePermission, "a", "rotator rotate a", ""},
		"a rotation fails":                  {func(f *Facts) { f.Secrets[0].Failure = &events.Failure{Code: "unavailable"} }, CodeFailing, "a", "rotator explain a", ""},
		"a pending version is foreign":      {func(f *Facts) { pending(f, "stranger", time.Minute) }, inspect.CodePendingForeign, "a", "rotator rotate a", ""},
		"a pending version is stuck":        {func(f *Facts) { pending(f, ours, 2*time.Hour) }, CodePendingStuck, "a", "rotator rotate a", ""},
		"a pending one is abandoned":        {func(f *Facts) { pending(f, ours, time.Minute); f.Secrets[0].Reason = scheduler.ReasonQuarantined }, CodePendingStuck, "a", "rotator doctor --fix", FixPending},
		"a timer is missing":                {func(f *Facts) { f.Secrets[0].Armed = false }, inspect.CodeNoTimer, "a", "rotator doctor --fix", FixSweep},
		"a timer is moved":                  {func(f *Facts) { f.Secrets[0].TimerAt = now }, inspect.CodeTimerMoved, "a", "rotator doctor --fix", FixSweep},
		"a version is not announced":        {func(f *Facts) { f.Secrets[0].Announced = "v0" }, inspect.CodeNotAnnounced, "a", "rotator doctor --fix", FixSweep},
		"a timer is of no secret":           {func(f *Facts) { f.Timers = append(f.Timers, "b") }, CodeTimerUnknown, "b", "rotator events b", ""},
		"an instance that serves is silent": {func(f *Facts) { lost(f, events.PastFenceServe) }, CodeSilent, "api/1", "rotator forget api/1 --reason 'its process is gone'", ""},
		"a service does not run":            {func(f *Facts) { f.Secrets[0].Spec.Services = []string{"api", "jobs"} }, CodeAbsent, "jobs", "rotator explain a", ""},
		"an instance is unlisted":           {func(f *Facts) { also(f, "stranger", func(*events.Use) {}) }, CodeUnlisted, "stranger", "rotator explain a", ""},
		"an instance uses another":          {func(f *Facts) { also(f, "api", func(u *events.Use) { u.SecretID = "b" }) }, CodeUnlisted, "api", "rotator explain b", ""},
		"a client is too old":               {func(f *Facts) { also(f, "api", func(u *events.Use) { u.Accepts = nil }) }, CodeOldClient, "api", "go get github.com/tradepulse/rotator@latest", ""},
		"a client writes no records":        {func(f *Facts) { also(f, "api", func(u *events.Use) { u.Incarnation = "" }) }, CodeOldClient, "api", "go get github.com/tradepulse/rotator@latest", ""},
		"a secret has no owner":             {func(f *Facts) { f.Secrets[0].Meta.Attributes = nil }, CodeNoOwner, "owner", "rotator list", ""},
		"a secret has no subscriber":        {func(f *Facts) { f.Secrets[0].Spec.Services, f.Fleet.Users = nil, nil }, CodeNoSubscriber, "subscribers", "rotator list", ""},
		"many secrets are due at once":      {many(30, 30*24*time.Hour, 0), CodeFlood, "schedule", "rotator plan --within 481h0m0s", ""},
		"a tag cannot be carried out": {func(f *Facts) {
			f.Secrets[0].Findings = []secret.Finding{{Code: "tag", Severity: secret.SeverityError, Message: "bad"}}
		}, "tag", "a", "rotator explain a", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := healthy()
			c.change(&f)
			found := Diagnose(f)
			if len(found) == 0 {
				t.Fatalf("nothing is found, want %s", c.code)
			}
			first := found[0]
			if first.Code != c.code || first.Subject != c.subject || first.Message == "" || c.remedy != "" && first.Remedy != c.remedy || first.Remedy == "" {
				t.Errorf("first is %+v, want %s of %s with %q", first.Finding, c.code, c.subject, c.remedy)
			}
			if (first.Fix != nil) != (c.fix != "") || first.Fix != nil && first.Fix.Kind != c.fix {
				t.Errorf("the fix is %+v, want %q", first.Fix, c.fix)
			}
			if c.fix == FixPending && (first.Fix.VersionID == "" || first.Fix.Token == "") {
				t.Errorf("the fix %+v does not name its version", first.Fix)
			}
		})
	}
}

// TestASilentInstanceThatRefuses ends by itself, so nothing has to be done about it.
func TestASilentInstanceThatRefuses(t *testing.T) {
	t.Parallel()
	f := healthy()
	lost(&f, events.PastFenceRefuse)
	for _, d := range Diagnose(f) {
		if d.Code == CodeSilent {
			if d.Severity != secret.SeverityWarning || !strings.Contains(d.Message, "it refuses them after its fence, so nothing has to be done") {
				t.Errorf("%+v", d.Finding)
			}
			return
		}
	}
	t.Errorf("it is not found: %+v", Diagnose(f))
}

// TestAFullStreamOfUsesNamesWhoFillsIt: also by records that are not understood.
func TestAFullStreamOfUsesNamesWhoFillsIt(t *testing.T) {
	t.Parallel()
	for messages, want := range map[int64]string{1000: "refuses more", 900: "900 of 1000 messages"} {
		f := healthy()
		f.Streams[0].Messages = messages
		for i := range 5 {
			u := events.User{UsedAt: now, Problem: "the use does not decode"}
			u.Use.Service, u.Use.Incarnation = "hostile", fmt.Sprint(i)
			f.Fleet.Users = append(f.Fleet.Users, u)
		}
		found := slices.IndexFunc(Diagnose(f), func(d Finding) bool {
			return d.Code == CodeQuota && strings.Contains(d.Message, want) && strings.Contains(d.Message, "5 of 7 records of instances are those of the service hostile")
		})
		if found < 0 {
			t.Errorf("with %d messages: %+v", messages, Diagnose(f))
		}
	}
}

// many gives the system more secrets that live for a time and are due some time apart.
func many(n int, life, apart time.Duration) func(*Facts) {
	return func(f *Facts) {
		one := f.Secrets[0]
		for i := range n {
			s := one
			s.SecretID = secret.ID(fmt.Sprintf("s/%d", i))
			s.Spec.ID, s.Spec.TTL = s.SecretID, life
			s.RotateAt = one.RotateAt.Add(time.Duration(i) * apart)
			s.TimerAt = s.RotateAt
			f.Secrets = append(f.Secrets, s)
			f.Timers = append(f.Timers, s.SecretID)
		}
	}
}

// TestWhatIsNoFault: what looks like a fault and is none.
func TestWhatIsNoFault(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Facts){
		"many secrets that are due each hour":         many(50, time.Hour, 0),
		"many secrets that are spread":                many(50, 30*24*time.Hour, 5*time.Hour),
		"a rotation that runs":                        func(f *Facts) { pending(f, f.Secrets[0].Spec.Token("v1", 0), time.Minute) },
		"a consumer of others that was used just now": func(f *Facts) { f.Consumers[1].Served, f.Consumers[1].Idle = false, time.Minute },
		"a job that does not run": func(f *Facts) {
			f.Secrets[0].Spec.Services = []string{"api", "nightly"}
			f.Secrets[0].Spec.Proof.Subscribers = map[string]secret.Subscriber{"nightly": {Kind: secret.KindJob, MaxRun: time.Hour}}
		},
		"an instance that has ended": func(f *Facts) {
			also(f, "stranger", func(u *events.Use) { u.Ended = true })
		},
		"a store without tags has no owners": func(f *Facts) { f.Features, f.Secrets[0].Meta.Attributes = nil, nil },
		"secrets that need no subscriber": func(f *Facts) {
			f.Secrets[0].Spec.Services, f.Fleet.Users = nil, nil
			f.Secrets[0].Spec.Proof.NoSubscribers = secret.NoSubscribersRetire
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := healthy()
			change(&f)
			if found := Diagnose(f); len(found) > 0 {
				t.Errorf("found %+v", found)
			}
		})
	}
}

// TestFindingsAreSorted: errors come first, a cause before what it brings about, and the
// same failure of many secrets is one finding.
func TestFindingsAreSorted(t *testing.T) {
	t.Parallel()
	f := healthy()
	many(5, 30*24*time.Hour, 48*time.Hour)(&f)
	for i := range f.Secrets {
		f.Secrets[i].Err, f.Secrets[i].Error = store.ErrUnavailable, store.ErrUnavailable.Error()
	}
	f.Consumers[1].Served, f.Consumers[1].Idle = false, 2*time.Hour
	f.Key = events.ErrUntrusted
	var codes []string
	found := Diagnose(f)
	for _, one := range found {
		codes = append(codes, string(one.Code))
	}
	if got := strings.Join(codes, " "); got != "own_key_untrusted unread consumer_orphaned" || !strings.Contains(found[1].Message, "6 secrets") {
		t.Errorf("found %s: %+v", got, found)
	}
}

// TestCommandsPaste: the configuration that was named is named in the commands, and
// what others wrote brings no control character to a terminal.
func TestCommandsPaste(t *testing.T) {
	t.Parallel()
	found := []Finding{doubtful(CodeClock, "clock", "a\x1b[31mb", "timedatectl set-ntp true"), doubtful(CodeFailing, "a", "b", "rotator rotate a")}
	WithConfig(found, "/etc/it's mine.yaml")
	found[1].Fixed = true
	var out strings.Builder
	if err := Print(&out, found); err != nil {
		t.Fatal(err)
	}
	want := "warning  clock_skew  clock\n         a�[31mb\n         $ timedatectl set-ntp true\nwarning  rotation_failing  a\n         b\n         $ rotator rotate a --config '/etc/it'\\''s mine.yaml'\n         fixed\n"
	if got := out.String(); got != want {
		t.Errorf("printed\n%s\nwant\n%s", got, want)
	}
	if all, errs := Left(found); all != 1 || errs != 0 {
		t.Errorf("%d findings are left, %d of them errors", all, errs)
	}
}
