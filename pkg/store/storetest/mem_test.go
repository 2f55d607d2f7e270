package storetest_test

import (
	"context"
	"testing"

	"github.com/tradepulse/rotator/pkg/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		m := storetest.NewMem(nil)
		return storetest.Harness{
			Driver: m,
			Tag:    func(_ *testing.T, path string, attrs map[string]string) { m.SetAttributes(path, attrs) },
			Delete: func(_ context.Context, path string) error { m.Delete(path); return nil },
		}
	})
}
