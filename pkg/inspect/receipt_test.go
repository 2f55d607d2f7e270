package inspect_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/secret"
)

// aSigner returns a signer with a key that a seed gives.
func aSigner(tb testing.TB, seed byte) *events.Signer {
	tb.Helper()
	s, err := events.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// keyID returns how records name the key of a signer.
func keyID(tb testing.TB, s *events.Signer) string {
	tb.Helper()
	sealed, err := s.Seal(events.SealedReceipt, events.Receipt{})
	if err != nil {
		tb.Fatal(err)
	}
	return sealed.KeyID
}

// aReceipt returns the receipt of the retirement of v1, with a live, a silent and an
// ended user, of which a timer would have broken one.
func aReceipt() events.Receipt {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	user := func(instance string, v secret.VersionID, renewed time.Time, ended bool) events.User {
		return events.User{
			Use: events.Use{
				Running: events.Running{SecretID: "DB", VersionID: v, Status: events.StatusApplied, At: at.Add(-30 * time.Minute)},
				Service: "api", Instance: instance, Incarnation: "i" + instance, Accepts: []secret.VersionID{}, PastFence: events.PastFenceRefuse, Fence: 600, Joined: true,
			},
			Presence: events.Presence{Lease: 60, Ended: ended, StartedAt: at.Add(-5 * time.Hour)}, UsedAt: renewed, RenewedAt: renewed,
		}
	}
	d := events.Data{
		SecretID: "DB", Store: "main", VersionID: "v2", PreviousVersionID: "v1", Reason: events.ReasonManual, RotationID: "token",
		Rollout: &events.Rollout{State: events.RolloutDraining, StartedAt: at.Add(-2 * time.Hour), ConvergedAt: at.Add(-time.Hour), RetireAt: at.Add(-time.Minute)},
	}
	p := rollout.Proof{
		Question: rollout.Question{
			Spec: secret.Spec{ID: "DB", Store: "main", Services: []string{"api"}, Fence: 10 * time.Minute, Proof: secret.Proof{
				Subscribers: map[string]secret.Subscriber{"api": {JoinRequired: true}, "other": {PresumedEndedAfter: time.Hour}},
				Consumers:   []secret.Consumer{{Name: "erp"}},
			}},
			VersionID: "v2", Pending: "v3", Unstaged: true, Promoted: at.Add(-2 * time.Hour), Foreign: "another program wrote version v2",
			Confirmed: map[string]events.Confirmed{"erp": {VersionID: "v2", By: "ann", At: at.Add(-time.Hour)}},
		},
		Order: d, Logged: d, Retired: []secret.VersionID{"v1"},
		Fleet: events.Fleet{
			SecretID: "DB", Seq: 17, At: at, Since: at.Add(-24 * time.Hour), Confirmed: at.Add(-24 * time.Hour), ConfirmedBy: "ann",
			Users: []events.User{user("1", "v2", at.Add(-time.Second), false), user("2", "v1", at.Add(-90*time.Minute), true), user("3", "v1", at.Add(-100*time.Minute), false)},
		},
	}
	r := p.Receipt("/rotator/worker/h1", at.Add(time.Second))
	r.Previous = &events.ReceiptLink{Seq: 3, SHA256: strings.Repeat("ab", 32)}
	return r
}

func sealed(tb testing.TB, s *events.Signer, r events.Receipt) []byte {
	tb.Helper()
	envelope, err := s.Seal(events.SealedReceipt, r)
	if err != nil {
		tb.Fatal(err)
	}
	text, err := json.Marshal(envelope)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// only returns the result for a text with one receipt.
func only(tb testing.TB, text []byte, trusts func(ed25519.PublicKey) bool) inspect.CheckedReceipt {
	tb.Helper()
	all := inspect.CheckReceipts(text, trusts)
	if len(all) != 1 {
		tb.Fatalf("%d results, want 1: %+v", len(all), all)
	}
	return all[0]
}

// TestAReceiptNeedsNothingElse: neither a bus nor a configuration, and it may have
// been indented meanwhile.
func TestAReceiptNeedsNothingElse(t *testing.T) {
	t.Parallel()
	signer := aSigner(t, 1)
	text := sealed(t, signer, aReceipt())
	var indented bytes.Buffer
	if err := json.Indent(&indented, text, "\t", "    "); err != nil {
		t.Fatal(err)
	}
	mine := func(key ed25519.PublicKey) bool { return key.Equal(signer.Public()) }
	other := func(key ed25519.PublicKey) bool { return key.Equal(aSigner(t, 2).Public()) }
	for _, form := range [][]byte{text, indented.Bytes()} {
		if c := only(t, form, nil); !c.Valid || c.Trusted != inspect.TrustUnchecked || c.KeyID != keyID(t, signer) {
			t.Errorf("without a key: %+v", c)
		}
		if c := only(t, form, mine); !c.Valid || c.Trusted != inspect.TrustYes {
			t.Errorf("with its key: %+v", c)
		}
		if c := only(t, form, other); c.Valid || c.Trusted != inspect.TrustNo || !strings.Contains(c.Problem, "not trusted") {
			t.Errorf("with another key: %+v", c)
		}
	}
	const want = "DB: /rotator/worker/h1 decided at 2026-03-01T12:00:01Z to retire version v1, replaced by v2, on the records of its users (1 live, 1 silent, 1 ended) " +
		"through sequence 17, and because ann confirmed that no user was lost; a timer of 1h would have broken 1 instance; valid, signed by key "
	if got := only(t, text, nil).Sentence(); !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "whose trust was not checked") {
		t.Errorf("got  %s\nwant %s…", got, want)
	}
	if got := only(t, text, mine).Sentence(); !strings.HasSuffix(got, "signed by the trusted key "+keyID(t, signer)) {
		t.Errorf("got %s", got)
	}
}

// variants calls fn with every document that differs from v in one place: a value is
// another, an element is gone, a field is gone or new.
func variants(v any, path string, fn func(path string, changed any)) {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			with := func(value any, has bool) any {
				out := map[string]any{}
				maps.Copy(out, v)
				if delete(out, k); has {
					out[k] = value
				}
				return out
			}
			fn(path+"/-"+k, with(nil, false))
			variants(v[k], path+"/"+k, func(p string, changed any) { fn(p, with(changed, true)) })
		}
		out := map[string]any{"unknown": 1}
		maps.Copy(out, v)
		fn(path+"/+unknown", out)
	case []any:
		for i := range v {
			fn(fmt.Sprint(path, "/-", i), slices.Delete(slices.Clone(v), i, i+1))
			variants(v[i], fmt.Sprint(path, "/", i), func(p string, changed any) {
				out := slices.Clone(v)
				out[i] = changed
				fn(p, out)
			})
		}
		fn(path+"/+", append(slices.Clone(v), "x"))
	case string:
		fn(path, v+"x")
		if v != "" {
			fn(path+" cut", v[1:])
		}
	case json.Number:
		fn(path, json.Number(v.String()+"1"))
	case bool:
		fn(path, !v)
	}
}

// TestATamperedReceiptIsNotValid: in every field of the receipt and of its envelope.
func TestATamperedReceiptIsNotValid(t *testing.T) {
	t.Parallel()
	text := sealed(t, aSigner(t, 1), aReceipt())
	var whole any
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&whole); err != nil {
		t.Fatal(err)
	}
	n := 0
	variants(whole, "", func(path string, changed any) {
		n++
		tampered, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		if c := only(t, tampered, nil); c.Valid || c.Problem == "" || !strings.Contains(c.Sentence(), "not valid") {
			t.Errorf("%s: %+v", path, c)
		}
	})
	if n < 150 {
		t.Errorf("%d changes were tried, the receipt has more fields", n)
	}
}

// TestAKeyIsNotTakenForAnother: the envelope may name any key, and only the one that
// signed fits.
func TestAKeyIsNotTakenForAnother(t *testing.T) {
	t.Parallel()
	s, err := aSigner(t, 1).Seal(events.SealedReceipt, aReceipt())
	if err != nil {
		t.Fatal(err)
	}
	other, err := aSigner(t, 2).Seal(events.SealedReceipt, aReceipt())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]func(*events.Sealed){
		"the key of another":               func(s *events.Sealed) { s.PublicKey = other.PublicKey },
		"key and ID of another":            func(s *events.Sealed) { s.PublicKey, s.KeyID = other.PublicKey, other.KeyID },
		"the signature of another":         func(s *events.Sealed) { s.Signature = other.Signature },
		"the signature of another receipt": func(s *events.Sealed) { s.Body = bytes.Replace(s.Body, []byte("v1"), []byte("v0"), 1) },
		"an empty signature":               func(s *events.Sealed) { s.Signature = "" },
		"an empty key":                     func(s *events.Sealed) { s.PublicKey = "" },
		"another type":                     func(s *events.Sealed) { s.Type = "rotator/receipt/v2" },
	} {
		changed := s
		c(&changed)
		text, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		if c := only(t, text, nil); c.Valid {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestASignedLieIsNotValid: a receipt whose records do not allow the retirement is not
// valid, whichever key signed it.
func TestASignedLieIsNotValid(t *testing.T) {
	t.Parallel()
	r := aReceipt()
	r.Users[0].Accepts = append(r.Users[0].Accepts, "v1")
	for i, u := range r.Users {
		if u.State == "live" {
			r.Users[i].VersionID = "v1"
		}
	}
	if c := only(t, sealed(t, aSigner(t, 1), r), nil); c.Valid || !strings.Contains(c.Problem, "do not allow the retirement") {
		t.Errorf("got %+v", c)
	}
}

// TestARemovedReceiptShows: each names the one before it.
func TestARemovedReceiptShows(t *testing.T) {
	t.Parallel()
	signer := aSigner(t, 1)
	var chain [][]byte
	for i := range 3 {
		r := aReceipt()
		r.DecidedAt = r.DecidedAt.Add(time.Duration(i) * time.Second)
		r.Previous = nil
		if i > 0 {
			s, err := events.ParseSealed(chain[i-1])
			if err != nil {
				t.Fatal(err)
			}
			d, err := s.Digest()
			if err != nil {
				t.Fatal(err)
			}
			r.Previous = &events.ReceiptLink{Seq: uint64(i), SHA256: d}
		}
		chain = append(chain, sealed(t, signer, r))
	}
	other := aReceipt()
	other.SecretID = "OTHER"
	for name, tt := range map[string]struct {
		texts [][]byte
		valid bool
	}{
		"all":                                {chain, true},
		"the latest":                         {chain[1:], true},
		"with one about another secret":      {[][]byte{chain[0], sealed(t, signer, other), chain[1]}, true},
		"without the one in the middle":      {[][]byte{chain[0], chain[2]}, false},
		"in another order":                   {[][]byte{chain[1], chain[0]}, false},
		"one of them twice":                  {[][]byte{chain[0], chain[0]}, false},
		"something behind them":              {[][]byte{chain[0], []byte("{")}, false},
		"nothing":                            {nil, false},
		"a file that is no receipt":          {[][]byte{[]byte("hello")}, false},
		"another JSON object":                {[][]byte{[]byte("{}")}, false},
		"a receipt without its envelope":     {[][]byte{[]byte(`{"secret_id":"DB"}`)}, false},
		"a list of receipts instead of them": {[][]byte{[]byte("["), chain[0], []byte("]")}, false},
	} {
		all := inspect.CheckReceipts(bytes.Join(tt.texts, []byte("\n")), nil)
		valid := len(all) > 0 && !slices.ContainsFunc(all, func(c inspect.CheckedReceipt) bool { return !c.Valid })
		if valid != tt.valid {
			t.Errorf("%s: %+v", name, all)
		}
	}
}

// TestAStrangersTextIsPlain: what is printed has no control characters.
func TestAStrangersTextIsPlain(t *testing.T) {
	t.Parallel()
	r := aReceipt()
	r.Worker = "\x1b]0;gotcha\a\n"
	if got := only(t, sealed(t, aSigner(t, 1), r), nil).Sentence(); strings.ContainsAny(got, "\x1b\a\n") {
		t.Errorf("got %q", got)
	}
}

// FuzzReceipts takes any text for receipts, and signs it as the body of one, so that
// what is behind the signature is reached: nothing panics, and no text is valid that we
// did not sign.
func FuzzReceipts(f *testing.F) {
	signer, err := events.GenerateSigner() // no text that is kept from before is ours
	if err != nil {
		f.Fatal(err)
	}
	ours := func(key ed25519.PublicKey) bool { return key.Equal(signer.Public()) }
	f.Add([]byte(`{"type":"rotator/receipt/v1","key_id":"","public_key":"","signature":"","body":{}}`))
	f.Add([]byte(`{"secret_id":"A","version_id":"2","retired":["1"],"basis":"proof","rules":{"fence":"1s","grace":"0s"},"users":[{"service":"a","accepts":null}]}`))
	f.Add([]byte(`{"rollout_state":"draining","omitted":{"instances":{"live":1}},"rules":{"presume_ended":{"a":"1h"}}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, c := range inspect.CheckReceipts(text, ours) {
			if _ = c.Sentence(); c.Valid {
				t.Fatalf("valid, and not ours: %s", text)
			}
		}
		s, err := signer.Seal(events.SealedReceipt, json.RawMessage(text))
		if err != nil {
			return
		}
		signed, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		c := only(t, signed, ours)
		if _ = c.Sentence(); c.KeyID != s.KeyID || c.Valid && rollout.Replay(*c.Receipt) != nil {
			t.Fatalf("the signed text is %+v", c)
		}
	})
}
