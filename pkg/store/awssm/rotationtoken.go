package awssm

import "context"

type rotationTokenKey struct{}

// rotationToken hides what is in it from everything that prints a context.
type rotationToken struct{ token func() string }

// WithRotationToken returns a context under which Put hands the RotationToken
// of a rotation Lambda's event on to AWS, which asks for it where the Lambda
// has assumed a role or rotates a secret of another account. It is sensitive:
// it is never logged, and no error holds it.
func WithRotationToken(ctx context.Context, token string) context.Context {
	return context.WithValue(ctx, rotationTokenKey{}, rotationToken{func() string { return token }})
}

// rotationTokenOf returns the token of [WithRotationToken], or nil.
func rotationTokenOf(ctx context.Context) *string {
	t, ok := ctx.Value(rotationTokenKey{}).(rotationToken)
	if !ok || t.token() == "" {
		return nil
	}
	s := t.token()
	return &s
}
