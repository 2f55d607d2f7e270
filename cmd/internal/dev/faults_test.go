package dev

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tradepulse/rotator/internal/waittest"
	"github.com/tradepulse/rotator/pkg/events"
)

// TestEachKey: what a key does keeps the old version alive for the reason that the view
// gives, and when it is over the old versions die.
func TestEachKey(t *testing.T) {
	t.Parallel()
	all := []string{"demo-1", "demo-2", "demo-3"}
	for key, tt := range map[string]struct {
		begins, ends string
		blocks       []string
		reason       events.BlockReason
	}{
		"f": {"you.froze", "you.thawed", all[2:], events.BlockSilent},
		"k": {"you.killed", "you.forgot", all[2:], events.BlockSilent},
		"b": {"you.broke", "you.mended", all[2:], events.BlockFailed},
		"c": {"you.cut", "you.joined", all, events.BlockSilent},
		"w": {"you.deployed", "you.withdrew", []string{"wrong"}, events.BlockOldVersion},
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			r, press := io.Pipe()
			n, err := newNode(t.Context(), Options{For: -1, TTL: 8 * time.Second, DataDir: t.TempDir(), Terminal: true, Out: io.Discard, In: r, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer n.close()
			n.faults.trouble = 11 * time.Second
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			done := make(chan error, 1)
			go func() {
				_, err := n.run(ctx)
				done <- err
			}()
			waittest.Until(t, "three instances run", func() error { _, err := n.said("rollout.converged"); return err })
			if _, err := io.WriteString(press, key); err != nil {
				t.Fatal(err)
			}
			waittest.Until(t, "it has begun", func() error { _, err := n.said(tt.begins); return err })
			waittest.Until(t, fmt.Sprintf("it waits for %v", tt.blocks), func() error { return waitsFor(t, n, tt.reason, tt.blocks) })
			waittest.Until(t, "it is over", func() error { _, err := n.said(tt.ends); return err })
			over, _ := n.said(tt.ends)
			waittest.Until(t, "the old versions die", func() error { return retiredAfter(t, n, over) })
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if at, err := n.said("you.failed"); err == nil {
				t.Errorf("something failed at %s", at)
			}
		})
	}
}

// said returns when a line of a kind was said.
func (n *node) said(kind string) (time.Time, error) {
	n.board.mu.Lock()
	defer n.board.mu.Unlock()
	for _, l := range n.board.lines {
		if l.kind == kind {
			return l.at, nil
		}
	}
	return time.Time{}, fmt.Errorf("no %s", kind)
}

// retiredAfter returns nil once a rollout that ended after t has retired the versions
// before.
func retiredAfter(t *testing.T, n *node, after time.Time) error {
	t.Helper()
	last, err := n.bus.Last(t.Context(), events.TypeRollout, adminID)
	if err != nil {
		return err
	}
	if r := last.Event.Data.Rollout; r == nil || r.State != events.RolloutRetired || !last.At.After(after) {
		return fmt.Errorf("the rollout is %+v", r)
	}
	return nil
}

// waitsFor returns nil once a rollout waits for instances and no other.
func waitsFor(t *testing.T, n *node, reason events.BlockReason, want []string) error {
	t.Helper()
	last, err := n.bus.Last(t.Context(), events.TypeRollout, adminID)
	if err != nil || last.Event.Data.Rollout == nil {
		return fmt.Errorf("no rollout, err %w", err)
	}
	var got []string
	for _, b := range last.Event.Data.Rollout.Blocking {
		if b.Service == adminService && b.Reason == reason {
			got = append(got, filepath.Base(b.Instance))
		}
	}
	if slices.Sort(got); strings.Join(slices.Compact(got), " ") != strings.Join(want, " ") {
		return fmt.Errorf("it waits for %+v", last.Event.Data.Rollout.Blocking)
	}
	return nil
}
