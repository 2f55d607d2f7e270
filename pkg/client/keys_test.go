package client_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// current returns the version that a ring signs with.
func current(t *testing.T, k *client.Keyring) client.Key {
	t.Helper()
	key, err := k.Current(t.Context())
	if err != nil {
		t.Errorf("current: %v", err)
	}
	return key
}

func TestAKeyringVerifiesWithEveryVersionItSaw(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	v2 := r.write(key, "second-value")
	r.notify(key, v2)
	r.eventually("the ring signs with the second version", func() bool { return current(t, k).ID == v2 })
	if old, err := k.Key(t.Context(), v1); err != nil || string(old.Value.Reveal()) != "first-value" {
		t.Error("the first version does not verify any more")
	}
	fresh, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if _, err := fresh.Key(t.Context(), v1); !errors.Is(err, client.ErrNoKey) {
		t.Error("a new ring knows a version it has not seen")
	}
	if old, err := fresh.Fetch(t.Context(), v1); err != nil || string(old.Value.Reveal()) != "first-value" {
		t.Errorf("it cannot be fetched from the store: %v", err)
	}
}

func TestAStagedVersionVerifiesAndDoesNotSign(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	v1 := r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	pending, err := r.mem.Put(t.Context(), string(key), store.Write{Token: "next", From: v1, Value: secret.NewValue([]byte("next-value"))})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	staged := events.Event{ID: "staged", Type: events.TypeStaged, Source: "/test", Time: now, Data: events.Data{SecretID: key, VersionID: pending.ID, OccurredAt: now}}
	if err := r.bus.Notify(t.Context(), "api", staged, 1); err != nil {
		t.Fatal(err)
	}
	r.eventually("it is staged", func() bool { s := r.running(); return s.Status == events.StatusStaged && s.Wanted == pending.ID })
	if _, err := k.Key(t.Context(), pending.ID); err != nil || current(t, k).ID != v1 {
		t.Errorf("the ring verifies with it: %v, and signs with %s", err, current(t, k).ID)
	}
}

func TestAuditRecordsShowEveryChange(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	m := r.manager(nil)
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var out bytes.Buffer
	log, err := client.NewAuditLogger(t.Context(), m, k, &out)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	for i := range 6 {
		if i == 3 {
			v := r.write(key, "second-value")
			r.notify(key, v)
			r.eventually("the ring signs with the second version", func() bool { return current(t, k).ID == v })
		}
		if err := log.Log("order.placed", map[string]string{"order": fmt.Sprint(i), "note": "<a & b> \u2028"}); err != nil {
			t.Fatal(err)
		}
	}
	lookup := func(v secret.VersionID) (secret.Value, error) {
		key, err := k.Key(t.Context(), v)
		if errors.Is(err, client.ErrNoKey) {
			err = store.ErrNotFound
		}
		return key.Value, err
	}
	lines := strings.SplitAfter(strings.TrimSpace(out.String())+"\n", "\n")[:6]
	for name, c := range map[string]struct {
		change func([]string) []string
		line   int
	}{
		"nothing":               {func(l []string) []string { return l }, 0},
		"a changed field":       {func(l []string) []string { l[1] = strings.Replace(l[1], "order.placed", "order.dropped", 1); return l }, 2},
		"a removed record":      {func(l []string) []string { return append(l[:2:2], l[3:]...) }, 3},
		"two swapped records":   {func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }, 4},
		"a record of garbage":   {func(l []string) []string { l[5] = "garbage\n"; return l }, 6},
		"a space between":       {func(l []string) []string { l[0] = strings.Replace(l[0], ",", ", ", 1); return l }, 1},
		"an unknown key":        {func(l []string) []string { l[2] = strings.Replace(l[2], `"key_id":"`, `"key_id":"x`, 1); return l }, 3},
		"a record put in twice": {func(l []string) []string { return append(l[:2:2], l[1:]...) }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(c.change(append([]string(nil), lines...)), "")
			n, _, err := client.VerifyAudit(strings.NewReader(text), lookup)
			bad, is := errors.AsType[*client.AuditError](err)
			if c.line == 0 && (err != nil || n != 6) || c.line != 0 && (!is || bad.Line != c.line) {
				t.Errorf("%d records, err %v; want the first bad line %d", n, err, c.line)
			}
		})
	}
}

// TestAKeyringForgetsInTime: versions that do not sign any more verify for as
// long as was asked for.
func TestAKeyringForgetsInTime(t *testing.T) {
	inFakeTime(t, 0, nil, func(c *clock) {
		k, err := client.NewKeyring(c.t.Context(), c.m, key, client.KeysVerifyHistory, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		first := current(c.t, k)
		c.pass(3 * time.Hour)
		if _, err := k.Key(c.t.Context(), first.ID); err != nil {
			t.Error("the current key was forgotten")
		}
		c.write()
		if err := c.m.Refresh(c.t.Context(), key); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			pass time.Duration
			want bool
		}{{0, true}, {59 * time.Minute, true}, {2 * time.Minute, false}} {
			c.pass(step.pass)
			if _, err := k.Key(c.t.Context(), first.ID); (err == nil) != step.want {
				t.Errorf("after %s more the first key verifies: %v", step.pass, err)
			}
		}
		reads := c.reads.Load()
		for range 2 {
			if got, err := k.Fetch(c.t.Context(), first.ID); err != nil || !got.Value.Equal(first.Value) {
				t.Errorf("it cannot be fetched again: %v", err)
			}
		}
		if n := c.reads.Load() - reads; n != 1 {
			t.Errorf("fetching it twice cost %d reads", n)
		}
		if _, err := k.Fetch(c.t.Context(), "unknown"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("err %v", err)
		}
	})
}

// fails writes some bytes and then fails.
type fails struct {
	bytes.Buffer

	after int
	err   error
}

func (f *fails) Write(p []byte) (int, error) {
	if f.err != nil {
		n, _ := f.Buffer.Write(p[:f.after])
		return n, f.err
	}
	return f.Buffer.Write(p)
}

// lines returns some lines of a text.
func lines(text string, from, to int) string {
	return strings.Join(strings.SplitAfter(text, "\n")[from:to], "")
}

// TestAnAuditLogGoesOnAfterARestart: also one whose key was rotated since.
func TestAnAuditLogGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "first-value")
	r.write(token, "first-token")
	var file fails
	process := func(records int, resume bool) {
		t.Helper()
		m := r.manager(func(c *client.Config) { c.Bus = nil })
		k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		log, err := client.NewAuditLogger(t.Context(), m, k, &file)
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		if resume {
			if n, err := log.ResumeFrom(t.Context(), bytes.NewReader(file.Bytes())); err != nil || n != 3 {
				t.Fatalf("resumed after %d records, err %v", n, err)
			}
		}
		for i := range records {
			if err := log.Log("order.placed", map[string]string{"order": fmt.Sprint(i), "note": "bad \xff\xfe bytes"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	process(3, false)
	r.write(key, "second-value")
	process(2, true)
	m := r.manager(func(c *client.Config) { c.Bus = nil })
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	n, last, err := client.VerifyAudit(bytes.NewReader(file.Bytes()), k.Lookup(t.Context()))
	if err != nil || n != 6 || last.Seq != 6 { // key.rotated among them
		t.Errorf("%d records, last %d, err %v", n, last.Seq, err)
	}
	_, third, err := client.VerifyAudit(strings.NewReader(lines(file.String(), 0, 3)), k.Lookup(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		bad  bool
	}{
		"what follows it":             {lines(file.String(), 3, 6), false},
		"the log itself":              {file.String(), true},
		"what follows a later record": {lines(file.String(), 4, 6), true},
	} {
		if _, err := (client.AuditVerifier{Key: k.Lookup(t.Context()), After: third}).Verify(strings.NewReader(c.text)); (err != nil) != c.bad {
			t.Errorf("after the third record, %s: err %v", name, err)
		}
	}
	log, err := client.NewAuditLogger(t.Context(), m, k, &file)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	before := file.Len()
	if _, err := log.ResumeFrom(t.Context(), strings.NewReader(file.String()[:before-1])); err == nil {
		t.Error("a log that was cut off is continued")
	}
	if _, err := log.ResumeFrom(t.Context(), bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	file.err = errors.New("the disk is full")
	if err := log.Log("lost", nil); !errors.Is(err, file.err) || errors.Is(err, client.ErrTorn) {
		t.Errorf("err %v", err)
	}
	file.after = 10
	if err := log.Log("torn", nil); !errors.Is(err, client.ErrTorn) {
		t.Errorf("err %v", err)
	}
	file.err = nil
	if err := log.Log("after", nil); !errors.Is(err, client.ErrTorn) || file.Len() != before+10 {
		t.Errorf("a record was written behind half of one: %v", err)
	}
	file.Truncate(before)
	if _, err := log.ResumeFrom(t.Context(), bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	if err := log.Log("mended", nil); err != nil {
		t.Fatal(err)
	}
	if n, _, err := client.VerifyAudit(bytes.NewReader(file.Bytes()), k.Lookup(t.Context())); err != nil || n != 7 {
		t.Errorf("%d records, err %v", n, err)
	}
}

// TestAuditLoggersInOneLog: several processes write into one log under load,
// while the key is rotated, and each record verifies.
func TestAuditLoggersInOneLog(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.write(key, "value-0")
	r.write(token, "first-token")
	var out waittest.Buffer
	var wg sync.WaitGroup
	const processes, records = 4, 100
	for p := range processes {
		m := r.manager(func(c *client.Config) { c.Instance = fmt.Sprintf("process-%d", p) })
		k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
		if err != nil {
			t.Fatal(err)
		}
		log, err := client.NewAuditLogger(t.Context(), m, k, &out)
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for i := range records {
				if err := log.Log("order.placed", map[string]string{"order": fmt.Sprint(i), "process": fmt.Sprint(p)}); err != nil {
					t.Errorf("log: %v", err)
				}
			}
		})
	}
	for i := range 5 {
		r.notify(key, r.write(key, fmt.Sprintf("value-%d", i+1)))
	}
	wg.Wait()
	m := r.manager(func(c *client.Config) { c.Instance = "reader" })
	k, err := client.NewKeyring(t.Context(), m, key, client.KeysVerifyHistory, 0)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.AuditVerifier{Key: k.Lookup(t.Context()), Merged: true}.Verify(strings.NewReader(out.String()))
	changes := strings.Count(out.String(), `"event":"`+client.EventKeyRotated+`"`)
	if err != nil || res.Records != processes*records+changes || res.Chains != processes {
		t.Errorf("%+v, err %v", res, err)
	}
	if _, _, err := client.VerifyAudit(strings.NewReader(out.String()), k.Lookup(t.Context())); err == nil {
		t.Error("the logs of several processes verify as that of one")
	}
}
