// Package service has tests that need secrets.
package service

import (
	"os"
	"testing"

	"github.com/tradepulse/rotator/pkg/gate"
	"github.com/tradepulse/rotator/pkg/store/env"
)

func TestMain(m *testing.M) { os.Exit(gate.Run(m, gate.Required(env.Open(env.Config{}))...)) }

func TestService(t *testing.T) { t.Log("the service's test ran") }
