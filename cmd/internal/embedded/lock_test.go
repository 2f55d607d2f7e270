package embedded_test

import (
	"net"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/embedded"
)

func start(t *testing.T, o embedded.Options) (*embedded.Server, error) {
	t.Helper()
	s, err := embedded.Start(t.Context(), o)
	if err == nil {
		t.Cleanup(s.Close)
	}
	return s, err
}

func TestOneServerOnADirectory(t *testing.T) {
	o := embedded.Options{StoreDir: t.TempDir()}
	first, err := start(t, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := start(t, o); err == nil || !strings.Contains(err.Error(), "another process uses it") {
		t.Errorf("a second server on the directory of the first: %v, want that it is in use", err)
	}
	first.Close()
	if _, err := start(t, o); err != nil {
		t.Errorf("a server after the first one: %v", err)
	}
}

func TestAnAddressInUseIsSaidAtOnce(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := embedded.Options{StoreDir: t.TempDir(), Listen: l.Addr().String()}
	if _, err := start(t, o); err == nil || !strings.Contains(err.Error(), "node.listen") {
		t.Errorf("a server on an address in use: %v, want one that names node.listen", err)
	}
	o.Listen = ""
	if _, err := start(t, o); err != nil {
		t.Errorf("the directory is not free after a start that failed: %v", err)
	}
}
