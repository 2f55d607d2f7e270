package awssm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	sm "github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/tradepulse/rotator/pkg/store"
)

// Defaults of a [Config].
const (
	// DefaultWritesPerSecond leaves a fifth of the 50 calls a second that AWS
	// allows an account and region to everybody else.
	DefaultWritesPerSecond = 40
	// DefaultReadsPerSecond is a tenth of the quota of DescribeSecret and
	// GetSecretValue.
	DefaultReadsPerSecond = 1000
	// DefaultListsPerSecond stays under the smallest quota there is for a
	// listing call.
	DefaultListsPerSecond = 40
	// DefaultAttempts is how often a call is made before it fails.
	DefaultAttempts = 4
)

// Config says which secrets a [Driver] works on and how. The zero value is the
// region and the credentials that the environment gives, and every secret
// there.
type Config struct {
	// Region of the secrets. "" means the one of the environment or profile.
	Region string
	// Endpoint replaces the endpoint of Secrets Manager, such as that of a VPC
	// or of an emulator. "" means the region's own.
	Endpoint string
	// Profile names a profile of the shared configuration files. "" means the
	// standard chain: environment, files, web identity, container, instance.
	Profile string
	// AssumeRoleARN is a role to assume with those credentials, for secrets of
	// another account or to drop privileges; ExternalID is what its trust
	// policy may ask for.
	AssumeRoleARN string
	ExternalID    string
	// Tags limits List to secrets that carry every one of them; a value of ""
	// matches any. Secrets that the driver creates get them. None means all
	// secrets. A secret that is managed has to carry the tags: what List does
	// not show counts as not there.
	Tags map[string]string
	// Scope limits List further, without a call for what is out of it; nil does
	// not.
	Scope store.Scope
	// WritesPerSecond bounds CreateSecret, PutSecretValue and
	// UpdateSecretVersionStage together, ReadsPerSecond DescribeSecret and
	// GetSecretValue, ListsPerSecond ListSecrets and ListSecretVersionIds, each
	// counted with repeated attempts. 0 means the default, negative no bound.
	WritesPerSecond float64
	ReadsPerSecond  float64
	ListsPerSecond  float64
	// Limits lets the drivers of one process share the quota of an account and
	// region. Nil means that this driver has it to itself.
	Limits *Limits
	// Attempts is how often a call that was throttled or failed in passing is
	// made, with growing, random pauses. 0 means DefaultAttempts, negative 1.
	Attempts int
}

// Open returns a driver with a client of its own. It makes no call, so that a
// store that cannot be reached does not keep a process from starting; the error
// says what is wrong with the configuration.
func Open(ctx context.Context, cfg Config) (*Driver, error) {
	ac, err := Load(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("awssm: %w", err)
	}
	cfg.Region = ac.Region
	d, err := New(sm.NewFromConfig(ac, func(o *sm.Options) {
		if cfg.Endpoint != "" {
			o.BaseEndpoint = &cfg.Endpoint
		}
	}), cfg)
	if err != nil {
		return nil, err
	}
	d.sts = sts.NewFromConfig(ac)
	return d, nil
}

// Load returns what a client of any service of AWS is made of, with the region,
// the credentials and the attempts of cfg. It makes no call.
func Load(ctx context.Context, cfg Config) (aws.Config, error) {
	options := []func(*config.LoadOptions) error{
		config.WithRetryMode(aws.RetryModeAdaptive), config.WithRetryMaxAttempts(attempts(cfg.Attempts)), config.WithAppID("rotator"),
		config.WithAPIOptions([]func(*middleware.Stack) error{redactCredentials}),
	}
	if cfg.Region != "" {
		options = append(options, config.WithRegion(cfg.Region))
	}
	if cfg.Profile != "" {
		options = append(options, config.WithSharedConfigProfile(cfg.Profile))
	}
	ac, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the AWS configuration: %w", err)
	}
	if ac.Region == "" {
		return aws.Config{}, errors.New("no region: set one in the configuration, in AWS_REGION or in the profile")
	}
	ac.Credentials = rereading(ac.Credentials, cfg.Profile, options)
	if cfg.AssumeRoleARN != "" {
		ac.Credentials = assume(ac, cfg)
	}
	return ac, nil
}

func assume(ac aws.Config, cfg Config) aws.CredentialsProvider {
	return aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(ac), cfg.AssumeRoleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "rotator"
		if cfg.ExternalID != "" {
			o.ExternalID = &cfg.ExternalID
		}
	}))
}

func attempts(n int) int {
	switch {
	case n == 0:
		return DefaultAttempts
	case n < 0:
		return 1
	default:
		return n
	}
}

// quota names the quota that the calls count against: AWS counts by the region
// and the account of the caller. Without a role that is the account of the
// profile, whichever that is.
func (c Config) quota() string {
	account := c.Profile
	if parts := strings.Split(c.AssumeRoleARN, ":"); len(parts) > 4 {
		account = parts[4]
	}
	return account + "/" + c.Region + "/" + c.Endpoint
}

// newTags returns the tags of a secret that the driver makes.
func (c Config) newTags() []types.Tag {
	var out []types.Tag
	for _, key := range slices.Sorted(maps.Keys(c.Tags)) {
		out = append(out, types.Tag{Key: aws.String(key), Value: aws.String(c.Tags[key])})
	}
	return out
}
