package operator

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/evidence"
)

// WriteEvidence writes the evidence about all secrets, where the configuration at path
// runs.
func WriteEvidence(cmd *cobra.Command, path string, o evidence.Options) (evidence.Manifest, error) {
	r, err := OpenReader(cmd, path)
	if err != nil {
		return evidence.Manifest{}, err
	}
	defer r.Close()
	all, err := r.Secrets(cmd.Context(), nil)
	if err != nil {
		return evidence.Manifest{}, err
	}
	o.Program, o.By = cli.Version(), r.parts.Source+"/"+User()
	return evidence.Write(cmd.Context(), r.parts.Bus, all, o)
}

// VerifyEvidence checks a directory. With the name of a file with a public key, that
// key has to have signed it.
func VerifyEvidence(dir, key string) (evidence.Result, error) {
	pin, err := publicKey(key)
	if err != nil {
		return evidence.Result{}, cli.UsageError{Err: fmt.Errorf("--key: %w", err)}
	}
	r, err := evidence.Verify(dir, pin)
	if errors.Is(err, fs.ErrNotExist) {
		err = cli.UsageError{Err: fmt.Errorf("%s holds no finished evidence: %w", dir, err)}
	}
	return r, err
}

// ParseMoment reads a time of RFC 3339, or a day, which begins at midnight UTC.
func ParseMoment(text string) (time.Time, error) {
	if at, err := time.Parse(time.DateOnly, text); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is not a time; write 2026-10-01 or 2026-10-01T08:00:00Z", text)
	}
	return at, nil
}
