package operator

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/inspect"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Receipts returns the stored receipts about a secret, each checked with the keys
// that the configuration at path trusts, and as they are stored. With a version only
// those about the retirement of that version, or by it.
func Receipts(cmd *cobra.Command, path string, id secret.ID, v secret.VersionID) (checked []inspect.CheckedReceipt, stored []byte, err error) {
	parts, err := Connect(cmd, path)
	if err != nil {
		return nil, nil, err
	}
	defer parts.Close()
	texts, err := parts.Bus.Receipts(cmd.Context(), id)
	if err != nil {
		return nil, nil, err
	}
	var all bytes.Buffer
	for _, t := range texts {
		all.Write(append(t, '\n'))
	}
	if len(texts) == 0 {
		return nil, nil, nil
	}
	checked = inspect.CheckReceipts(all.Bytes(), parts.Bus.Trusts)
	if v == "" || len(checked) != len(texts) {
		return checked, all.Bytes(), nil
	}
	var some []inspect.CheckedReceipt
	var kept bytes.Buffer
	for i, c := range checked {
		if c.Receipt == nil || c.About(v) {
			some = append(some, c)
			kept.Write(append(texts[i], '\n'))
		}
	}
	return some, kept.Bytes(), nil
}

// CheckReceiptFile checks the receipts in a file, - being the standard input of the
// command. With the name of a file with a public key, that key has to have signed
// them.
func CheckReceiptFile(cmd *cobra.Command, name, key string) ([]inspect.CheckedReceipt, error) {
	trusts, err := trusted(key)
	if err != nil {
		return nil, cli.UsageError{Err: fmt.Errorf("--key: %w", err)}
	}
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, cli.UsageError{Err: err}
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, inspect.MaxReceipts+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return inspect.CheckReceipts(text, trusts), nil
}

// trusted returns whether a key is the one in the file, nil without a file.
func trusted(file string) (func(ed25519.PublicKey) bool, error) {
	want, err := publicKey(file)
	if want == nil {
		return nil, err
	}
	return func(key ed25519.PublicKey) bool { return want.Equal(key) }, nil
}

// publicKey returns the key in a file, nil without a file.
func publicKey(file string) (ed25519.PublicKey, error) {
	if file == "" {
		return nil, nil
	}
	return events.LoadPublicKey(file)
}

// SaveNew writes a file that does not exist yet.
func SaveNew(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return cli.UsageError{Err: fmt.Errorf("--out: %w", err)}
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}
