package setup_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tradepulse/rotator/pkg/client/setup"
	"github.com/tradepulse/rotator/pkg/client/setup/all"
	"github.com/tradepulse/rotator/pkg/secret"
)

// The code says what it needs; the operator says where that is.
func ExampleOpen() {
	variables := map[string]string{ // what os.LookupEnv finds
		"TRADEPULSE_AUDIT_SECRET": "a signing key for development",
		"TRADEPULSE_ADMIN_TOKEN":  "a-token-for-development",
	}
	c, err := setup.Open(context.Background(), setup.Options{
		Service:   "tradepulse-api",
		IDs:       []secret.ID{"TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID"},
		Providers: all.Providers(),
		Lookup:    func(name string) (string, bool) { v, ok := variables[name]; return v, ok },
		Logger:    slog.New(slog.DiscardHandler),
	})
	if err != nil {
		panic(err)
	}
	defer func() { fmt.Println("closed:", c.Close(context.Background())) }()
	fmt.Println(c.Secret("TRADEPULSE_ADMIN_TOKEN_ID").Get().Value.Len(), "bytes")
	// Output:
	// 23 bytes
	// closed: <nil>
}

func ExampleLoad() {
	variables := map[string]string{"ROTATOR_STORE": "vault", "ROTATOR_AWS_REGION": "eu-central-1", "ROTATOR_LEASE": "soon"}
	_, err := setup.Load("", func(name string) (string, bool) { v, ok := variables[name]; return v, ok })
	fmt.Println(err)
	// Output:
	// setup: ROTATOR_LEASE is no duration such as 5m or 1h30m
	// aws: it is set, but store is "vault"
}
