// Package env serves secrets from environment variables, for development. It
// is read-only: a variable of a running process cannot be changed from outside, so it
// refuses to rotate.
//
// A path names a variable. A path that ends in _ID, such as
// TRADEPULSE_AUDIT_SECRET_ID, is an identifier, whose value is the first there
// is of: the variable that TRADEPULSE_AUDIT_SECRET_ID names, the variable
// without _ID. The text of a variable that ends in _ID is never a value: it may
// be a path in another store, and everyone who sees the deployment sees it. A variable
// that is set to nothing is not set. A path that is no name of a variable, such as
// orders/db-password, is looked up in upper case with _ for other characters,
// ORDERS_DB_PASSWORD: no shell can set the other.
//
// <path>_TTL_SECONDS sets the lifetime, or else the variable of the value with
// _TTL_SECONDS behind it.
package env

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// Config says what the store serves.
type Config struct {
	// Paths are what List yields.
	Paths []string
	// Lookup finds a variable. Nil means os.LookupEnv.
	Lookup func(string) (string, bool)
	// Elsewhere is what else there is to do, besides setting a variable, about an
	// identifier that is set and leads to no value: how to say of which store it
	// is a path. Without it, to let it name a variable.
	Elsewhere string
	// Started is when values count as created. Zero means now.
	Started time.Time
}

// Driver is the store.
type Driver struct {
	cfg Config

	mu   sync.Mutex
	seen map[string]*version // :: path → what was last seen there
}

// version counts how often a value was seen to change, which is all that its id
// tells.
type version struct {
	n     int
	value secret.Value
	at    time.Time
}

var _ store.Driver = (*Driver)(nil)

// Open returns the store.
func Open(cfg Config) *Driver {
	if cfg.Lookup == nil {
		cfg.Lookup = os.LookupEnv
	}
	if cfg.Started.IsZero() {
		cfg.Started = time.Now()
	}
	return &Driver{cfg: cfg, seen: map[string]*version{}}
}

// identifier is what the names of variables end in that say where a value is.
const identifier = "_ID"

// variable returns the value of a path and the name of the variable that has it.
func (d *Driver) variable(path string) (name, value string, err error) {
	names := []string{path}
	if shell := shellName(path); shell != path {
		names = append(names, shell)
	}
	short, isID := strings.CutSuffix(path, identifier)
	if isID {
		target, _ := d.cfg.Lookup(path)
		names = []string{target, short}
	}
	for _, name := range names {
		if strings.HasSuffix(name, identifier) {
			continue
		}
		if v, ok := d.cfg.Lookup(name); ok && v != "" {
			return name, v, nil
		}
	}
	// The text of an identifier is never shown: an operator may have put a value there.
	switch {
	case !isID:
		shell := names[len(names)-1]
		err = &unset{fmt.Sprintf("the environment variable %s is not set", shell), "set " + shell}
	case names[0] == "":
		err = &unset{fmt.Sprintf("neither %s nor %s is set", short, path), "set " + short}
	default:
		elsewhere := cmp.Or(d.cfg.Elsewhere, "let "+path+" name a variable that is set")
		err = &unset{
			fmt.Sprintf("%s is set and names no variable that has a value, and %s is not set", path, short),
			fmt.Sprintf("set %s, or %s", short, elsewhere),
		}
	}
	return "", "", err
}

// shellName returns the name of the variable of a path, which is the path itself if a
// shell can set it.
func shellName(path string) string {
	if path != "" && strings.IndexFunc(path, notInName) < 0 && (path[0] < '0' || path[0] > '9') {
		return path
	}
	name := strings.Map(func(r rune) rune {
		if notInName(r) {
			return '_'
		}
		return r
	}, strings.ToUpper(path))
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

func notInName(r rune) bool {
	return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}

// unset is the error for a path that leads to no value.
type unset struct{ message, remedy string }

func (e *unset) Error() string { return store.ErrNotFound.Error() + ": " + e.message }
func (e *unset) Unwrap() error { return store.ErrNotFound }

// Remedy says what to do.
func (e *unset) Remedy() string { return e.remedy }

// ttl returns the lifetime of the value of a path that a variable holds, 0 for
// none.
func (d *Driver) ttl(path, variable string) (time.Duration, error) {
	for _, name := range []string{secret.TTLVariable(path), secret.TTLVariable(variable)} {
		text, ok := d.cfg.Lookup(name)
		if !ok {
			continue
		}
		ttl, err := secret.ParseTTLSeconds(text)
		if err != nil {
			return 0, fmt.Errorf("%w: %s %w", store.ErrLifetime, name, err)
		}
		return ttl, nil
	}
	return 0, nil
}

// read returns the value beside the error when only its lifetime is wrong.
func (d *Driver) read(ctx context.Context, path string) (secret.Version, secret.Value, time.Duration, error) {
	if err := ctx.Err(); err != nil {
		return secret.Version{}, secret.Value{}, 0, err
	}
	name, text, err := d.variable(path)
	if err != nil {
		return secret.Version{}, secret.Value{}, 0, err
	}
	val := secret.NewValue([]byte(text))
	ttl, err := d.ttl(path, name)
	if err != nil {
		return secret.Version{}, val, 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	v := d.seen[path]
	switch {
	case v == nil:
		v = &version{n: 1, value: val, at: d.cfg.Started}
	case !v.value.Equal(val):
		v = &version{n: v.n + 1, value: val, at: time.Now()}
	}
	d.seen[path] = v
	out := secret.Version{ID: secret.VersionID(fmt.Sprintf("env-%d", v.n)), Stage: secret.StageCurrent, CreatedAt: v.at}
	if ttl > 0 {
		out.NotAfter = v.at.Add(ttl)
	}
	return out, val, ttl, nil
}

// Describe implements [store.Driver].
func (d *Driver) Describe(ctx context.Context, path string) (secret.Metadata, error) {
	v, _, ttl, err := d.read(ctx, path)
	if err != nil {
		return secret.Metadata{}, err
	}
	return secret.Metadata{Path: path, Versions: []secret.Version{v}, TTL: ttl}, nil
}

// List implements [store.Driver]. Variables that are not set are left out.
func (d *Driver) List(ctx context.Context) iter.Seq2[secret.Metadata, error] {
	return func(yield func(secret.Metadata, error) bool) {
		for _, path := range d.cfg.Paths {
			if _, _, err := d.variable(path); err != nil {
				continue
			}
			m, err := d.Describe(ctx, path)
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Get implements [store.Driver]. With [store.ErrLifetime] it returns the value
// too, so that a check can say all that is wrong at once; it is not for use.
func (d *Driver) Get(ctx context.Context, path string, sel store.Selector) (secret.Version, secret.Value, error) {
	v, val, _, err := d.read(ctx, path)
	if err != nil {
		return secret.Version{}, val, err
	}
	if _, err := sel.Find(secret.Metadata{Versions: []secret.Version{v}}); err != nil {
		return secret.Version{}, secret.Value{}, err
	}
	return v, val, nil
}

func readOnly(path string) error {
	return fmt.Errorf("%w: %s is an environment variable, which cannot be changed from outside; move the secret to a store that can be written", store.ErrReadOnly, path)
}

// Put implements [store.Driver]: it refuses.
func (d *Driver) Put(_ context.Context, path string, _ store.Write) (secret.Version, error) {
	return secret.Version{}, readOnly(path)
}

// Promote implements [store.Driver]: it refuses.
func (d *Driver) Promote(_ context.Context, path string, _, _ secret.VersionID) error {
	return readOnly(path)
}

// Retire implements [store.Driver]: it refuses.
func (d *Driver) Retire(_ context.Context, path string, _ secret.VersionID, _ secret.RetireMode) error {
	return readOnly(path)
}

// Close implements [store.Driver].
func (d *Driver) Close() error { return nil }
