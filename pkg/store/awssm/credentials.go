package awssm

import (
	"cmp"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// rereadAfter is how long keys of a shared credentials file are used before the file
// is read again.
const rereadAfter = 10 * time.Second

// sharedFile reads the keys of a profile again and again: the SDK reads them once.
// Credentials from elsewhere pass as they are.
type sharedFile struct {
	profile string
	options []func(*config.LoadOptions) error

	mu     sync.Mutex
	loaded aws.CredentialsProvider
	keys   aws.Credentials // the last ones that stood in a file
}

func rereading(loaded aws.CredentialsProvider, profile string, options []func(*config.LoadOptions) error) aws.CredentialsProvider {
	return aws.NewCredentialsCache(&sharedFile{loaded: loaded, profile: profile, options: options})
}

// Retrieve implements [aws.CredentialsProvider].
func (f *sharedFile) Retrieve(ctx context.Context) (aws.Credentials, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys.HasKeys() {
		if now, err := readKeys(ctx, f.profile); err == nil && now.HasKeys() {
			f.keys = now
		} // else the file is being replaced
		return untilReread(f.keys), nil
	}
	now, err := f.loaded.Retrieve(ctx)
	if err != nil { // a role whose source are keys that were replaced
		if now, err = f.reload(ctx); err != nil {
			return now, err
		}
	}
	if now.CanExpire || !strings.HasPrefix(now.Source, "SharedConfigCredentials") {
		return now, nil
	}
	f.keys = now
	return untilReread(now), nil
}

func (f *sharedFile) reload(ctx context.Context) (aws.Credentials, error) {
	ac, err := config.LoadDefaultConfig(ctx, f.options...)
	if err != nil {
		return aws.Credentials{}, err
	}
	f.loaded = ac.Credentials
	return f.loaded.Retrieve(ctx)
}

func untilReread(c aws.Credentials) aws.Credentials {
	c.CanExpire, c.Expires = true, time.Now().Add(rereadAfter)
	return c
}

// readKeys returns the keys of a profile. It looks at the shared files only: without
// keys there, the standard chain would take those of the machine.
func readKeys(ctx context.Context, profile string) (aws.Credentials, error) {
	env, err := config.NewEnvConfig()
	if err != nil {
		return aws.Credentials{}, err
	}
	profile = cmp.Or(profile, env.SharedConfigProfile, config.DefaultSharedConfigProfile)
	shared, err := config.LoadSharedConfigProfile(ctx, profile, func(o *config.LoadSharedConfigOptions) {
		if env.SharedCredentialsFile != "" {
			o.CredentialsFiles = []string{env.SharedCredentialsFile}
		}
		if env.SharedConfigFile != "" {
			o.ConfigFiles = []string{env.SharedConfigFile}
		}
	})
	return shared.Credentials, err
}
