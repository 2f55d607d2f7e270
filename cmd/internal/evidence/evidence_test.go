//go:build !race

package evidence_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/csv"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/evidence"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/events/eventstest"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

var rotations = flag.Int("rotations", 5_000, "how many rotations TestEvidence exports and verifies")

// spread is how many secrets the rotations are of.
const spread = 50

// export writes evidence of n rotations of a few secrets, and of what people did.
func export(t *testing.T, n int) (dir string, signer *events.Signer, m evidence.Manifest) {
	t.Helper()
	srv := eventstest.NewServer(t)
	bus := srv.NewBus(events.StreamOptions{})
	begin := time.Now()
	var work sync.WaitGroup
	for s := range min(spread, n) {
		work.Go(func() {
			for v := range n / min(spread, n) {
				if err := bus.RecordRetirement(t.Context(), retirement(s, v+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	t.Logf("%d records made in %s", n, time.Since(begin).Round(time.Millisecond))
	act := events.Act{SecretID: name(0), Kind: events.ActRead, VersionID: "v1", By: "ada", Reason: "=cmd()", Ticket: "INC-7", At: time.Now()}
	frozen := events.Act{SecretID: name(0), Kind: events.ActRotate, By: "ada", Reason: "an audit", Freeze: "year-end", At: time.Now()}
	fixed := events.Act{Subject: "consumer ROTATED/left", Kind: events.ActFix, By: "ada", Reason: "orphaned", At: time.Now()}
	for _, a := range []events.Act{act, frozen, fixed} {
		if err := bus.RecordAct(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if err := bus.SetPause(t.Context(), events.Pause{SecretID: name(0), Paused: true, By: "ada", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	failed := events.Event{ID: "1", Type: events.TypeRotationFailed, Source: "/test", Time: time.Now(), Data: events.Data{
		SecretID: name(0), VersionID: "v1", Retry: events.Retry{Failure: &events.Failure{Step: "put", Code: "store", Message: "no"}},
	}}
	if err := bus.Publish(t.Context(), failed); err != nil {
		t.Fatal(err)
	}
	dir, begin = filepath.Join(t.TempDir(), "evidence"), time.Now()
	m, err := evidence.Write(t.Context(), bus, population(), evidence.Options{
		Dir: dir, From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour), Seed: "7", SampleSize: 25, Program: "test", By: "ada",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("written in %s", time.Since(begin).Round(time.Millisecond))
	return dir, srv.Signer, m
}

func name(i int) secret.ID { return secret.ID(fmt.Sprintf("team/secret-%03d", i)) }

func population() []inspect.Secret {
	out := make([]inspect.Secret, spread)
	for i := range out {
		spec := secret.Spec{ID: name(i), Store: "main", Owner: "payments", Purpose: "signs orders", Contact: "#payments", TTL: time.Hour}
		out[i] = inspect.Secret{SecretID: spec.ID, Store: "main", Path: string(spec.ID), Owner: spec.Owner, Purpose: spec.Purpose, Contact: spec.Contact, Spec: spec}
	}
	return out
}

// retirement returns a receipt that its records allow.
func retirement(s, v int) events.Receipt {
	at := time.Now()
	id, to := name(s), secret.VersionID(fmt.Sprintf("v%d", v))
	d := events.Data{SecretID: id, VersionID: to, Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: at.Add(-time.Hour), RetireAt: at.Add(-time.Minute)}}
	return rollout.Proof{
		Question: rollout.Question{Spec: secret.Spec{ID: id, Services: []string{"api"}, Fence: time.Minute}, VersionID: to, Unstaged: true, Promoted: at.Add(-time.Hour)},
		Order:    d, Logged: d, Retired: []secret.VersionID{secret.VersionID(fmt.Sprintf("v%d", v-1))},
		Fleet: events.Fleet{SecretID: id, Seq: 1, At: at, Since: at.Add(-2 * time.Hour), Confirmed: at.Add(-2 * time.Hour), Users: []events.User{{
			Use: events.Use{
				Running: events.Running{SecretID: id, VersionID: to, Status: events.StatusApplied}, Service: "api", Instance: "1",
				Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse,
			},
			Presence: events.Presence{Lease: 60}, UsedAt: at, RenewedAt: at,
		}}},
	}.Receipt("/test", at)
}

func verify(t *testing.T, dir string, pin ed25519.PublicKey) evidence.Result {
	t.Helper()
	r, err := evidence.Verify(dir, pin)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func table(t *testing.T, dir, file string) [][]string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestEvidence: what was recorded is exported whole, and verifies with the directory
// alone. -rotations=100000 is the size of a year.
func TestEvidence(t *testing.T) {
	t.Parallel()
	dir, signer, m := export(t, *rotations)
	want := evidence.Counts{Lines: *rotations + 3 + 1 + 1 + 1 + spread, Secrets: spread, Records: *rotations + 3 + 1 + 1, Rotations: *rotations, Exceptions: 4}
	if m.Counts != want {
		t.Errorf("counts %+v, want %+v", m.Counts, want)
	}
	begin := time.Now()
	if r := verify(t, dir, signer.Public()); !r.Valid {
		t.Fatalf("not valid: %+v", r.Problems)
	}
	t.Logf("verified in %s", time.Since(begin).Round(time.Millisecond))
	for file, rows := range map[string]int{"population.csv": spread, "rotations.csv": *rotations, "exceptions.csv": 4, "coverage.csv": spread, "sample.csv": 25} {
		if got := len(table(t, dir, file)) - 1; got != rows {
			t.Errorf("%s has %d rows, want %d", file, got, rows)
		}
	}
	exceptions := table(t, dir, "exceptions.csv")
	if got, want := strings.Join(exceptions[1][4:], "|"), "read|ada|'=cmd()|INC-7|version v1"; got != want {
		t.Errorf("the read is %s, want %s", got, want)
	}
	for _, want := range []string{"rotate|ada|an audit||it overrules the freeze year-end", "fix|ada|orphaned||consumer ROTATED/left"} {
		if !slices.ContainsFunc(exceptions, func(row []string) bool { return strings.Join(row[4:], "|") == want }) {
			t.Errorf("no exception %s in %q", want, exceptions)
		}
	}
	if got := table(t, dir, "population.csv")[1]; got[3] != "payments" || got[4] != "signs orders" || got[5] != "'#payments" && got[5] != "#payments" {
		t.Errorf("the first secret is %q", got)
	}
}

// TestEveryMutationIsNamed: a line that was altered, removed, moved, doubled or added,
// and a table, the README and the manifest.
func TestEveryMutationIsNamed(t *testing.T) {
	t.Parallel()
	good, signer, m := export(t, 100)
	text, err := os.ReadFile(filepath.Join(good, "evidence.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.Collect(bytes.Lines(text))
	at := len(lines) - 20 // a receipt in the middle of its chain
	for name, tt := range map[string]struct {
		change func(lines [][]byte) [][]byte
		want   []string
	}{
		"altered": {func(l [][]byte) [][]byte {
			l[at] = bytes.Replace(l[at], []byte(`"basis":"proof"`), []byte(`"basis":"forced"`), 1)
			return l
		}, []string{fmt.Sprintf("line %d (record", at+1), "was altered"}},
		"not JSON":          {func(l [][]byte) [][]byte { l[at] = []byte("no\n"); return l }, []string{fmt.Sprintf("line %d was altered", at+1)}},
		"removed":           {func(l [][]byte) [][]byte { return slices.Delete(l, at, at+1) }, []string{fmt.Sprintf("line %d (record", at+1), ") is missing"}},
		"the first removed": {func(l [][]byte) [][]byte { return l[1:] }, []string{"line 1 (secret main:team/secret-000) is missing"}},
		"the last removed":  {func(l [][]byte) [][]byte { return l[:len(l)-1] }, []string{fmt.Sprintf("line %d (event", len(lines)), "is missing"}},
		"three removed":     {func(l [][]byte) [][]byte { return slices.Delete(l, at, at+3) }, []string{fmt.Sprintf("lines %d to %d are missing; the last of them is line %d (record", at+1, at+3, at+3)}},
		"two swapped":       {func(l [][]byte) [][]byte { l[at], l[at+1] = l[at+1], l[at]; return l }, []string{fmt.Sprintf("line %d (record", at+1), "was moved"}},
		"one moved far":     {func(l [][]byte) [][]byte { x := l[at]; return slices.Insert(slices.Delete(l, at, at+1), 60, x) }, []string{fmt.Sprintf("line %d (record", at+1), "was moved"}},
		"doubled":           {func(l [][]byte) [][]byte { return slices.Insert(l, at, l[at]) }, []string{fmt.Sprintf("line %d (record", at+1), "is there twice"}},
		"nothing":           {func(l [][]byte) [][]byte { return nil }, []string{fmt.Sprintf("lines 1 to %d are missing", len(lines))}},
	} {
		dir := copied(t, good)
		write(t, dir, "evidence.jsonl", bytes.Join(tt.change(slices.Clone(lines)), nil))
		named(t, name, verify(t, dir, nil), append(tt.want, "evidence.jsonl 0 it is not the file of the manifest"))
	}
	for _, f := range m.Files {
		dir := copied(t, good)
		old, err := os.ReadFile(filepath.Join(dir, f.Name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, dir, f.Name, bytes.Replace(old, []byte("7"), []byte("8"), 1))
		named(t, f.Name, verify(t, dir, nil), []string{f.Name + " 0 it is not the file"})
		if err := os.Remove(filepath.Join(dir, f.Name)); err != nil {
			t.Fatal(err)
		}
		named(t, f.Name, verify(t, dir, nil), []string{f.Name + " 0 it is missing"})
	}
	dir := copied(t, good)
	rows := strings.SplitAfter(read(t, dir, "rotations.csv"), "\n")
	write(t, dir, "rotations.csv", []byte(strings.Join(slices.Delete(rows, 41, 42), "")))
	named(t, "a row removed", verify(t, dir, nil), []string{"rotations.csv 42 row 42 was altered, removed or moved"})
	dir = copied(t, good)
	write(t, dir, "manifest.json", []byte(strings.Replace(read(t, dir, "manifest.json"), `"seed": "7"`, `"seed": "8"`, 1)))
	named(t, "the manifest", verify(t, dir, nil), []string{"manifest.json 0 it was altered"})
	stranger, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	named(t, "another key", verify(t, good, stranger.Public()), []string{"which is not the one that was given"})
	if r := verify(t, good, signer.Public()); !r.Valid {
		t.Errorf("the original is not valid any more: %+v", r.Problems)
	}
}

// TestARecordThatIsMissingInTheStreamIsNamed: what was taken out of the stream, or put
// into it by a stranger, before the evidence was made.
func TestARecordThatIsMissingInTheStreamIsNamed(t *testing.T) {
	t.Parallel()
	srv := eventstest.NewServer(t)
	bus := srv.NewBus(events.StreamOptions{})
	if err := bus.RecordRetirement(t.Context(), retirement(0, 1)); err != nil {
		t.Fatal(err)
	}
	stranger, err := events.GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Bus(stranger, stranger).RecordAct(t.Context(), events.Act{SecretID: name(1), Kind: events.ActRead, By: "eve", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	later := retirement(0, 3)
	later.Previous = &events.ReceiptLink{Seq: 3, SHA256: "00"} // the receipt between
	sealed, err := srv.Signer.Seal(events.SealedReceipt, later)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Connect().Request("record.retired."+string(name(0).Key()), text, time.Minute); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "evidence")
	o := evidence.Options{Dir: dir, To: time.Now().Add(time.Hour), Seed: "7", SampleSize: 25}
	if _, err := evidence.Write(t.Context(), bus, nil, o); err != nil {
		t.Fatal(err)
	}
	named(t, "removed", verify(t, dir, nil), []string{"record 3 is missing, which line 4", "which was not trusted"})
	if got := read(t, dir, "exceptions.csv"); !strings.Contains(got, "not_valid") {
		t.Errorf("the forged record is no exception:\n%s", got)
	}
	if _, err := evidence.Write(t.Context(), bus, nil, o); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a directory was written twice: %v", err)
	}
}

// named reports an error unless the problems name each text.
func named(t *testing.T, what string, r evidence.Result, want []string) {
	t.Helper()
	var all strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&all, "%s %d %s\n", p.File, p.Line, p.Message)
	}
	for _, w := range want {
		if r.Valid || !strings.Contains(all.String(), w) {
			t.Errorf("%s: %q is not named by\n%s", what, w, &all)
		}
	}
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(out, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, dir, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, dir, file string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
		t.Fatal(err)
	}
}
