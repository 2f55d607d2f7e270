package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/tradepulse/rotator/pkg/secret"
)

// The reasons for which a store refuses, one set for every driver. Test them
// with errors.Is.
var (
	// ErrNotFound: there is no such secret or no such version.
	ErrNotFound = secret.ErrNotFound
	// ErrDeleted: the secret or its current version was deleted and may be
	// restored. It is an ErrNotFound.
	ErrDeleted = secret.ErrDeleted
	// ErrNoValue: the version is known and its value is not there.
	ErrNoValue = errors.New("version has no value")
	// ErrConflict: another writer changed the secret first. Read again.
	ErrConflict = errors.New("changed by another writer")
	// ErrPending: another rotation has left a pending version.
	ErrPending = errors.New("another pending version exists")
	// ErrTokenReused: the rotation token already names another value.
	ErrTokenReused = errors.New("rotation token was used for another value")
	// ErrAccessDenied: the credentials are refused or lack a permission.
	ErrAccessDenied = errors.New("access denied")
	// ErrThrottled: the store asks for fewer calls. Try again later.
	ErrThrottled = errors.New("throttled")
	// ErrUnavailable: the store cannot be reached or is not working. Whether a
	// write took effect is not known.
	ErrUnavailable = errors.New("store unavailable")
	// ErrReadOnly: the store cannot write.
	ErrReadOnly = errors.New("store is read-only")
	// ErrInvalid: the request can never succeed as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrLifetime: what the store records of a version's lifetime makes no sense.
	// It is an ErrInvalid.
	ErrLifetime = fmt.Errorf("%w: lifetime", ErrInvalid)
)

var reasons = []struct {
	err  error
	name string
}{
	{ErrDeleted, "deleted"}, // before what it is too
	{ErrNotFound, "not_found"},
	{ErrNoValue, "no_value"},
	{ErrConflict, "conflict"},
	{ErrPending, "pending"},
	{ErrTokenReused, "token_reused"},
	{ErrAccessDenied, "access_denied"},
	{ErrThrottled, "throttled"},
	{ErrUnavailable, "unavailable"},
	{ErrReadOnly, "read_only"},
	{ErrInvalid, "invalid"},
	{context.Canceled, "canceled"},
	{context.DeadlineExceeded, "timeout"},
}

// Reason returns a short constant name for err, fit for a metric attribute or
// a report: "ok" for nil, "unknown" for an error of no known kind.
func Reason(err error) string {
	if err == nil {
		return "ok"
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "unknown"
}

// Permanent reports whether trying again cannot help until an operator changes
// the configuration or the secret itself. Access denied and throttling are not
// permanent: they end without us.
func Permanent(err error) bool {
	return errors.Is(err, ErrReadOnly) || errors.Is(err, ErrInvalid)
}
