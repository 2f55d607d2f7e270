package gate

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// runTimeout bounds the check in front of tests.
const runTimeout = time.Minute

// Tests are the tests of a package: a *testing.M.
type Tests interface{ Run() int }

// Run runs the tests of a package when the secrets are fit for use, and returns
// their exit code. Otherwise it runs none of them, prints every violation on
// standard error, and returns 1. It is for TestMain:
//
//	func TestMain(m *testing.M) { os.Exit(gate.Run(m, gate.Required(env.Open(env.Config{}))...)) }
//
// Checking no secret at all is a mistake, and fails.
func Run(m Tests, secrets ...Secret) int { return run(m, os.Stderr, secrets) }

func run(m Tests, w io.Writer, secrets []Secret) int {
	if len(secrets) == 0 {
		fmt.Fprintln(w, "policy gate: no secret is named, so nothing is checked")
		return 1
	}
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	found := Check(ctx, time.Now(), secrets)
	if len(found) == 0 {
		return m.Run()
	}
	fmt.Fprintf(w, "policy gate: the tests are not run; %s:\n", Summary(len(secrets), found))
	for _, v := range found {
		fmt.Fprintln(w, "  "+Line(v))
	}
	return 1
}

// Summary counts the violations that were found in a number of secrets.
func Summary(secrets int, found []secret.Finding) string {
	bad := map[string]bool{}
	for _, v := range found {
		bad[v.Subject] = true
	}
	verb, plural := "are", "s"
	if len(bad) == 1 {
		verb = "is"
	}
	if len(found) == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d of %d secrets %s not fit for use, %d violation%s", len(bad), secrets, verb, len(found), plural)
}
