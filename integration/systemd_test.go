package integration

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSystemdUnits runs what each unit runs, as far as its help, so that a
// command or a flag that was renamed is missed, and demands what all of them
// promise.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	units, err := filepath.Glob("../deployments/systemd/*.service")
	if err != nil || len(units) != 3 {
		t.Fatalf("units %v, %v", units, err)
	}
	for _, unit := range units {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(unit)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(string(b), "\n")
			for _, want := range []string{"LimitCORE=0", "MemorySwapMax=0", "NoNewPrivileges=yes", "ProtectSystem=strict", "UMask=0077", "Restart=on-failure"} {
				if !slices.Contains(lines, want) {
					t.Errorf("%s is not in it", want)
				}
			}
			started := 0
			r := reader{t: t}
			for _, line := range lines {
				key, command, _ := strings.Cut(line, "=")
				if !strings.HasPrefix(key, "ExecStart") {
					continue
				}
				started++
				words := strings.Fields(command)
				words[0] = filepath.Base(words[0])
				verb := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") || strings.HasPrefix(w, "/") })
				p := r.start(append(words, "--help"))
				usage := "Usage:\n  " + strings.Join(words[:verb], " ") + " "
				if code := p.wait(t); code != 0 || !strings.Contains(p.out.String(), usage) {
					t.Errorf("%s: exit %d, and no %q in its help:\n%s", command, code, usage, p.out)
				}
			}
			if started == 0 {
				t.Error("it starts nothing")
			}
		})
	}
}
