package vault

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"
)

// defaultKeeps is how many versions an engine keeps whose settings say nothing.
const defaultKeeps = 10

// recheck is how long an answer about the mount counts. A token that is refused logs
// in anew, so it is not asked for often.
const recheck = time.Hour

// mountLimit is how many versions the mount keeps of a secret that says nothing.
type mountLimit struct {
	mu    sync.Mutex
	keeps int // 0 before the mount was asked, and where it says nothing
	at    time.Time
}

// readLimit reads the limit of the mount, unless that is known. A token that may not
// read the settings of the mount gets the default of the engine.
func (d *Driver) readLimit(ctx context.Context) {
	l := &d.mount
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < recheck {
		return
	}
	got, err := d.call(ctx, func(c *api.Logical) (*api.Secret, error) { return c.ReadWithContext(ctx, d.cfg.Mount+"/config") })
	if l.at = time.Now(); err == nil && got != nil {
		l.keeps = asInt(got.Data["max_versions"])
	}
}

// keeps returns how many versions the engine keeps of a secret: its own limit, else
// the limit that its dropped versions show, else that of the mount, if it was read.
func (d *Driver) keeps(i info) int {
	d.mount.mu.Lock()
	defer d.mount.mu.Unlock()
	switch {
	case i.keeps > 0:
		return i.keeps
	case i.oldest > 1:
		return i.current - i.oldest + 1
	case d.mount.keeps > 0:
		return d.mount.keeps
	default:
		return defaultKeeps
	}
}
