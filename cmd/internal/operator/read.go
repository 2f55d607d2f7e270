package operator

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
	"github.com/tradepulse/rotator/pkg/store/env"
)

// environment opens the environment, which is read without a configuration.
func environment() *env.Driver {
	return env.Open(env.Config{Elsewhere: "give the configuration of its store with --config"})
}

// Secrets returns what is known of the secrets with the given ids, or of all,
// where the configuration at path runs.
func Secrets(cmd *cobra.Command, path string, args []string) ([]inspect.Secret, error) {
	r, err := OpenReader(cmd, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Secrets(cmd.Context(), args)
}

// inspect reads the secrets with the given ids, or all. A nil bus is left out. shapes is
// that of [inspect.Inspector].
func (o *Operator) inspect(ctx context.Context, c *catalog.Catalog, stores *store.Set, bus *events.Bus, args []string, shapes bool) ([]inspect.Secret, error) {
	ids, err := ParseIDs(args)
	if err != nil {
		return nil, cli.UsageError{Err: err}
	}
	in := inspect.Inspector{Catalog: c, Stores: stores, Readers: wire.KnownReaders(o.Config), Shapes: shapes}
	if bus != nil {
		in.Bus = bus
	}
	all, err := in.Secrets(ctx, ids...)
	return all, likely(err, c)
}

// ToCheck returns the secrets with the given ids that have to be fit for use, or
// all that the configuration at path lists. Without a path they are in the
// environment, and the required ones are all. The stores stay open until close is
// called.
func ToCheck(cmd *cobra.Command, path string, ids []secret.ID) (secrets []gate.Secret, closeStores func() error, err error) {
	if path == "" {
		d := environment()
		return gate.Select(gate.Required(d), d, ids), d.Close, nil
	}
	o, err := New(cmd, path)
	if err != nil {
		return nil, nil, err
	}
	if len(o.Config.Secrets) == 0 && len(ids) == 0 {
		return nil, nil, cli.UsageError{Err: fmt.Errorf("%s lists no secrets to check: list those that have to be fit for use under secrets:; discovered ones are not checked", path)}
	}
	stores, err := o.Stores(cmd.Context())
	if err != nil {
		return nil, nil, err
	}
	all, err := gate.FromSpecs(stores.Set, stores.Specs())
	if err != nil {
		return nil, nil, errors.Join(err, stores.Close())
	}
	floors := o.Config.Floors()
	for i := range all {
		all[i].MinTTL = floors[all[i].Spec.ID]
	}
	return gate.Select(all, nil, ids), stores.Close, nil
}

// Versions returns how versions of one secret are read: from its store in the
// configuration at path, or without a path from the environment. The stores stay
// open until close is called.
func Versions(cmd *cobra.Command, path string, id secret.ID) (History, error) {
	if path == "" {
		d := environment()
		return History{Read: versionsAt(cmd.Context(), d, string(id)), Close: d.Close}, nil
	}
	o, err := New(cmd, path)
	if err != nil {
		return History{}, err
	}
	stores, err := o.Stores(cmd.Context())
	if err != nil {
		return History{}, err
	}
	e, err := stores.Catalog.Find(cmd.Context(), id)
	if err != nil {
		return History{}, errors.Join(cli.UsageError{Err: fmt.Errorf("--secret: %w", err)}, stores.Close())
	}
	st, ok := stores.Get(e.Spec.Store)
	if !ok {
		return History{}, errors.Join(fmt.Errorf("--secret: there is no store %q", e.Spec.Store), stores.Close())
	}
	m, err := st.Describe(cmd.Context(), e.Spec.StorePath())
	if err != nil {
		return History{}, errors.Join(err, stores.Close())
	}
	return History{Read: versionsAt(cmd.Context(), st, e.Spec.StorePath()), Metadata: m, Close: stores.Close}, nil
}

// History is the versions of a secret.
type History struct {
	// Read returns the value of a version.
	Read func(secret.VersionID) (secret.Value, error)
	// Metadata is zero for a secret in the environment.
	Metadata secret.Metadata
	Close    func() error
}

func versionsAt(ctx context.Context, r gate.Reader, path string) func(secret.VersionID) (secret.Value, error) {
	return func(v secret.VersionID) (secret.Value, error) {
		_, val, err := r.Get(ctx, path, store.Selector{Version: v})
		return val, err
	}
}

// Reader reads secrets again and again where a configuration runs.
type Reader struct {
	o     *Operator
	parts *wire.Parts
	warn  *once
}

// once writes each line once.
type once struct {
	to   io.Writer
	said map[string]bool
}

func (o *once) Write(line []byte) (int, error) {
	if o.said[string(line)] {
		return len(line), nil
	}
	o.said[string(line)] = true
	return o.to.Write(line)
}

// OpenReader connects to what runs with the configuration at path.
func OpenReader(cmd *cobra.Command, path string) (*Reader, error) {
	o, err := New(cmd, path)
	if err != nil {
		return nil, err
	}
	parts, err := o.connect(cmd.Context())
	if err != nil {
		return nil, err
	}
	return &Reader{o, parts, &once{cmd.ErrOrStderr(), map[string]bool{}}}, nil
}

// Secrets returns what is known of the secrets with the given ids, or of all. It asks the
// programs on the bus each time; what they warn of is written once. Without a quorum it returns what the stores say, and an error that wraps [events.ErrNoQuorum].
func (r *Reader) Secrets(ctx context.Context, args []string) ([]inspect.Secret, error) {
	if err := r.o.programs(ctx, r.parts, r.warn); err != nil {
		return nil, err
	}
	bus := r.parts.Bus
	lost := bus.Quorum(ctx)
	if lost != nil {
		bus = nil
	} else if err := listedOnce(ctx, r.parts); err != nil {
		fmt.Fprintf(r.warn, "warning: secrets that the configuration listed once may be missing here: %v\n", err)
	}
	all, err := r.o.inspect(ctx, r.parts.Catalog, r.parts.Stores, bus, args, false)
	return all, errors.Join(err, lost)
}

// Close closes what was opened.
func (r *Reader) Close() error { return r.parts.Close() }
