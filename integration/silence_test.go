package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// silentEnv makes the test binary a service, see TestMain.
const silentEnv = "ROTATOR_SILENT_SERVICE"

// The two secrets of the service: it checks one at each use, and copies the other.
const (
	checkedID = secret.ID("CHECKED")
	copiedID  = secret.ID("COPIED")
	// silentLease is the lease of its instances.
	silentLease = time.Second
)

// TestASilentInstance has two processes of a service, one of which is paused or cut
// off for longer than lease, grace and fence while both of its secrets rotate.
//
// What it checks at each use is retired without it, and the first check of the old
// value that it answers after that refuses. What it copies is not retired before it
// has taken the new value.
func TestASilentInstance(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*silentSite){
		"stopped":                       (*silentSite).stopProcess,
		"cut off from bus and store":    (*silentSite).cutOff,
		"behind after the bus was down": (*silentSite).outage,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSilentSite(t)
			old := map[secret.ID]secret.Version{checkedID: s.current(checkedID), copiedID: s.current(copiedID)}
			value := s.value(checkedID)
			s.two.check(t, value, http.StatusNoContent)
			fault(s)
			s.rotate(copiedID)
			s.rotate(checkedID)

			s.reaches(checkedID, events.RolloutRetired)
			s.blockedByTwo(copiedID, old[copiedID].ID)
			first := s.two.ask(value) // it may be answered only after the fault
			s.heal()
			if status, err := first(); err != nil || status != http.StatusUnauthorized && status != http.StatusServiceUnavailable {
				t.Errorf("the first check of a value that is retired: %d, %v", status, err)
			}
			s.reaches(copiedID, events.RolloutRetired)
			s.gone(old[copiedID].ID)
			waittest.Until(t, "the instance accepts the new value", func() error {
				if status, err := s.two.ask(s.value(checkedID))(); err != nil || status != http.StatusNoContent {
					return fmt.Errorf("status %d, %w", status, err)
				}
				return nil
			})
			s.two.check(t, value, http.StatusUnauthorized)
		})
	}
}

// silentSite is a deployment with two instances of a service, each on a line of its
// own to the bus, which has the store too.
type silentSite struct {
	*site
	t    *testing.T
	nc   *nats.Conn
	ops  *events.Bus
	c    catalogued
	two  *silentProcess
	far  *line // of two
	heal func()
}

func newSilentSite(t *testing.T) *silentSite {
	t.Helper()
	spec := secret.Spec{Store: "embedded", TTL: time.Hour, Grace: time.Second, Fence: time.Second, Services: []string{"api"}}
	checked, copied := spec, spec
	checked.ID, copied.ID = checkedID, copiedID
	s := &silentSite{site: newSite(t, startBroker(t, true), checked, copied), t: t}
	s.seed()
	s.nc = s.broker.connect()
	t.Cleanup(s.nc.Close)
	s.ops, s.c = s.bus(s.nc, "ops"), s.catalog(s.nc)
	p := s.run("rotator", s.scheduler(time.Minute), s.worker(2), s.notifier())
	t.Cleanup(p.stop)
	near := startLine(t, s.broker)
	s.far = startLine(t, s.broker)
	s.start("one", near)
	s.two = s.start("two", s.far)
	return s
}

// current returns the current version of a secret.
func (s *silentSite) current(id secret.ID) secret.Version { return describe(s.t, s.c, id).Current() }

// value returns the current value of a secret.
func (s *silentSite) value(id secret.ID) string {
	s.t.Helper()
	spec, st, err := s.c.locate(id)
	if err != nil {
		s.t.Fatal(err)
	}
	_, v, err := st.Get(s.t.Context(), spec.StorePath(), store.Selector{Stage: secret.StageCurrent})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(v.Reveal())
}

// rotate asks for a rotation and waits until the new version is announced.
func (s *silentSite) rotate(id secret.ID) {
	s.t.Helper()
	spec, _, err := s.c.locate(id)
	if err != nil {
		s.t.Fatal(err)
	}
	from := s.current(id).ID
	if err := s.ops.RotateNow(s.t.Context(), manual(spec, from)); err != nil {
		s.t.Fatal(err)
	}
	waittest.Until(s.t, "the new version is announced", func() error {
		last, err := s.ops.Last(s.t.Context(), events.TypeRotated, id)
		if err == nil && last.Event.Data.PreviousVersionID != from {
			err = fmt.Errorf("%s is not replaced", from)
		}
		return err
	})
}

// reaches waits until the rollout of the current version is in a state.
func (s *silentSite) reaches(id secret.ID, want events.RolloutState) {
	s.t.Helper()
	waittest.Until(s.t, fmt.Sprintf("the rollout of %s is %s", id, want), func() error {
		last, err := s.ops.Last(s.t.Context(), events.TypeRollout, id)
		if err != nil {
			return err
		}
		if d := last.Event.Data; d.Rollout == nil || d.VersionID != s.current(id).ID || d.Rollout.State != want {
			return fmt.Errorf("the last event of a rollout is %+v", d)
		}
		return nil
	})
}

// blockedByTwo fails unless instance two alone keeps version v of a secret.
func (s *silentSite) blockedByTwo(id secret.ID, v secret.VersionID) {
	s.t.Helper()
	f, err := s.ops.Fleet(s.t.Context(), id)
	if err != nil {
		s.t.Fatal(err)
	}
	spec, st, err := s.c.locate(id)
	if err != nil {
		s.t.Fatal(err)
	}
	b := rollout.Question{Spec: spec, VersionID: s.current(id).ID, Unstaged: true}.Ask(f).Blocking
	if len(b) != 1 || b[0].Instance != "two" || b[0].Reason != events.BlockSilent || !b[0].Until.IsZero() {
		s.t.Errorf("%s is blocked by %v, want two, which is silent, without an end", id, b)
	}
	if _, _, err := st.Get(s.t.Context(), spec.StorePath(), store.Selector{Version: v}); err != nil {
		s.t.Errorf("the version that a silent instance serves with is gone: %v", err)
	}
}

// gone fails unless the store has no value of a version of the copied secret.
func (s *silentSite) gone(v secret.VersionID) {
	s.t.Helper()
	spec, st, err := s.c.locate(copiedID)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, _, err := st.Get(s.t.Context(), spec.StorePath(), store.Selector{Version: v}); err == nil {
		s.t.Errorf("version %s is retired and has a value", v)
	}
}

// stopProcess is SIGSTOP, as a debugger, a snapshot or a starved host would have it.
func (s *silentSite) stopProcess() {
	waittest.Stop(s.t, s.two.cmd.Process)
	s.heal = func() { s.two.signal(s.t, syscall.SIGCONT) }
}

// cutOff keeps all from passing between the instance and the bus.
func (s *silentSite) cutOff() {
	s.far.pause()
	s.heal = s.far.resume
}

// outage stops the bus for longer than a lease. When it is back, one instance is
// too, and the other one not yet.
func (s *silentSite) outage() {
	s.broker.stop()
	<-time.After(2 * silentLease)
	s.cutOff()
	s.broker.start()
	waittest.Until(s.t, "the first instance is back", func() error {
		users, err := live(s.t.Context(), s.ops, copiedID)
		if err == nil && (len(users) != 1 || users[0].Use.Instance != "one") {
			err = fmt.Errorf("%d instances live", len(users))
		}
		return err
	})
}

// silentOrder is what an instance is told.
type silentOrder struct {
	URL      string
	Instance string
	Master   []byte
	Signer   []byte
	Specs    []secret.Spec
}

// silentProcess is an instance in a process of its own.
type silentProcess struct {
	*program
	url string
}

var answersAt = regexp.MustCompile(`answers at (\S+)`)

// start starts an instance and waits until it lives and answers.
func (s *silentSite) start(instance string, on *line) *silentProcess {
	s.t.Helper()
	order, err := json.Marshal(silentOrder{URL: on.url(), Instance: instance, Master: s.master, Signer: s.keys.seed, Specs: s.specs})
	if err != nil {
		s.t.Fatal(err)
	}
	p := &silentProcess{program: &program{cmd: exec.Command(os.Args[0]), out: &output{}, done: make(chan struct{})}}
	p.cmd.Env = append(os.Environ(), silentEnv+"="+string(order))
	p.run(s.t)
	waittest.Until(s.t, "the instance lives and answers", func() error {
		m := answersAt.FindStringSubmatch(p.out.String())
		if m == nil {
			return fmt.Errorf("it does not answer:\n%s", p.out)
		}
		p.url = m[1]
		users, err := live(s.t.Context(), s.ops, copiedID)
		if err == nil && !slices.ContainsFunc(users, func(u events.User) bool { return u.Use.Instance == instance && u.Use.Status == events.StatusApplied }) {
			err = errors.New("it is not on record")
		}
		return err
	})
	return p
}

func (p *silentProcess) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// ask sends a token to be checked; the result waits for the answer.
func (p *silentProcess) ask(token string) func() (int, error) {
	req, err := http.NewRequest(http.MethodGet, p.url, http.NoBody)
	if err != nil {
		return func() (int, error) { return 0, err }
	}
	req.Header.Set("Authorization", "Bearer "+token)
	sent, status := make(chan error, 1), 0
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			status = resp.StatusCode
			err = resp.Body.Close()
		}
		sent <- err
	}()
	return func() (int, error) { err := <-sent; return status, err }
}

func (p *silentProcess) check(t *testing.T, token string, want int) {
	t.Helper()
	if got, err := p.ask(token)(); err != nil || got != want {
		t.Errorf("the instance answers %d, %v, want %d", got, err, want)
	}
}

// silentService is the process: it answers checks until it is asked to end.
func silentService(text string) int {
	var o silentOrder
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		fmt.Println(err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := o.serve(ctx); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func (o silentOrder) serve(ctx context.Context) error {
	nc, err := nats.Connect(o.URL, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers())
	if err != nil {
		return err
	}
	defer nc.Close()
	m, err := o.manager(ctx, nc)
	if err != nil {
		return err
	}
	auth, err := client.NewTokenAuthenticator(ctx, m, checkedID, "silent", time.Minute)
	if err != nil {
		return err
	}
	defer auth.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	fmt.Printf("answers at http://%s\n", l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return m.Close(context.WithoutCancel(ctx))
}

func (o silentOrder) manager(ctx context.Context, nc *nats.Conn) (*client.Manager, error) {
	signer, trusted, err := (keys{seed: o.Signer}).open()
	if err != nil {
		return nil, err
	}
	bus, err := events.New(nc, events.Config{Source: "/test/" + o.Instance, Signer: signer, Verifier: trusted})
	if err != nil {
		return nil, err
	}
	d, err := service{}.open(ctx, nc, o.Master)
	if err != nil {
		return nil, err
	}
	st, err := store.New("embedded", d, &store.Options{Timeout: time.Second})
	if err != nil {
		return nil, err
	}
	c, err := manage(o.Specs, st)
	if err != nil {
		return nil, err
	}
	return client.New(ctx, client.Config{
		Service: "api", Instance: o.Instance, Source: c.source, IDs: []secret.ID{checkedID, copiedID}, CheckedAtUse: []secret.ID{checkedID},
		Bus: bus, Lease: silentLease,
	})
}
