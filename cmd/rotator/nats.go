package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/accounts"
	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/deployments/nats"
	"github.com/tradepulse/rotator/pkg/secret"
)

func natsCommand(path *string) *cobra.Command {
	cmd := cli.Group(&cobra.Command{Use: "nats", Short: "Make the configuration of NATS servers"})
	cmd.AddCommand(natsAccountsCommand(path))
	return cmd
}

func natsAccountsCommand(path *string) *cobra.Command {
	var keys string
	var more []string
	cmd := &cobra.Command{
		Use:   "accounts --keys DIR",
		Short: "Print the accounts of the NATS servers for a configuration, and make their keys",
		Long: `Prints accounts.conf for the NATS servers of a configuration: the users of the
programs with the rights that they need, and an account for each service that a
secret lists, with its prefix and the buckets of its embedded stores.

The seed of each user is made in DIR/USER.nk, which is what nats.credentials.nkey_file
names. Seeds that are there stay in use, so that you can run the command again after
a change. Nothing is sent anywhere. The user rotator is for a process that is both
scheduler and worker. Services of discovered secrets are in no configuration: add
them with --service.`,
		Example: `  rotator nats accounts --config docs/examples/cluster.yaml --keys nkeys > accounts.conf`,
		Args:    cli.Exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := cli.Load(cmd, *path)
			if err != nil {
				return err
			}
			if cfg.SingleNode() {
				return cli.UsageError{Err: errors.New("the configuration has no nats.url: a single node makes the users of its embedded server itself")}
			}
			site, err := natsSite(cfg, keys, more)
			if err != nil {
				return err
			}
			conf, err := accounts.Render(nats.Accounts, site)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), conf)
			return err
		},
	}
	cmd.Flags().StringVar(&keys, "keys", "", "the `folder` of the seeds; it is made")
	cmd.Flags().StringSliceVar(&more, "service", nil, "a service that no listed secret names; repeatable")
	_ = cmd.MarkFlagRequired("keys")
	_ = cmd.MarkFlagDirname("keys")
	return cmd
}

// natsSite returns for what the accounts of a configuration are made.
func natsSite(cfg *config.Config, keys string, more []string) (accounts.Site, error) {
	if err := os.MkdirAll(keys, 0o700); err != nil {
		return accounts.Site{}, err
	}
	specs, err := cfg.Specs()
	if err != nil {
		return accounts.Site{}, err
	}
	services := map[string]bool{}
	for _, s := range specs {
		for _, name := range s.Services {
			services[name] = true
		}
	}
	for _, name := range more {
		if err := secret.ValidName(name); err != nil {
			return accounts.Site{}, cli.UsageError{Err: fmt.Errorf("--service: %w", err)}
		}
		services[name] = true
	}
	for _, user := range accounts.Users() {
		if services[user] {
			return accounts.Site{}, fmt.Errorf("a service has the name %s, which is that of a user of the programs; rename it", user)
		}
	}
	return accounts.Site{
		Prefix: cfg.NATS.Prefix, Buckets: buckets(cfg), EventBridge: cfg.EventBridge.On(), Services: slices.Sorted(maps.Keys(services)),
		Key: func(name string) (string, error) { return userKey(filepath.Join(keys, name+".nk")) },
	}, nil
}

// buckets returns those of the embedded stores.
func buckets(cfg *config.Config) []string {
	out := map[string]bool{}
	for _, st := range config.StoresOf[*config.NATSKV](cfg) {
		out[st.Bucket] = true
	}
	return slices.Sorted(maps.Keys(out))
}

// userKey returns the public key of the seed in a file, which is made if it is not
// there.
func userKey(file string) (string, error) {
	key, err := readNKey(file)
	if errors.Is(err, fs.ErrNotExist) {
		return newNKey(file)
	}
	return key, err
}
