package gate_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store/env"
)

// A check of other secrets than the required ones, with a floor of its own.
func ExampleCheck() {
	started := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	variables := map[string]string{"DB_PASSWORD": "weak-Password-1", "DB_PASSWORD_TTL_SECONDS": "600"}
	reader := env.Open(env.Config{Started: started, Lookup: func(name string) (string, bool) { v, ok := variables[name]; return v, ok }})

	for _, f := range gate.Check(context.Background(), started, []gate.Secret{
		{Spec: secret.Spec{ID: "DB_PASSWORD"}, Reader: reader, MinTTL: time.Hour},
		{Spec: secret.Spec{ID: "API_KEY"}, Reader: reader},
	}) {
		fmt.Println(gate.Line(f))
	}
	// Output:
	// DB_PASSWORD: min_length: the value breaks its policy; too short: at least 16 characters are required
	// DB_PASSWORD: ttl: 10m0s of its life are left, and it has to be more than 1h0m0s; rotate it, or give it a longer lifetime
	// API_KEY: missing: not found: the environment variable API_KEY is not set; set API_KEY
}

// nobodysTests stand for the *testing.M of a package.
type nobodysTests struct{}

func (nobodysTests) Run() int { return 0 }

// In TestMain: os.Exit(gate.Run(m, gate.Required(env.Open(env.Config{}))...)).
func ExampleRun() {
	variables := map[string]string{"TRADEPULSE_AUDIT_SECRET": "Audit-Key-For-Tests-1", "TRADEPULSE_ADMIN_TOKEN": "Admin-Token-For-Tests-1"}
	reader := env.Open(env.Config{Lookup: func(name string) (string, bool) { v, ok := variables[name]; return v, ok }})
	fmt.Println(gate.Run(nobodysTests{}, gate.Required(reader)...))
	// Output: 0
}
