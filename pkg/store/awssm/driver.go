package awssm

import (
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/tradepulse/rotator/pkg/store"
)

// Driver is a [store.Driver] for the secrets of one account and region. A path
// is the name of a secret; an ARN works too, except that List yields names.
type Driver struct {
	store.Clock
	api API
	sts *sts.Client // nil where the client is not our own
	cfg Config

	write, read, list func(*sm.Options)

	memory *memory
	turns  *turns
}

var _ store.Driver = (*Driver)(nil)

// New returns a driver that uses a client as it is. Of cfg, what [Open] makes a
// client from only says here whose quota the calls count against.
func New(api API, cfg Config) (*Driver, error) {
	if api == nil {
		return nil, errors.New("awssm: a client is required")
	}
	if cfg.Limits == nil {
		cfg.Limits = NewLimits()
	}
	if cfg.Scope == nil {
		cfg.Scope = store.Everything{}
	}
	b := cfg.Limits.share(cfg)
	return &Driver{
		api: api, cfg: cfg,
		write: limit(b.writes), read: limit(b.reads), list: limit(b.lists),
		memory: newMemory(), turns: newTurns(),
	}, nil
}

// Close implements [store.Driver]. There is nothing to release.
func (*Driver) Close() error { return nil }

// date returns when the answer with this metadata was given, by AWS's clock.
func date(m middleware.Metadata) time.Time {
	if t, ok := awsmiddleware.GetServerTime(m); ok {
		return t.UTC()
	}
	return time.Now().UTC()
}

func ptr(s string) *string { return aws.String(s) }
