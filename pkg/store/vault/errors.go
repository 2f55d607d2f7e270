package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"

	"github.com/tradepulse/rotator/pkg/store"
)

// classify wraps an error of a call with the reason for it. The end of ctx
// passes as it is.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if store.Reason(err) != "unknown" {
		return err
	}
	var resp *api.ResponseError
	if !errors.As(err, &resp) {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return fmt.Errorf("%w: %w", reason(resp), err)
}

func reason(resp *api.ResponseError) error {
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		return store.ErrNotFound
	case code == http.StatusForbidden, code == http.StatusUnauthorized:
		return store.ErrAccessDenied
	case code == http.StatusTooManyRequests:
		return store.ErrThrottled
	case code == http.StatusBadRequest && says(resp, "check-and-set"):
		return store.ErrConflict
	case code == http.StatusBadRequest && says(resp, "upgrading from non-versioned"): // a mount that was just made
		return store.ErrUnavailable
	case code >= http.StatusInternalServerError, code == http.StatusPreconditionFailed:
		return store.ErrUnavailable
	default:
		return store.ErrInvalid
	}
}

func says(resp *api.ResponseError, what string) bool {
	for _, e := range resp.Errors {
		if strings.Contains(strings.ToLower(e), strings.ToLower(what)) {
			return true
		}
	}
	return false
}
