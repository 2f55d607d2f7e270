package wire

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/aws/aws-sdk-go-v2/aws"
	eb "github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/readers"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/store/awssm"
)

// Publisher returns what puts announcements on the event bus of the
// configuration. It makes no call.
func Publisher(ctx context.Context, c config.EventBridge, log *slog.Logger) (*eventbridge.Publisher, error) {
	access, err := loadAWS(ctx, c.AWS)
	if err != nil {
		return nil, fmt.Errorf("eventbridge: %w", err)
	}
	client := eb.NewFromConfig(access, func(o *eb.Options) { o.BaseEndpoint = endpoint(o.BaseEndpoint, c.AWS) })
	return eventbridge.New(client, eventbridge.Config{Bus: c.Bus, Source: c.Source, Logger: log})
}

// Forward carries what is announced on the bus to EventBridge until ctx ends, or
// returns nil at once if none is configured.
func (p *Parts) Forward(ctx context.Context, c config.EventBridge, log *slog.Logger) error {
	if !c.On() {
		return nil
	}
	pub, err := Publisher(ctx, c, log)
	if err != nil {
		return err
	}
	f, err := eventbridge.NewForwarder(eventbridge.ForwarderConfig{Log: p.Bus, Publisher: pub})
	if err != nil {
		return err
	}
	return f.Run(ctx)
}

// Intake returns what takes events of Secrets Manager and has l look at the
// secrets that they name.
func (p *Parts) Intake(c *config.Config, l eventbridge.Reconciler, log *slog.Logger) (*eventbridge.Intake, error) {
	return Intake(p.Catalog, c, l, p.Bus, log)
}

// Intake is [Parts.Intake] for the secrets of a catalog. It records reads on a bus.
func Intake(known *catalog.Catalog, c *config.Config, l eventbridge.Reconciler, bus readers.Bus, log *slog.Logger) (*eventbridge.Intake, error) {
	stores := aboutAWS(c)
	secrets := func(path string) (ids []secret.ID) {
		for _, name := range stores {
			if e, ok := known.At(name, path); ok && e.Origin == catalog.Configured {
				ids = append(ids, e.Spec.ID)
			}
		}
		return ids
	}
	discovering := func(path string) (names []string) {
		for _, name := range stores {
			if known.MayDiscover(name, path) {
				names = append(names, name)
			}
		}
		return names
	}
	return eventbridge.NewIntake(eventbridge.IntakeConfig{Reconciler: l, Secrets: secrets, Discovering: discovering, Reads: Reads(bus, known, stores), Logger: log})
}

// Hear polls the queue of the configuration until ctx ends, or returns nil at
// once if there is none.
func (p *Parts) Hear(ctx context.Context, c *config.Config, l eventbridge.Reconciler, log *slog.Logger) error {
	if !c.AWSEvents.On() {
		return nil
	}
	in, err := p.Intake(c, l, log)
	if err != nil {
		return err
	}
	access, err := loadAWS(ctx, c.AWSEvents.AWS)
	if err != nil {
		return fmt.Errorf("aws_events: %w", err)
	}
	client := sqs.NewFromConfig(access, func(o *sqs.Options) { o.BaseEndpoint = endpoint(o.BaseEndpoint, c.AWSEvents.AWS) })
	q, err := eventbridge.NewQueue(client, eventbridge.QueueConfig{URL: c.AWSEvents.Queue, Handle: in.Handle, Logger: log})
	if err != nil {
		return err
	}
	return q.Run(ctx)
}

func loadAWS(ctx context.Context, a settings.AWS) (aws.Config, error) {
	return awssm.Load(ctx, awssm.Access(a).Config())
}

// endpoint returns the endpoint of a client: the one of the configuration, else
// the one that the client has by itself.
func endpoint(own *string, a settings.AWS) *string {
	if a.Endpoint == "" {
		return own
	}
	return &a.Endpoint
}
