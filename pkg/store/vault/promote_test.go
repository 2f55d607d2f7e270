package vault_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/tradepulse/rotator/internal/serverstest"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// TestWithdrawnAtTheSameMoment withdraws a pending version, or puts another in its
// place, after Promote has read the state and before it writes. The engine cannot
// refuse that, so the caller has to hear of it.
func TestWithdrawnAtTheSameMoment(t *testing.T) {
	t.Parallel()
	bao := serverstest.StartBao(t)
	other := open(t, asRoot(bao))
	for _, from := range []secret.VersionID{"", "1"} {
		for how, take := range map[string]func(string, secret.VersionID) error{
			"retired": func(path string, p secret.VersionID) error {
				return other.Retire(t.Context(), path, p, secret.RetireDelete)
			},
			"replaced": func(path string, p secret.VersionID) error {
				w := write(path, 3, from)
				w.Replace = p
				_, err := other.Put(t.Context(), path, w)
				return err
			},
		} {
			path := "withdrawn/" + how + string(from)
			if from != "" {
				rotate(t, other, path, 1)
			}
			var p secret.Version
			cfg := asRoot(bao)
			cfg.Transport = beforeWrite("/v1/secret/data/"+path, func() error { return take(path, p.ID) })
			d := open(t, cfg)
			var err error
			if p, err = d.Put(t.Context(), path, write(path, 2, from)); err != nil {
				t.Fatal(err)
			}
			err = d.Promote(t.Context(), path, from, p.ID)
			if err == nil || errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "has become current") {
				t.Errorf("%s after version %q: promote returned %v", how, from, err)
			}
		}
	}
}

// beforeWrite returns a transport that calls f before the first write of a path.
func beforeWrite(path string, f func() error) http.RoundTripper {
	once := sync.OnceValue(f)
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if r.Method == http.MethodPut && r.URL.Path == path {
			if err := once(); err != nil {
				return nil, err
			}
		}
		return http.DefaultTransport.RoundTrip(r)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
