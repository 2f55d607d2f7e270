// Package setup opens a client's Manager by configuration: a YAML file,
// environment variables, or neither, which is the environment of a developer's
// machine.
//
//	c, err := setup.Open(ctx, setup.Options{
//		Service:   "tradepulse-api",
//		IDs:       []secret.ID{"TRADEPULSE_AUDIT_SECRET_ID", "TRADEPULSE_ADMIN_TOKEN_ID"},
//		Providers: all.Providers(),
//	})
//
// A service links the stores that it passes as Providers and no other; env is
// always there. The packages below are the providers.
//
// The package reads secrets and writes none. It is no configuration of rotator
// itself, which has one of its own.
package setup
