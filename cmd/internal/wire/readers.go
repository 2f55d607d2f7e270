package wire

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/readers"
	"github.com/tradepulse/rotator/pkg/rollout"
	"github.com/tradepulse/rotator/pkg/store"
)

// KnownReaders returns which identities of the stores the configuration explains, nil
// if reads are not heard of.
func KnownReaders(c *config.Config) *rollout.KnownReaders {
	if !c.WatchesReaders() {
		return nil
	}
	known := &rollout.KnownReaders{Services: make(map[string][]string, len(c.Readers.Services)), Ignore: identities(c.Readers.Ignore)}
	for service, names := range c.Readers.Services {
		known.Services[service] = identities(names)
	}
	for _, a := range c.AuditSources {
		known.Sources = append(known.Sources, rollout.ReadSource{Store: a.Store, Name: a.SourceName()})
	}
	return known
}

func identities(names []string) []string {
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = events.ReaderIdentity(name)
	}
	return out
}

// Reads returns what records the reads that CloudTrail logs, for an intake. Stores are
// those whose secrets an event may be about.
func Reads(bus readers.Bus, known *catalog.Catalog, stores []string) func(context.Context, eventbridge.Read) error {
	r := readers.NewRecorder(bus, known)
	return func(ctx context.Context, read eventbridge.Read) error {
		for _, name := range stores {
			for _, path := range read.Paths {
				id, ok := r.At(name, path)
				if !ok {
					continue
				}
				err := r.Record(ctx, events.Sighting{
					SecretID: id, Store: name, Identity: read.Identity, Address: read.Address, VersionID: read.VersionID, Stage: read.Stage, At: read.At,
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// aboutAWS returns the stores that events of Secrets Manager may be about.
func aboutAWS(c *config.Config) []string {
	return c.With(func(f store.Features) bool { return f.EventSource == eventbridge.SecretsManager })
}

// HearReads hears the audit sources of the configuration until ctx ends, or returns
// nil at once if there are none.
func (p *Parts) HearReads(ctx context.Context, c *config.Config, log *slog.Logger) error {
	g, ctx := errgroup.WithContext(ctx)
	r := readers.NewRecorder(p.Bus, p.Catalog)
	for _, a := range c.AuditSources {
		e, _ := c.Stores[a.Store].Engine()
		s, err := readers.ListenSocket(ctx, readers.SocketConfig{
			Name: a.SourceName(), Listen: a.Listen, Mount: readers.Mount{Store: a.Store, Namespace: e.Namespace, Path: e.Mount, Prefix: e.Prefix},
			Tolerate: time.Duration(a.Tolerate), Recorder: r, Sources: p.Bus, Logger: log,
		})
		if err != nil {
			return err
		}
		g.Go(func() error { return s.Run(ctx) })
	}
	return g.Wait()
}

// Identify records as whom this program reads its stores until ctx ends, or returns
// nil at once if reads are not heard of.
func (p *Parts) Identify(ctx context.Context, c *config.Config, log *slog.Logger) error {
	if !c.WatchesReaders() {
		return nil
	}
	var all []readers.Identified
	for _, st := range p.Stores.All() {
		all = append(all, st)
	}
	return readers.Identify(ctx, p.Bus, all, log)
}

// CountReaders counts unknown readers until ctx ends, or returns nil at once if reads
// are not heard of.
func (p *Parts) CountReaders(ctx context.Context, c *config.Config, log *slog.Logger) error {
	known := KnownReaders(c)
	if known == nil {
		return nil
	}
	m, err := readers.NewMonitor(readers.MonitorConfig{Bus: p.Bus, Catalog: p.Catalog, Known: *known, Logger: log})
	if err != nil {
		return err
	}
	return m.Run(ctx)
}
