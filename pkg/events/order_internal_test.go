package events

import (
	"errors"
	"testing"
)

func TestTrustsItself(t *testing.T) {
	t.Parallel()
	own, err := GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	other, err := GenerateSigner()
	if err != nil {
		t.Fatal(err)
	}
	if err := (&Bus{cfg: Config{Signer: own, Verifier: NewVerifier(own.Public())}}).TrustsItself(); err != nil {
		t.Error(err)
	}
	if err := (&Bus{cfg: Config{Signer: own, Verifier: NewVerifier(other.Public())}}).TrustsItself(); !errors.Is(err, ErrUntrusted) {
		t.Errorf("a key that is not trusted: %v", err)
	}
}
