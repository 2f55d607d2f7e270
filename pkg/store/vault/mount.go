package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/store"
)

// errMount is what every error about the mount itself wraps.
var errMount = fmt.Errorf("%w: mount", store.ErrInvalid)

func (c Config) noMount() error {
	return fmt.Errorf("%w %s: the server shows the token none of this name; set mount to the path of a KV version 2 engine", errMount, c.Mount)
}

// checkMount returns an error unless the mount is a KV version 2 engine. To an
// engine of version 1, the paths of version 2 are secrets like any other: it
// would store values and metadata in them. A server tells a token the mounts in
// which it may do something, and refuses to tell whether there are others. It is
// called where a path of the mount was answered, so that a refusal means that
// there is no such mount.
func (d *Driver) checkMount(ctx context.Context) error {
	got, err := d.call(ctx, func(l *api.Logical) (*api.Secret, error) {
		return l.ReadWithContext(ctx, "sys/internal/ui/mounts/"+d.cfg.Mount)
	})
	switch {
	case errors.Is(err, store.ErrAccessDenied), err == nil && got == nil:
		return d.cfg.noMount()
	case err != nil:
		return fmt.Errorf("read the version of the mount %s: %w", d.cfg.Mount, err)
	}
	return d.cfg.isKV2(got.Data)
}

func (c Config) isKV2(mount map[string]any) error {
	at, _ := mount["path"].(string)
	kind, _ := mount["type"].(string)
	options, _ := mount["options"].(map[string]any)
	switch at = strings.Trim(at, "/"); {
	case at != c.Mount:
		return fmt.Errorf("%w %s: the server has none of this name; %s is a path in the mount %s: set mount to %s", errMount, c.Mount, c.Mount, at, at)
	case kind != "kv" && kind != "generic":
		return fmt.Errorf("%w %s: it is an engine of type %s; set mount to the path of a KV version 2 engine", errMount, c.Mount, kind)
	case options["version"] != "2":
		return fmt.Errorf("%w %s: it is a KV version 1 engine, which keeps no versions; run vault kv enable-versioning %s, or set mount to a KV version 2 engine", errMount, c.Mount, c.Mount)
	default:
		return nil
	}
}

// missing returns the reason why something is not there: what is wrong with the
// mount, else err. It asks the server once, until the mount has proved right.
func (d *Driver) missing(ctx context.Context, err error) error {
	if !d.memory.mountIsRight(0) {
		if wrong := d.confirmMount(ctx); errors.Is(wrong, errMount) {
			return wrong
		}
	}
	return err
}

// explain returns what is wrong with the mount where err says that an answer or a
// request makes no sense, else err.
func (d *Driver) explain(ctx context.Context, err error) error {
	if errors.Is(err, store.ErrInvalid) {
		return d.missing(ctx, err)
	}
	return err
}

// confirmMount checks the mount and remembers that it is right.
func (d *Driver) confirmMount(ctx context.Context) error {
	err := d.checkMount(ctx)
	if err == nil {
		d.memory.confirmMount(time.Now())
	}
	return err
}

// mayMakeState returns an error unless the state of a secret may be written that
// has none yet. Where there is one, a KV version 2 engine has answered it.
func (d *Driver) mayMakeState(ctx context.Context) error {
	if d.memory.mountIsRight(fresh) {
		return nil
	}
	return d.confirmMount(ctx)
}

func (m *memory) confirmMount(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mount = now
}

// mountIsRight reports whether the mount was found right, within the last age
// unless that is 0.
func (m *memory) mountIsRight(age time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.mount.IsZero() && (age == 0 || time.Since(m.mount) < age)
}
