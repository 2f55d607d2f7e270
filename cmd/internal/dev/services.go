package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// load is how often each demo service uses its secret.
const load = 25 * time.Millisecond

// lease is the shortest there is: no version is retired before it is over.
const lease = time.Second

// services runs the demo services once their secrets exist.
func (n *node) services(ctx context.Context) error {
	for _, spec := range n.specs {
		if err := n.exists(ctx, spec); err != nil {
			return ended(ctx, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return n.hear(ctx) })
	g.Go(func() error { return n.service(ctx, auditService, auditID, n.auditLoad) })
	g.Go(func() error { return n.admins(ctx) })
	return g.Wait()
}

// exists waits until the secret has a current version.
func (n *node) exists(ctx context.Context, spec secret.Spec) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if meta, err := n.stores.Describe(ctx, spec.Store, spec.StorePath()); err == nil && meta.Current().ID != "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// hear counts the notifications that reach the services.
func (n *node) hear(ctx context.Context) error {
	for _, s := range []string{auditService, adminService} {
		stop, err := n.bus.SubscribeNotify(ctx, s, func(context.Context, events.Delivery) { n.board.notified() })
		if err != nil {
			return ended(ctx, err)
		}
		context.AfterFunc(ctx, stop)
	}
	<-ctx.Done()
	return nil
}

// service runs one service: a Manager on its secret, which it checks at each use,
// and its load.
func (n *node) service(ctx context.Context, name string, id secret.ID, load func(context.Context, *client.Manager) error) error {
	ids := []secret.ID{id}
	m, err := client.New(ctx, client.Config{
		Service: name, Instance: "demo", Source: n.source, IDs: ids, CheckedAtUse: ids, Bus: n.bus, Lease: lease, Logger: n.o.Logger,
	})
	if err != nil {
		return ended(ctx, err)
	}
	err = load(ctx, m)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	return errors.Join(err, m.Close(closing))
}

// auditLoad signs an audit record at every tick.
func (n *node) auditLoad(ctx context.Context, m *client.Manager) error {
	keys, err := client.NewKeyring(ctx, m, auditID, client.KeysVerifyHistory, 0)
	if err != nil {
		return err
	}
	defer keys.Close()
	log, err := client.NewAuditLogger(ctx, m, keys, n.audit)
	if err != nil {
		return err
	}
	defer log.Close()
	return every(ctx, load, func(i int) error {
		return log.Log("order.placed", map[string]string{"order": fmt.Sprint(i), "user": "demo"})
	})
}

// adminLoad calls an HTTP interface behind the bearer token at every tick.
func (n *node) adminLoad(ctx context.Context, m *client.Manager, i *instance) error {
	auth, err := client.NewTokenAuthenticator(ctx, m, adminID, "tradepulse-admin", time.Second)
	if err != nil {
		return err
	}
	defer auth.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{
		ReadHeaderTimeout: 5 * time.Second,
		Handler:           auth.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })),
	}
	go func() { _ = srv.Serve(l) }()   // it ends with Close below
	defer func() { _ = srv.Close() }() // it closes the listener
	origin := "http://" + l.Addr().String()
	bearer, err := client.NewBearerTransport(m, adminID, origin, nil)
	if err != nil {
		return err
	}
	caller := &http.Client{Transport: bearer}
	return every(ctx, load, func(int) error {
		if err := call(ctx, caller, origin+"/admin"); err != nil && !i.hurt.Load() {
			return err
		}
		return nil
	})
}

// call makes one request with the current token.
func call(ctx context.Context, caller *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := caller.Do(req)
	if err != nil {
		return ended(ctx, err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return ended(ctx, err)
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("dev: the admin interface answered %s to the current token", resp.Status)
	}
	return nil
}

// every calls f at every tick until ctx ends or f fails.
func every(ctx context.Context, d time.Duration, f func(i int) error) error {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for i := 1; ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := f(i); err != nil {
				return err
			}
		}
	}
}

// verify checks the run: every rollout but those in flight has converged, and
// every audit record verifies with the versions that the store kept.
func (n *node) verify(ctx context.Context) error {
	var errs []error
	if open := n.board.unconverged(); len(open) > 0 && !n.faults.used.Load() {
		errs = append(errs, fmt.Errorf("%w: %d rollouts did not converge: %v", ErrUnfinished, len(open), open))
	}
	if _, err := n.audit.Seek(0, io.SeekStart); err != nil {
		return errors.Join(append(errs, err)...)
	}
	records, _, err := client.VerifyAudit(n.audit, func(v secret.VersionID) (secret.Value, error) {
		_, val, err := n.source.Read(ctx, auditID, store.Selector{Version: v})
		return val, err
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("%w: %w", ErrUnfinished, err))
	}
	n.board.verified(records)
	return errors.Join(errs...)
}
