package client

import (
	"context"
	"database/sql/driver"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Connector opens connections of a database with the credentials that are
// current at that moment: sql.OpenDB(connector). Connections that are open stay
// so; give the pool a SetConnMaxLifetime below the secret's grace period, so that
// none outlives the credentials that it was opened with.
//
// When a connection is refused, the store is asked whether the credentials have
// been rotated meanwhile, and if so it is tried once more.
//
// It checks at each login whether the credentials may still be used, and fails past
// the fence, see [FenceError].
type Connector struct {
	m   *Manager
	h   *Handle
	drv driver.Driver
	dsn func(secret.Value) (string, error)
}

var _ driver.Connector = (*Connector)(nil)

// NewConnector returns a Connector for a secret of m. dsn makes the name that
// drv takes of a value.
func NewConnector(m *Manager, id secret.ID, drv driver.Driver, dsn func(secret.Value) (string, error)) *Connector {
	return &Connector{m: m, h: m.handle(id), drv: drv, dsn: dsn}
}

// Driver implements [driver.Connector].
func (c *Connector) Driver() driver.Driver { return c.drv }

// Connect implements [driver.Connector]. It logs in twice at most. Its errors do not
// quote the value, whatever the driver says.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := c.h.e.check(ctx); err != nil {
		return nil, err
	}
	cur := c.h.Get()
	conn, err := c.open(ctx, cur.Value)
	if err == nil || !c.m.moved(ctx, c.h, cur) {
		return conn, err
	}
	return c.open(ctx, c.h.Get().Value)
}

// open logs in with one value.
func (c *Connector) open(ctx context.Context, v secret.Value) (driver.Conn, error) {
	name, err := c.dsn(v)
	if err != nil {
		return nil, fmt.Errorf("client: connect with %s: %w", c.h.ID(), secret.Scrub(err, v))
	}
	conn, err := dial(ctx, c.drv, name)
	if err != nil {
		return nil, fmt.Errorf("client: connect with %s: %w", c.h.ID(), secret.Scrub(err, v))
	}
	return conn, nil
}

// dial opens a connection with the context, if the driver can take one.
func dial(ctx context.Context, drv driver.Driver, name string) (driver.Conn, error) {
	dc, ok := drv.(driver.DriverContext)
	if !ok {
		return drv.Open(name)
	}
	c, err := dc.OpenConnector(name)
	if err != nil {
		return nil, err
	}
	return c.Connect(ctx)
}

// moved reports whether there is another version than the one that was refused.
// It asks the store unless that is known, and may wait for a reload until ctx ends.
// A refresh that fails means no.
func (m *Manager) moved(ctx context.Context, h *Handle, refused *Current) bool {
	if h.Get().Version.ID != refused.Version.ID {
		return true
	}
	return m.Refresh(ctx, h.ID()) == nil && h.Get().Version.ID != refused.Version.ID
}
