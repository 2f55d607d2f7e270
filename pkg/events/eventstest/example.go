package eventstest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
)

// Example runs f with a testing.TB, which a function that is named Example does
// not have: a failure panics, and what is to be cleaned up is.
func Example(f func(tb testing.TB)) {
	ctx, cancel := context.WithCancel(context.Background())
	tb := &exampleTB{ctx: ctx}
	defer func() {
		cancel()
		for _, clean := range slices.Backward(tb.cleanups) {
			clean()
		}
	}()
	f(tb)
}

// exampleTB has what kits use of a testing.TB; the rest panics.
type exampleTB struct {
	testing.TB

	ctx      context.Context //nolint:containedctx // that of the example
	cleanups []func()
}

func (*exampleTB) Helper()                              {}
func (tb *exampleTB) Cleanup(f func())                  { tb.cleanups = append(tb.cleanups, f) }
func (tb *exampleTB) Context() context.Context          { return tb.ctx }
func (*exampleTB) Fatal(args ...any)                    { panic(fmt.Sprint(args...)) }
func (*exampleTB) Fatalf(format string, args ...any)    { panic(fmt.Sprintf(format, args...)) }
func (tb *exampleTB) Error(args ...any)                 { tb.Fatal(args...) }
func (tb *exampleTB) Errorf(format string, args ...any) { tb.Fatalf(format, args...) }

func (tb *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Fatal(err)
		}
	})
	return dir
}
