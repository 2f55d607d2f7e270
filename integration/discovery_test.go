package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// cluster is a configuration on a broker that any number of programs share.
type cluster struct {
	t      *testing.T
	site   *site
	bus    *events.Bus
	path   string
	stores []string // the environment that lets a program into the stores
}

// newCluster writes a configuration; stores and the rest of it are its text.
func newCluster(t *testing.T, text string, stores []string) *cluster {
	t.Helper()
	s := newSiteWith(t, startBroker(t, true), events.StreamOptions{AckWait: 5 * time.Second})
	nc := s.broker.connect()
	t.Cleanup(nc.Close)
	dir := t.TempDir()
	key := filepath.Join(dir, "signing.key")
	if err := s.signer.Save(key); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, site: s, bus: s.bus(nc, "test"), path: filepath.Join(dir, "rotator.yaml"), stores: stores}
	head := fmt.Sprintf("nats: {url: %q}\nnode: {data_dir: %q}\nsigning: {key: {file: %q}, trusted_keys: [%q]}\nhttp: {listen: none, notifier_listen: none}\n"+
		"log: {format: json, level: debug}\nscheduler: {sweep_every: 1s}\nworker: {retry_base: 1s}\n", nc.ConnectedUrl(), dir, key, key+".pub")
	if err := os.WriteFile(c.path, []byte(head+text), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// start runs a program with access to the stores, or without any.
func (c *cluster) start(access bool, words ...string) *program {
	c.t.Helper()
	r := reader{t: c.t}
	if access {
		r.env = c.stores
	}
	return r.start(append(words, "--config", c.path))
}

// rotator runs a command to its end.
func (c *cluster) rotator(args ...string) (string, int) {
	c.t.Helper()
	p := c.start(true, append([]string{"rotator"}, args...)...)
	code := p.wait(c.t)
	return p.out.String(), code
}

// last waits until the last event of a type about a secret is as wanted.
func (c *cluster) last(what string, kind events.Type, id secret.ID, ok func(events.Data) bool) events.Data {
	c.t.Helper()
	var d events.Data
	waittest.Until(c.t, what, func() error {
		a, err := c.bus.Last(c.t.Context(), kind, id)
		if d = a.Event.Data; err == nil && !ok(d) {
			err = fmt.Errorf("the last %s is %+v", kind, d)
		}
		return err
	})
	return d
}

// timer waits until the timer of the secret that is found stands for a version,
// or with "" until it has none.
func (c *cluster) timer(v secret.VersionID) events.Timer {
	c.t.Helper()
	var timer events.Timer
	waittest.Until(c.t, "the timer is that of the version", func() (err error) {
		timer, err = c.bus.Timer(c.t.Context(), events.TypeNearExpiry, "FOUND")
		if err == nil && (timer.Event.Data.VersionID != v || v == "" && timer.Seq != 0) {
			err = fmt.Errorf("the timer is %+v, want one of version %q", timer, v)
		}
		return err
	})
	return timer
}

// found returns nil once a secret has been announced.
func (c *cluster) found(id string) error {
	a, err := c.bus.Last(c.t.Context(), events.TypeRotated, secret.ID(id))
	if err == nil && a.Seq == 0 {
		err = fmt.Errorf("%s has not been announced", id)
	}
	return err
}

// report says that an instance of a service runs a version.
func (c *cluster) report(service string, id secret.ID, v secret.VersionID) {
	c.t.Helper()
	const lease = 6 // of which one third passes between two renewals
	putUse(c.t, c.bus, service, "one", id, v, lease)
	go func() {
		tick := time.NewTicker(lease * time.Second / 3)
		defer tick.Stop()
		for {
			select {
			case <-c.t.Context().Done():
				return
			case <-tick.C:
				p := events.Presence{Service: service, Instance: "one", Incarnation: "one-1", At: time.Now(), Lease: lease}
				_, _ = c.bus.Join(c.t.Context(), p) // the next one renews what this one could not
			}
		}
	}()
}

var managed = map[string]string{"rotator:managed": "true", "rotator:id": "FOUND", "rotator:ttl": "30d", "rotator:services": "api", "rotator:grace": "1s", "rotator:fence": "1s"}

// TestDiscovery runs scheduler, worker and notifier as programs of their own,
// the notifier without any access to the store, on a store in which a person
// else tags, writes and deletes.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	for name, open := range outsiders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := open(t)
			o.create(t, "apps/found", "first", managed)
			o.create(t, "apps/foreign", "not ours", nil)
			c := newCluster(t, "stores: {main: {"+o.config()+", discover: {prefix: apps/}}}\n", o.env())
			for _, role := range []string{"scheduler", "worker"} {
				c.start(true, "rotator", "run", "--roles", role)
			}
			notifier := c.start(false, "notifier", "run")
			c.isNotedWhenOthersWrite(o) // before we have: after moves of labels moto has two versions current
			c.isFollowedToItsEnd(o)
			c.isLeftAloneInTheEnd(o)
			if got := o.read(t, "apps/foreign"); got != "not ours" {
				t.Error("a secret that is not ours has another value")
			}
			if code := notifier.drain(t); code != 0 {
				t.Errorf("the notifier ends with %d:\n%s", code, notifier.out)
			}
		})
	}
}

// isNotedWhenOthersWrite: a version that others wrote is announced as such, and
// its own end is scheduled.
func (c *cluster) isNotedWhenOthersWrite(o outside) {
	c.t.Helper()
	ours := c.last("it is announced", events.TypeRotated, "FOUND", func(d events.Data) bool { return d.VersionID != "" })
	c.timer(ours.VersionID)
	o.write(c.t, "apps/found", "written by others")
	theirs := c.last("the other version is announced", events.TypeRotated, "FOUND", func(d events.Data) bool { return d.VersionID != ours.VersionID })
	if theirs.Reason != events.ReasonExternal || theirs.PreviousVersionID != ours.VersionID {
		c.t.Errorf("it is announced as %+v", theirs)
	}
	c.timer(theirs.VersionID)
	waittest.Until(c.t, "the service is told of the version", func() error {
		a, err := c.bus.LastNotified(c.t.Context(), "api", "FOUND")
		if err == nil && a.Event.Data.VersionID != theirs.VersionID {
			err = fmt.Errorf("the service was told of %q", a.Event.Data.VersionID)
		}
		return err
	})
}

// isFollowedToItsEnd: a rotation that is asked for reaches the service that only
// the tag names, and the version before is retired once that runs the new one.
func (c *cluster) isFollowedToItsEnd(o outside) {
	c.t.Helper()
	first := c.last("it is there", events.TypeRotated, "FOUND", func(events.Data) bool { return true }).VersionID
	if at := c.timer(first).At; time.Until(at) < 20*24*time.Hour {
		c.t.Errorf("the timer of a 30 day secret fires at %s", at)
	}
	out, code := c.rotator("rotate", "FOUND")
	if code != 0 || !strings.Contains(out, string(first)+" → ") {
		c.t.Fatalf("rotate: exit %d: %s", code, out)
	}
	second := c.last("it is rotated", events.TypeRotated, "FOUND", func(d events.Data) bool { return d.VersionID != first }).VersionID
	if o.read(c.t, "apps/found") == "written by others" {
		c.t.Error("the value is the same")
	}
	waittest.Until(c.t, "the service is told of the version", func() error {
		a, err := c.bus.LastNotified(c.t.Context(), "api", "FOUND")
		if err == nil && a.Event.Data.VersionID != second {
			err = fmt.Errorf("the service was told of %q", a.Event.Data.VersionID)
		}
		return err
	})
	c.last("it waits for the service", events.TypeRollout, "FOUND", func(d events.Data) bool {
		return d.VersionID == second && d.Rollout.State == events.RolloutRolling
	})
	c.report("api", "FOUND", second)
	c.last("the version before is retired", events.TypeRollout, "FOUND", func(d events.Data) bool {
		return d.VersionID == second && d.Rollout.State == events.RolloutRetired
	})
	out, code = c.rotator("status", "FOUND", "--json")
	if code != 0 || !strings.Contains(out, `"discovered": true`) || !strings.Contains(out, `"path": "apps/found"`) || !strings.Contains(out, `"rollout": "retired"`) {
		c.t.Errorf("status: exit %d: %s", code, out)
	}
}

// isLeftAloneInTheEnd: a tag that is wrong, a tag that is gone and a secret that
// is gone each end its schedule, and nothing else is needed to begin it anew.
func (c *cluster) isLeftAloneInTheEnd(o outside) {
	c.t.Helper()
	v := c.last("it is there", events.TypeRotated, "FOUND", func(events.Data) bool { return true }).VersionID
	wrong := map[string]string{"rotator:managed": "true", "rotator:id": "FOUND", "rotator:ttl": "soon"}
	o.tag(c.t, "apps/found", wrong)
	c.timer("")
	if out, code := c.rotator("rotate", "FOUND", "--wait", "none"); code != 1 || !strings.Contains(out, `rotator:ttl: "soon" is not a duration`) {
		c.t.Errorf("rotating by wrong tags: exit %d: %s", code, out)
	}
	o.tag(c.t, "apps/found", managed)
	c.timer(v)
	o.tag(c.t, "apps/found", nil)
	c.timer("")
	c.last("it is said to be gone", events.TypeDiscovered, "FOUND", func(d events.Data) bool { return d.Discovered.Gone })
	if out, code := c.rotator("rotate", "FOUND", "--wait", "none"); code != 1 || !strings.Contains(out, "nor has it been discovered") {
		c.t.Errorf("rotating what is not ours: exit %d: %s", code, out)
	}
	o.tag(c.t, "apps/found", managed)
	c.timer(v)
	o.remove(c.t, "apps/found")
	c.timer("")
}

// inPolicy is a value that satisfies the default policy.
const inPolicy = "Written-By-A-Person-4711-xyzABC"

// TestPlanOfANewStore is what a user sees first: two secrets in the
// configuration, three that tags name, one tag that says something else and one
// that says nothing.
func TestPlanOfANewStore(t *testing.T) {
	t.Parallel()
	o := outsiders["aws"](t)
	o.create(t, "orders/db", inPolicy, map[string]string{"rotator:managed": "true", "rotator:ttl": "7d"})
	o.create(t, "orders/api", inPolicy, nil)
	o.create(t, "billing/key", inPolicy, map[string]string{"rotator:managed": "true", "rotator:ttl": "90d", "rotator:services": "billing invoices"})
	o.create(t, "mail/token", inPolicy, map[string]string{"rotator:managed": "true", "rotator:window": "Sat Sun 01:00 6h Europe/Vienna"})
	o.create(t, "legacy/ftp", inPolicy, map[string]string{"rotator:managed": "true", "rotator:ttl": "soon"})
	o.create(t, "others/secret", inPolicy, map[string]string{"team": "other"})
	c := newCluster(t, "stores: {prod: {"+o.config()+", discover: {}}}\ndefaults: {ttl: 30d}\n"+
		"secrets: [{id: orders/db, services: [orders]}, {id: orders/api, services: [orders]}]\n", o.env())
	c.start(true, "rotator", "run", "--roles", "scheduler,worker")
	c.last("it is found", events.TypeDiscovered, "mail/token", func(d events.Data) bool { return d.Discovered != nil })
	out, code := c.rotator("plan")
	t.Logf("plan:\n%s", out)
	if code != 0 {
		t.Errorf("plan: exit %d", code)
	}
	var got [][]string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 3 {
			got = append(got, words[:3], words[:2])
		}
	}
	for _, want := range [][]string{
		{"orders/db", "prod", "config"}, {"orders/api", "prod", "config"}, {"billing/key", "prod", "tags"}, {"mail/token", "prod", "tags"}, {"legacy/ftp", "prod", "tags"},
		{"orders/db", "conflict"}, {"legacy/ftp", "invalid_tag"},
	} {
		if !slices.ContainsFunc(got, func(words []string) bool { return slices.Equal(words, want) }) {
			t.Errorf("no line begins with %q", want)
		}
	}
	if strings.Contains(out, "others/secret") {
		t.Error("a secret that is not ours is in the plan")
	}
	var plan struct {
		Secrets []struct {
			SecretID   string `json:"secret_id"`
			Reason     string
			Discovered bool
		}
		Drift []struct{ Code, Subject, Message string }
	}
	out, _ = c.rotator("plan", "--json", "--within", "45d")
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	said := map[string]string{}
	for _, s := range plan.Secrets {
		said[s.SecretID] = fmt.Sprint(s.Reason, " ", s.Discovered)
	}
	for _, d := range plan.Drift {
		said[d.Subject] += fmt.Sprintf(" %s: %s", d.Code, d.Message)
	}
	want := map[string]string{
		"orders/db":  `scheduled false conflict: rotator:ttl: "7d"; the configuration says 30d, and holds`,
		"orders/api": "scheduled false", "mail/token": "scheduled true",
		"legacy/ftp": `invalid_tags true invalid_tag: rotator:ttl: "soon" is not a duration`,
	}
	if fmt.Sprint(said) != fmt.Sprint(want) {
		t.Errorf("within 45 days: %v\nwant %v", said, want)
	}
	if out, code := c.rotator("status"); code != 1 || !strings.Contains(out, "1 of 5 secrets need attention") {
		t.Errorf("status: exit %d: %s", code, out)
	}
}
