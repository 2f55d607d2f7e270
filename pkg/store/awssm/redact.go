package awssm

import (
	"context"
	"io"
	"net/url"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/tradepulse/rotator/pkg/secret"
)

// redactCredentials keeps the credentials of a request out of the text of its error.
// AWS itself quotes the headers that it has signed, the token of the session among
// them, when a signature does not match.
func redactCredentials(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("RedactCredentials",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, meta, err := next.HandleDeserialize(ctx, in)
			if req, ok := in.Request.(*smithyhttp.Request); ok && err != nil {
				err = redactedError{err, sent(req)}
			}
			return out, meta, err
		}), middleware.Before)
}

// sent returns the credentials that a request carries.
func sent(req *smithyhttp.Request) []secret.Value {
	out := []secret.Value{secret.NewValue([]byte(req.Header.Get("X-Amz-Security-Token")))}
	if req.RewindStream() != nil || req.GetStream() == nil {
		return out
	}
	body, err := io.ReadAll(io.LimitReader(req.GetStream(), secret.MaxValueLength))
	if err != nil {
		return out
	}
	if form, err := url.ParseQuery(string(body)); err == nil {
		out = append(out, secret.NewValue([]byte(form.Get("WebIdentityToken"))))
	}
	return out
}

// redactedError is an error whose text is scrubbed. It unwraps, since the SDK decides
// by the type whether to try again.
type redactedError struct {
	err         error
	credentials []secret.Value
}

func (e redactedError) Error() string { return secret.ScrubText(e.err.Error(), e.credentials...) }
func (e redactedError) Unwrap() error { return e.err }
