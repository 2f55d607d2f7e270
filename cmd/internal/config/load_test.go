package config_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

func TestLoadSaysWhatItCannotRead(t *testing.T) {
	if _, err := config.Load(t.TempDir()+"/none.yaml", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := config.Load(t.TempDir(), nil); err == nil || !strings.HasPrefix(err.Error(), "read configuration: ") {
		t.Errorf("got %v", err)
	}
}

func TestLoadWithoutAFileTakesTheEnvironment(t *testing.T) {
	c, err := config.Load("", []string{"ROTATOR_NATS_PREFIX=dev"})
	if err != nil || c.NATS.Prefix != "dev" {
		t.Errorf("got %+v, %v", c, err)
	}
}
