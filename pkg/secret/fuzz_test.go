package secret_test

import (
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

func FuzzID(f *testing.F) {
	for _, seed := range []string{"", "TRADEPULSE_AUDIT_SECRET_ID", "prod/db", "prod=2Fdb", "a=", "=2f", "=00", "a.b", "ä"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := secret.ParseID(s); err == nil {
			if back, err := secret.IDFromKey(id.Key()); err != nil || back != id {
				t.Errorf("%q becomes %q becomes %q, %v", id, id.Key(), back, err)
			}
		} else if !errors.Is(err, secret.ErrInvalidID) {
			t.Error(err)
		}
		if id, err := secret.IDFromKey(secret.Key(s)); err == nil {
			if id.Validate() != nil || string(id.Key()) != s {
				t.Errorf("key %q becomes %q becomes %q", s, id, id.Key())
			}
		} else if !errors.Is(err, secret.ErrInvalidID) {
			t.Error(err)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte(`{}`), uint64(1))
	f.Add([]byte(`{"min_length":4,"length":4,"alphabet":"aA1!\"#$%&'()*+,","exclude":"$"}`), uint64(2))
	f.Add([]byte(`{"classes":["upper","digit"],"symbols":"-","max_length":20}`), uint64(3))
	f.Add([]byte(`{"encoding":"base64","bytes":17,"field":"/a"}`), uint64(4))
	f.Add([]byte(`{"encoding":"uuid","field":"/a~1b/0"}`), uint64(5))
	f.Fuzz(func(t *testing.T, config []byte, seed uint64) {
		var p secret.Policy
		if json.Unmarshal(config, &p) != nil {
			return
		}
		err := p.Validate()
		v, generateErr := p.Generate(seeded(seed))
		if err != nil {
			if !errors.Is(err, secret.ErrInvalidPolicy) || !errors.Is(generateErr, secret.ErrInvalidPolicy) || v.Len() > 0 {
				t.Errorf("%s: %v, %v", config, err, generateErr)
			}
			_, _ = p.Check(value(string(config))), p.Hash()
			return
		}
		if generateErr != nil {
			t.Fatalf("%s: %v", config, generateErr)
		}
		p.Field = ""
		if err := p.Check(v); err != nil {
			t.Errorf("%s: %v", config, err)
		}
	})
}

func FuzzField(f *testing.F) {
	f.Add([]byte(`{"a":{"b":["x", "y"]}}`), "/a/b/1")
	f.Add([]byte(`{"a":null,"a":"\u0061" }`), "/a")
	f.Add([]byte(`[["]"],"{"]`), "/0/0")
	f.Fuzz(func(t *testing.T, doc []byte, field string) {
		p := secret.Policy{Field: field, MinLength: 4, Length: 4}
		if field == "" || p.Validate() != nil {
			return
		}
		v, err := p.Next(nil, secret.NewValue(doc))
		if err != nil {
			return
		}
		if err := p.Check(v); err != nil {
			t.Errorf("%q becomes %q at %q: %v", doc, v.Reveal(), field, err)
		}
		if !json.Valid(v.Reveal()) {
			t.Errorf("%q becomes %q", doc, v.Reveal())
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	f.Add("0 3 * * *", "Europe/Berlin", int64(time.Hour), int64(0))
	f.Add("*/5 1-2,4 L FEB SUN#2", "America/New_York", int64(1), int64(1772953200e9))
	f.Add("0 0 29 2 *", "", int64(secret.MaxWindow), int64(-1))
	f.Add("TZ=UTC 0 3 * * *", "Local", int64(0), int64(math.MaxInt64))
	f.Add("70-5 3 ? * *", "Asia/Tehran", int64(1), int64(math.MinInt64))
	f.Fuzz(func(t *testing.T, cron, zone string, d, ns int64) {
		w, err := secret.ParseWindow(cron, zone, time.Duration(d))
		if err != nil {
			if !errors.Is(err, secret.ErrInvalidWindow) {
				t.Error(err)
			}
			return
		}
		at := time.Unix(0, ns)
		next := w.Next(at)
		if !next.After(at) || !w.Contains(next) || !w.Contains(next.Add(w.Next(next).Sub(next))) {
			t.Errorf("%s after %s opens at %s", w, at, next)
		}
		if open, ok := secret.NextOpen([]secret.Window{w}, at); !ok || w.Contains(at) != open.Equal(at) {
			t.Errorf("%s at %s is open %v, next %s", w, at, w.Contains(at), open)
		}
	})
}
