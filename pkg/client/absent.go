package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"github.com/tradepulse/rotator/pkg/client/internal/reload"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// ErrAbsent is wrapped by every [AbsentError].
var ErrAbsent = errors.New("the secret has no version yet")

// AbsentError says that an optional secret is not there, see [Config.Optional].
type AbsentError struct {
	ID secret.ID
	// Remedy says what to do, with the name of a variable or of the secret. It holds
	// neither a value nor where secrets are in their store, so clients may see it.
	Remedy string
}

// Error names the secret and the remedy.
func (e *AbsentError) Error() string {
	return fmt.Sprintf("%s: %v: %s", e.ID, ErrAbsent, e.Remedy)
}

// Unwrap returns [ErrAbsent].
func (e *AbsentError) Unwrap() error { return ErrAbsent }

// validateOptional returns what is wrong with the optional secrets. Only users that
// check at use can refuse a use while there is no version.
func validateOptional(optional, ids, checked []secret.ID) error {
	for _, id := range optional {
		if !slices.Contains(ids, id) || !slices.Contains(checked, id) {
			return fmt.Errorf("%s is optional: it has to be among IDs and CheckedAtUse", id)
		}
	}
	return nil
}

// notThere reports whether a store answered that it has no such secret. What cannot be
// read, was deleted or has no value is there.
func notThere(err error) bool { return store.Reason(err) == "not_found" }

// isAbsent reports whether the secret was started without a version and has none yet.
func (e *entry) isAbsent() bool { return e.current.Load().Version.ID == "" }

// absent returns the error of a use of a secret that is not there.
func (e *entry) absent() error {
	hint, _ := e.missing.Load().(string)
	return &AbsentError{ID: e.id, Remedy: hint}
}

// startAbsent begins the life of an optional secret that the store does not have. It
// reports false for any other error: a secret that cannot be read is not absent.
func (e *entry) startAbsent(ctx context.Context, err error) bool {
	if !e.optional || !notThere(err) {
		return false
	}
	hint := fmt.Sprintf("set %s, and write a first version where it says", e.id)
	if own, ok := errors.AsType[interface {
		error
		Remedy() string
	}](err); ok {
		hint = own.Remedy()
	}
	e.missing.Store(hint)
	e.current.Store(&Current{e: e})
	e.logger().LogAttrs(ctx, slog.LevelWarn, "secret.absent", slog.String("error", err.Error()), slog.String("message", "what needs this optional secret is refused: "+hint))
	e.start(e.feed(ctx, reload.Event{Kind: reload.Started}, loaded{}))
	return true
}

// refuseAbsent answers a request that needs an optional secret that is not there.
func refuseAbsent(w http.ResponseWriter, err error) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, err.Error(), http.StatusServiceUnavailable)
}
