package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/cli"
)

// TestEvidenceUsage: what is wrong with the command line is said before anything is
// connected to.
func TestEvidenceUsage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for args, want := range map[string]string{
		"evidence --out " + dir:                                         "--from and --out are required",
		"evidence --from 2026-01-01":                                    "--from and --out are required",
		"evidence --from January --out " + dir:                          `--from: "January" is not a time; write 2026-10-01`,
		"evidence --from 2026-04-01 --to 2026-01-01 --out " + dir:       "--from is not before --to",
		"evidence --from 2026-01-01 --sample -1 --out " + dir:           "--sample -1",
		"evidence verify":                                               "want: rotator evidence verify DIR",
		"evidence verify " + dir:                                        "holds no finished evidence",
		"evidence verify " + dir + " --key " + dir + "/signing.key.pub": "--key: ",
	} {
		cmd := root()
		var out bytes.Buffer
		cmd.SetArgs(strings.Fields(args))
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		if code := cli.Execute(cmd); code != cli.ExitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d with %s, want %q", args, code, &out, want)
		}
	}
}
