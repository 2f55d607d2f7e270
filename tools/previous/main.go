// Command previous is a service, or a notifier, of the version of this project before
// the one that is tested. Its module requires that version from the folder proxy, as
// a module proxy would serve it.
//
// The environment variable ROTATOR_PREVIOUS has its order, a JSON object. It runs
// until it gets SIGTERM.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/client"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/notify"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// order says what to run, and on what.
type order struct {
	// Service is the name of the service; "" runs a notifier.
	Service  string
	Instance string
	URL      string
	// Master opens the embedded store, and Signer is the seed of the signing key.
	Master, Signer []byte
	Secrets        []managed
}

// managed is a secret in the embedded store.
type managed struct {
	ID       secret.ID
	TTL      time.Duration
	Services []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var o order
	err := json.Unmarshal([]byte(os.Getenv("ROTATOR_PREVIOUS")), &o)
	if err == nil {
		err = o.run(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "previous:", err)
		os.Exit(1)
	}
}

func (o order) run(ctx context.Context) error {
	nc, err := nats.Connect(o.URL)
	if err != nil {
		return err
	}
	defer nc.Close()
	signer, err := events.NewSigner(ed25519.NewKeyFromSeed(o.Signer))
	if err != nil {
		return err
	}
	bus, err := events.New(nc, events.Config{Source: "/previous", Signer: signer, Verifier: events.NewVerifier(signer.Public())})
	if err != nil {
		return err
	}
	if o.Service == "" {
		return o.notify(ctx, bus)
	}
	return o.serve(ctx, nc, bus)
}

func (o order) specs() []secret.Spec {
	var all []secret.Spec
	for _, m := range o.Secrets {
		all = append(all, secret.Spec{ID: m.ID, Store: "embedded", TTL: m.TTL, Services: m.Services})
	}
	return all
}

func (o order) notify(ctx context.Context, bus *events.Bus) error {
	c, err := catalog.New(catalog.Config{Specs: o.specs()})
	if err != nil {
		return err
	}
	n, err := notify.New(notify.Config{Bus: bus, Catalog: c, Source: "/previous/notifier"})
	if err != nil {
		return err
	}
	return n.Run(ctx)
}

func (o order) serve(ctx context.Context, nc *nats.Conn, bus *events.Bus) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	d, err := natskv.Open(ctx, natskv.Config{JS: js, MasterKey: o.Master})
	if err != nil {
		return err
	}
	st, err := store.New("embedded", d, nil)
	if err != nil {
		return err
	}
	source, err := client.FromSpecs([]*store.Store{st}, o.specs())
	if err != nil {
		return err
	}
	var ids []secret.ID
	for _, m := range o.Secrets {
		ids = append(ids, m.ID)
	}
	m, err := client.New(ctx, client.Config{Service: o.Service, Instance: o.Instance, Source: source, IDs: ids, Bus: bus, Lease: time.Second})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return m.Close(context.WithoutCancel(ctx))
}
