package node

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tradepulse/rotator/cmd/internal/embedded"
	"github.com/tradepulse/rotator/pkg/events"
)

// embed starts the server of a single node.
func (n *node) embed(ctx context.Context, dir string) (events.ConnectConfig, error) {
	_, operator, err := embedded.OperatorKey(dir)
	if err != nil {
		return events.ConnectConfig{}, fmt.Errorf("node.data_dir: %w", err)
	}
	listen := n.cfg.Node.Listen
	if listen == "none" {
		listen = ""
	}
	sync, err := syncInterval(n.cfg.Node.SyncInterval)
	if err != nil {
		return events.ConnectConfig{}, err
	}
	n.server, err = embedded.Start(ctx, embedded.Options{
		StoreDir: filepath.Join(dir, "nats"), Listen: listen, SyncInterval: sync, Operators: []string{operator}, Logger: n.log,
	})
	if err != nil {
		return events.ConnectConfig{}, err
	}
	public, err := n.server.Operator.PublicKey()
	return events.ConnectConfig{NKey: public, Sign: n.server.Operator.Sign, InProcess: n.server.Server}, err
}

// serverSync is nats-server's own interval.
const serverSync = 2 * time.Minute

// syncInterval reads node.sync_interval; 0 is always.
func syncInterval(s string) (time.Duration, error) {
	switch s {
	case "always", "":
		return 0, nil
	case "default":
		return serverSync, nil
	default:
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, fmt.Errorf("node.sync_interval: %w", err)
		}
		return d, nil
	}
}
