package setup

import (
	"context"
	"fmt"
	"strings"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/env"
)

const envStore = "env"

// envProvider reads the environment. The store itself takes the text of an
// identifier for the value when nothing else is set; a service does not, because
// that text is a path, which everybody may see who sees the deployment.
type envProvider struct{}

func (envProvider) Name() string { return envStore }

func (envProvider) Open(_ context.Context, s *Session) (store.Driver, error) {
	d := env.Open(env.Config{Lookup: func(name string) (string, bool) {
		text, ok := s.Lookup(name)
		if ok && strings.HasSuffix(name, "_ID") {
			if target, _ := s.Lookup(text); text == "" || target == "" {
				return "", false
			}
		}
		return text, ok
	}})
	return identified{Driver: d, lookup: s.Lookup}, nil
}

// identified says of an identifier that is set and leads nowhere that this is so.
type identified struct {
	store.Driver

	lookup func(string) (string, bool)
}

// Get implements [store.Driver].
func (d identified) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	v, val, err := d.Driver.Get(ctx, path, sel)
	if text, _ := d.lookup(path); err != nil && text != "" && strings.HasSuffix(path, "_ID") && sel == (store.Selector{}) {
		err = &astray{err: err, id: path}
	}
	return v, val, err
}

// astray is the error for an identifier that is of another store.
type astray struct {
	err error
	id  string
}

func (e *astray) Error() string {
	return fmt.Sprintf("%s: %s is set and names no variable", store.ErrNotFound, e.id)
}

func (e *astray) Unwrap() error { return e.err }

// Remedy says what to do.
func (e *astray) Remedy() string {
	return fmt.Sprintf("set %s, or say with store: or ROTATOR_STORE of which store it is", strings.TrimSuffix(e.id, "_ID"))
}
