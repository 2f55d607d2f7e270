package events

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/pkg/secret"
)

// FuzzDecode signs whatever it is given with a trusted key, so that what is
// behind the signature is reached: nothing panics, and what is taken for an
// event encodes to the same event again.
func FuzzDecode(f *testing.F) {
	signer, err := GenerateSigner()
	if err != nil {
		f.Fatal(err)
	}
	b := &Bus{cfg: Config{Signer: signer, Verifier: NewVerifier(signer.Public()), MaxEventSize: defaultMaxEventSize}}
	f.Add("id", "secret.rotated", "/source", "prod/db", "2026-01-01T00:00:00Z", []byte(`{"secret_id":"prod/db","version_id":"v1"}`))
	f.Add("id", "secret.rollout", "/source", "a", "2026-01-01T00:00:00.5+02:00", []byte(`{"secret_id":"a","rollout":{"state":"stalled","blocking":[{"reason":"failed"}]}}`))
	f.Add("id", "secret.discovered", "/source", "a", "2026-01-01T00:00:00Z", []byte(`{"secret_id":"a","store":"main","discovered":{"path":"p/a","services":["api"],"grace_ms":1000}}`))
	f.Add("id", "secret.proof_contradicted", "/source", "a", "2026-01-01T00:00:00Z", []byte(`{"secret_id":"a","contradiction":{"kind":"joined_late","service":"api","incarnation":"x","client":"a b"}}`))
	f.Add("", "sweep.due", "", "", "never", []byte(`{`))
	f.Fuzz(func(t *testing.T, id, kind, source, subject, at string, body []byte) {
		h := nats.Header{}
		for k, v := range map[string]string{
			headerSpecVersion: specVersion, headerID: id, headerSource: source, headerType: kind, headerSubject: subject,
			headerTime: at, headerContentType: contentJSON, headerKeyID: signer.use().id,
		} {
			h.Set(k, v)
		}
		h.Set(headerSignature, signer.use().sign(canonical(attributes(h), body)))
		on := b.cfg.Names.Event(Type(kind), secret.ID(subject).Key())
		e, err := b.decode(on, h, body)
		if err != nil {
			return
		}
		m, err := b.encode(on, e)
		if err != nil {
			t.Fatalf("what was decoded does not encode: %v", err)
		}
		if again, err := b.decode(on, m.Header, m.Data); err != nil || again.ID != e.ID || !again.Time.Equal(e.Time) || again.Data.VersionID != e.Data.VersionID {
			t.Fatalf("it does not come back: %v", err)
		}
		if _, err := b.decode(on+".x", h, body); err == nil {
			t.Fatal("it is taken on another subject")
		}
	})
}

// FuzzReport takes any body for a report: nothing panics, what is understood is
// about the instance that its subject names, and nothing of the body is in the
// text that says why it is not.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"service":"api","instance":"one","secrets":[{"secret_id":"a","version_id":"v1","status":"applied"}]}`))
	f.Add([]byte(`{"service":"api","instance":"one","secrets":[{"secret_id":"a","version_id":"v1","status":"activating"}]}`))
	f.Add([]byte(`{"service":"api","instance":"two","secrets":[{"secret_id":"a\nb"}]}`))
	f.Add([]byte(``))
	f.Add([]byte(`[]`))
	texts := map[string]bool{}
	for _, body := range []string{`[`, `{"service":"_","instance":"one","secrets":[{"secret_id":"a\nb"}]}`, `{"service":"api","instance":"two"}`} {
		_, err := decodeReport("api", "one", []byte(body))
		texts[err.Error()] = true
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := decodeReport("api", "one", body)
		if err == nil && (r.Service != "api" || r.Instance != "one") {
			t.Fatalf("taken for a report of %s/%s", r.Service, r.Instance)
		}
		if err != nil && !texts[err.Error()] && len(body) <= MaxReportSize {
			t.Fatalf("the text %q is not one of the constant ones", err)
		}
	})
}

// TestTheBytesThatAreSigned pins the canonical form: clients in other languages
// verify it.
func TestTheBytesThatAreSigned(t *testing.T) {
	t.Parallel()
	h := nats.Header{}
	h.Set(headerSpecVersion, "1.0")
	h.Set(headerID, "1")
	h.Set(headerTime, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339Nano))
	want := "rotator/event/v1\nspecversion:3:1.0\nid:1:1\nsource:0:\ntype:0:\nsubject:0:\ntime:20:2026-01-01T00:00:00Z\ndatacontenttype:0:\nkeyid:0:\ndata:2:{}\n"
	if got := string(canonical(attributes(h), []byte("{}"))); got != want {
		t.Errorf("signed\n%q, want\n%q", got, want)
	}
}
