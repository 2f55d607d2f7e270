package node_test

import (
	"slices"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/cmd/internal/node"
)

// TestASingleNodeNeedsEveryRole: no other process has the rest.
func TestASingleNodeNeedsEveryRole(t *testing.T) {
	t.Parallel()
	single, cluster := &config.Config{}, &config.Config{}
	cluster.NATS.URL = "nats://127.0.0.1:4222"
	if got := node.Missing(single, []string{node.Worker}); !slices.Equal(got, []string{node.Scheduler, node.Notifier}) {
		t.Errorf("a single node that is a worker lacks %v", got)
	}
	if got := append(node.Missing(single, node.Roles()), node.Missing(cluster, []string{node.Worker})...); len(got) > 0 {
		t.Errorf("all roles, and a cluster, lack %v", got)
	}
}
