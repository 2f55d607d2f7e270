package wire

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/settings"
	"github.com/tradepulse/rotator/pkg/target"
	"github.com/tradepulse/rotator/pkg/target/awsiam"
)

// accounts keeps how accounts of AWS are reached, so that a role is not assumed at each use
// of a target.
type accounts struct {
	mu     sync.Mutex
	opened map[settings.AWS]aws.Config
}

func (a *accounts) open(ctx context.Context, s settings.AWS) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c, ok := a.opened[s]; ok {
		return c, nil
	}
	c, err := loadAWS(ctx, s)
	if err != nil {
		return c, err
	}
	if a.opened == nil {
		a.opened = map[settings.AWS]aws.Config{}
	}
	a.opened[s] = c
	return c, nil
}

func (t *Targets) awsiam(ctx context.Context, o *config.AWSIAM, of config.SecretTarget, s secret.Spec) (target.Target, error) {
	access, err := t.accounts.open(ctx, o.AWS)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", of.Name, err)
	}
	return awsiam.New(awsiam.Config{
		AWS: access, Endpoint: o.Endpoint, User: of.User, Secret: s.ID, Lag: time.Duration(o.Lag), UseLag: time.Duration(o.UseLag), Read: t.reader(s),
	})
}
