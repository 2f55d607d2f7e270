package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Ref says where a secret of the program itself is kept: in a file or in an
// environment variable, one of them. The secret itself cannot stand in the
// configuration. The zero value refers to nothing.
type Ref struct {
	// File that holds it and nothing else; one line break at its end does not
	// count. At most 64 KiB.
	File string `json:"file,omitzero" jsonschema:"format=file"`
	// Name of the environment variable that holds it; one line break at its end
	// does not count.
	Env string `json:"env,omitzero" jsonschema:"format=env-name"`
}

// IsZero reports whether the reference refers to nothing.
func (r Ref) IsZero() bool { return r == Ref{} }

// String returns where the secret is kept.
func (r Ref) String() string {
	switch {
	case r.File != "":
		return "file " + r.File
	case r.Env != "":
		return "environment variable " + r.Env
	default:
		return "nothing"
	}
}

// Read returns the secret, looking environment variables up with lookup. A
// file that does not exist is an error that wraps [os.ErrNotExist]; a secret
// that is empty or longer than [secret.MaxValueLength] is an error too.
func (r Ref) Read(lookup func(string) (string, bool)) (secret.Value, error) {
	b, err := r.read(lookup)
	if err == nil && len(b) == 0 {
		err = errors.New("it is empty")
	}
	if err == nil && len(b) > secret.MaxValueLength {
		err = fmt.Errorf("it is longer than %d bytes", secret.MaxValueLength)
	}
	if err != nil {
		return secret.Value{}, fmt.Errorf("read %s: %w", r, err)
	}
	return secret.NewValue(b), nil
}

// rereads returns what reads the secret again, nil unless it is in a file: a variable
// does not change while a program runs.
func (r Ref) rereads(lookup func(string) (string, bool)) func() (string, error) {
	if r.File == "" {
		return nil
	}
	return func() (string, error) {
		v, err := r.Read(lookup)
		return string(v.Reveal()), err
	}
}

func (r Ref) read(lookup func(string) (string, bool)) ([]byte, error) {
	switch {
	case r.File != "":
		return readFile(r.File)
	case r.Env != "":
		v, ok := lookup(r.Env)
		if !ok {
			return nil, errors.New("it is not set")
		}
		return cutLineBreak([]byte(v)), nil
	default:
		return nil, errors.New("no file and no environment variable is named")
	}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, secret.MaxValueLength+3))
	if err != nil {
		return nil, err
	}
	return cutLineBreak(b), nil
}

func cutLineBreak(b []byte) []byte {
	b, cut := bytes.CutSuffix(b, []byte("\n"))
	if cut {
		b = bytes.TrimSuffix(b, []byte("\r"))
	}
	return b
}
