package main

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/events"
)

func tmpUses(ctx context.Context, js jetstream.JetStream, n events.Names) error {
	_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: n.UsesStream(), Subjects: []string{n.Presence("*", "*", "*"), n.Use("*", "*", "*")}, Discard: jetstream.DiscardNew, MaxMsgsPerSubject: 1, AllowDirect: true,
	})
	return err
}
