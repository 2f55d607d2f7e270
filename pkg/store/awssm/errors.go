package awssm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	smithy "github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tradepulse/rotator/pkg/store"
)

// reasons says what the error codes of Secrets Manager, of STS and of request
// signing mean. Throttling has its own list in the SDK.
var reasons = map[string]error{
	"ResourceNotFoundException": store.ErrNotFound,
	"ResourceExistsException":   store.ErrTokenReused,

	"AccessDenied":                store.ErrAccessDenied,
	"AccessDeniedException":       store.ErrAccessDenied,
	"DecryptionFailure":           store.ErrAccessDenied,
	"EncryptionFailure":           store.ErrAccessDenied,
	"ExpiredToken":                store.ErrAccessDenied,
	"ExpiredTokenException":       store.ErrAccessDenied,
	"IncompleteSignature":         store.ErrAccessDenied,
	"InvalidClientTokenId":        store.ErrAccessDenied,
	"InvalidIdentityToken":        store.ErrAccessDenied,
	"InvalidSignatureException":   store.ErrAccessDenied,
	"MissingAuthenticationToken":  store.ErrAccessDenied,
	"NotAuthorized":               store.ErrAccessDenied,
	"OptInRequired":               store.ErrAccessDenied,
	"RegionDisabledException":     store.ErrAccessDenied,
	"SignatureDoesNotMatch":       store.ErrAccessDenied,
	"UnrecognizedClientException": store.ErrAccessDenied,

	"InternalFailure":             store.ErrUnavailable,
	"InternalServiceError":        store.ErrUnavailable,
	"InternalServiceErrorMessage": store.ErrUnavailable,
	"ServiceUnavailable":          store.ErrUnavailable,
	"RequestTimeout":              store.ErrUnavailable,
	"RequestTimeoutException":     store.ErrUnavailable,

	"InvalidParameterException":   store.ErrInvalid,
	"InvalidRequestException":     store.ErrInvalid,
	"InvalidNextTokenException":   store.ErrInvalid,
	"PreconditionNotMetException": store.ErrInvalid,
	"ValidationException":         store.ErrInvalid,
	"ValidationError":             store.ErrInvalid,
	"SerializationException":      store.ErrInvalid,
}

// classify wraps an error of a call with the reason for it. The end of ctx
// passes as it is.
func classify(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, store.ErrThrottled) {
		return err // the driver's own limit
	}
	if why := reason(err); why != nil {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

// reason returns the sentinel for an error of the SDK, or nil when none fits.
func reason(err error) error {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if why := apiReason(api); why != nil {
			return why
		}
		return statusReason(err)
	}
	var params smithy.InvalidParamsError
	switch {
	case errors.As(err, &params):
		return store.ErrInvalid
	case noCredentials(err):
		return store.ErrAccessDenied
	default:
		return cmp.Or(statusReason(err), store.ErrUnavailable)
	}
}

// noCredentials reports whether the chain of credentials had none to give, for
// which the SDK has no type. A role that could not be assumed because STS was
// not reached is not that.
func noCredentials(err error) bool {
	var op, inner *smithy.OperationError
	if !errors.As(err, &op) || !strings.Contains(op.Err.Error(), "get identity: ") {
		return false
	}
	return !errors.As(op.Err, &inner) || inner.Service() != "STS"
}

func apiReason(e smithy.APIError) error {
	if _, ok := retry.DefaultThrottleErrorCodes[e.ErrorCode()]; ok {
		return store.ErrThrottled
	}
	why := reasons[e.ErrorCode()]
	if !errors.Is(why, store.ErrInvalid) {
		return why
	}
	switch msg := strings.ToLower(e.ErrorMessage()); {
	case scheduledForDeletion(msg):
		return store.ErrDeleted
	case strings.Contains(msg, "replica secret"):
		return store.ErrReadOnly
	default:
		return why
	}
}

// scheduledForDeletion recognises what AWS says of a secret that can still be
// restored. There is no error code for it.
func scheduledForDeletion(msg string) bool {
	return strings.Contains(msg, "marked for deletion") || strings.Contains(msg, "marked deleted") || strings.Contains(msg, "scheduled for deletion")
}

// statusReason goes by the HTTP status, which is what is left when a proxy or
// a load balancer answers.
func statusReason(err error) error {
	var resp *smithyhttp.ResponseError
	if !errors.As(err, &resp) {
		return nil
	}
	switch code := resp.HTTPStatusCode(); {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return store.ErrAccessDenied
	case code == http.StatusTooManyRequests:
		return store.ErrThrottled
	case code >= http.StatusInternalServerError:
		return store.ErrUnavailable
	default:
		return nil
	}
}

// contested reports whether a call that moves a label may have failed because
// the label was elsewhere. AWS documents that it fails, not with which code.
func contested(err error) bool {
	return errors.Is(err, store.ErrInvalid) || errors.Is(err, store.ErrNotFound)
}
