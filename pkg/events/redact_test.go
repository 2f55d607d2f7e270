package events_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/events"
)

// TestCredentialsOfNATSNeverPrint: neither the settings nor an error of a connection
// shows a password, also one that is in a URL.
func TestCredentialsOfNATSNeverPrint(t *testing.T) {
	t.Parallel()
	ended, end := context.WithCancel(t.Context())
	end()
	for _, url := range []string{
		"nats://app:Canary-4711@127.0.0.1:1", "nats://app:Canary-4711@[::1", "nats://127.0.0.1:1,nats://app:Canary-4711@host:port", "nats://Canary-4711@127.0.0.1:1",
	} {
		var log lines
		cfg := events.ConnectConfig{URL: url, User: "app", Password: "Canary-4711", Logger: log.logger()}
		_, err := events.Connect(ended, cfg)
		if err == nil {
			t.Fatal("it is connected")
		}
		inJSON, _ := json.Marshal(struct{ Password any }{cfg})
		cfg.Logger = nil
		slog.New(slog.NewTextHandler(&log, nil)).Error("x", slog.Any("cfg", cfg))
		for what, text := range map[string]string{
			"the settings": fmt.Sprintf("%v %+v %#v %s %d", cfg, cfg, &cfg, cfg, struct{ C events.ConnectConfig }{cfg}), "JSON": string(inJSON),
			"the error": fmt.Sprintf("%v %+v %#v", err, err, err), "the log": log.String(),
		} {
			if strings.Contains(text, "4711") {
				t.Errorf("%s: %s prints the password", strings.Split(url, "@")[1], what)
			}
		}
	}
}
