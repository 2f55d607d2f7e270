// Package page wires the status page of pkg/statuspage to the parts of a program.
package page

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/httpd"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/statuspage"
)

// Page is the status page of a program, which is served before the program has reached
// its bus.
type Page struct {
	*statuspage.Page
	in atomic.Pointer[inspect.Inspector]
}

// New returns a page that knows no secret before [Page.Show]. note is that of
// [statuspage.Config].
func New(program, note string, checks []httpd.Check, log *slog.Logger) (*Page, error) {
	return NewActing(program, note, checks, log, nil)
}

// NewActing is New for a page on which persons may act; nil leaves it read only.
func NewActing(program, note string, checks []httpd.Check, log *slog.Logger, acts *Acts) (*Page, error) {
	p := new(Page)
	var (
		err error
		do  statuspage.Acts
	)
	if acts != nil {
		do = acts
	}
	p.Page, err = statuspage.New(statuspage.Config{
		Program: program, Version: cli.Version(), Note: note, Logger: log, Secrets: p.secrets, Acts: do,
		Health: func(ctx context.Context) []statuspage.Check { return health(ctx, checks) },
	})
	return p, err
}

// Show sets from where secrets are read. Nil means that they cannot be read any more.
func (p *Page) Show(in *inspect.Inspector) { p.in.Store(in) }

// Handlers are the paths of the page for [httpd.Config].
func (p *Page) Handlers() map[string]http.Handler {
	out := map[string]http.Handler{}
	for _, pattern := range statuspage.Patterns() {
		out[pattern] = p
	}
	return out
}

func (p *Page) secrets(ctx context.Context) ([]inspect.Secret, error) {
	in := p.in.Load()
	if in == nil {
		return nil, errors.New("the program is not connected yet, or ends")
	}
	return in.Secrets(ctx)
}

// health asks the checks of /readyz.
func health(ctx context.Context, checks []httpd.Check) []statuspage.Check {
	got := httpd.Ask(ctx, checks)
	out := make([]statuspage.Check, len(got.Checks))
	for i, r := range got.Checks {
		out[i] = statuspage.Check{Name: r.Name, OK: r.OK, Reason: r.Reason}
	}
	return out
}
