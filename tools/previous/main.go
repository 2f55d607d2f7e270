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
	// Make has it write what a deployment of that version has stored, and end.
	Make bool
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
	// Value is the current value that Make writes. There is another one before it.
	Value []byte
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
	if o.Make {
		return o.make(ctx, nc, bus)
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

// make writes the streams, two versions of each secret, and what announced the
// second.
func (o order) make(ctx context.Context, nc *nats.Conn, bus *events.Bus) error {
	if err := bus.EnsureStreams(ctx, events.StreamOptions{}); err != nil {
		return err
	}
	st, err := o.store(ctx, nc)
	if err != nil {
		return err
	}
	for _, m := range o.Secrets {
		var from, before secret.VersionID
		for i, value := range []string{"The-Value-Before-" + string(m.Value), string(m.Value)} {
			v, err := st.Put(ctx, string(m.ID), store.Write{Token: secret.NewToken(m.ID, from, "a policy", i), From: from, Value: secret.NewValue([]byte(value)), Create: true})
			if err == nil {
				err = st.Promote(ctx, string(m.ID), from, v.ID)
			}
			if err != nil {
				return err
			}
			before, from = from, v.ID
		}
		now := time.Now()
		d := events.Data{SecretID: m.ID, Store: "embedded", VersionID: from, PreviousVersionID: before}
		if err := bus.Publish(ctx, events.Rotated("/previous", now, d)); err != nil {
			return err
		}
	}
	return nil
}

// store opens the embedded store.
func (o order) store(ctx context.Context, nc *nats.Conn) (*store.Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	d, err := natskv.Open(ctx, natskv.Config{JS: js, MasterKey: o.Master})
	if err != nil {
		return nil, err
	}
	return store.New("embedded", d, nil)
}

func (o order) serve(ctx context.Context, nc *nats.Conn, bus *events.Bus) error {
	st, err := o.store(ctx, nc)
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
