package readers

import (
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
)

const read = `{"time":"2026-03-01T14:02:00.5Z","type":"response","auth":{"accessor":"hmac-sha256:2","display_name":"token"},` +
	`"request":{"operation":"read","namespace":{"id":"x","path":"team-a/"},"path":"kv/data/pay/orders/db","remote_address":"192.0.2.7"},` +
	`"response":{"data":{"data":{"value":"hmac-sha256:3"},"metadata":{"version":12}}}}`

func TestParse(t *testing.T) {
	t.Parallel()
	m := Mount{Store: "vault", Namespace: "team-a", Path: "/kv/", Prefix: "pay"}
	for name, c := range map[string]struct {
		change         []string // old and new texts
		at, identity   string   // "" for no read
		entity, notice string
	}{
		"a token without an entity":       {nil, "orders/db", "token/hmac-sha256:2", "", ""},
		"a role of an entity":             {[]string{`"display_name":"token"`, `"display_name":"jwt-ci","entity_id":"7","metadata":{"role":"deploy"}`}, "orders/db", "jwt-ci/deploy", "entity/7", ""},
		"an entity without a role":        {[]string{`"display_name":"token"`, `"display_name":"kubernetes-pay-api","entity_id":"7"`}, "orders/db", "kubernetes-pay-api", "entity/7", ""},
		"no identity at all":              {[]string{`"accessor":"hmac-sha256:2","display_name":"token"`, ``}, "orders/db", "a token that the log does not name", "", ""},
		"a path that is not normal":       {[]string{"pay/orders/db", "pay//orders/./db/"}, "orders/db", "token/hmac-sha256:2", "", ""},
		"a path out of the prefix":        {[]string{"pay/orders/db", "payments/db"}, "", "", "", ""},
		"the prefix itself":               {[]string{"pay/orders/db", "pay"}, "", "", "", ""},
		"another mount":                   {[]string{"kv/data/", "kv2/data/"}, "", "", "", ""},
		"another namespace":               {[]string{"team-a/", "team-b/"}, "", "", "", ""},
		"a request that has no answer":    {[]string{`"type":"response"`, `"type":"request"`}, "", "", "", ""},
		"a write":                         {[]string{`"operation":"read"`, `"operation":"update"`}, "", "", "", ""},
		"a read that was refused":         {[]string{`"type":"response"`, `"type":"response","error":"permission denied"`}, "", "", "", ""},
		"a version that is deleted":       {[]string{`{"value":"hmac-sha256:3"}`, `null`}, "", "", "", ""},
		"a display name in colour":        {[]string{`"display_name":"token"`, `"display_name":"\u001b[31m","entity_id":"7"`}, "orders/db", "?[31m#", "entity/7", "prefix"},
		"a display name that is too long": {[]string{`"display_name":"token"`, `"display_name":"` + strings.Repeat("a", 1000) + `","entity_id":"7"`}, "orders/db", strings.Repeat("a", maxName) + "#", "entity/7", "prefix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, at, ok, known := m.parse([]byte(strings.NewReplacer(c.change...).Replace(read)))
			if !known || ok != (c.identity != "") || at != c.at && ok {
				t.Fatalf("parse() = %+v at %q, %t, understood %t", s, at, ok, known)
			}
			same := s.Identity == c.identity || c.notice == "prefix" && strings.HasPrefix(s.Identity, c.identity)
			if ok && (!same || s.Entity != c.entity || s.VersionID != "12" || s.Address != "192.0.2.7" || s.At.Hour() != 14) {
				t.Errorf("the sighting is %+v", s)
			}
		})
	}
}

// FuzzParse: what can be written to the socket is bounded and printable, or is not
// recorded.
func FuzzParse(f *testing.F) {
	f.Add([]byte(read))
	f.Add([]byte(strings.Replace(read, `"value":"hmac-sha256:3"`, `"value":"A-Value-For-Tests-1"`, 1)))
	f.Add([]byte(`{"type":"response","request":{"path":"/data/"}}`))
	f.Add([]byte(strings.Replace(read, "192.0.2.7", "fe80::1%"+strings.Repeat("z", 200), 1)))
	m := Mount{Store: "vault", Path: "kv"}
	f.Fuzz(func(t *testing.T, line []byte) {
		s, at, ok, _ := m.parse(line)
		if !ok {
			if s != (events.Sighting{}) {
				t.Fatalf("%+v is of no read", s)
			}
			return
		}
		if at == "" || s.Identity == "" || len(s.Identity) > 512 || len(s.Entity) > 512 || len(s.Address) > 128 {
			t.Fatalf("%+v at %q is not bounded", s, at)
		}
		for _, r := range s.Identity + s.Entity + s.Address {
			if r < ' ' || r > '~' {
				t.Fatalf("%+v is not printable", s)
			}
		}
		if s.VersionID != "" && s.VersionID.Validate() != nil {
			t.Fatalf("%+v has a malformed version", s)
		}
	})
}
