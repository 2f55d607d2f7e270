package natskv

import (
	"cmp"
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tradepulse/rotator/pkg/store"
)

// Sealed reports whether a bucket has a keyset, which only its own master key opens.
func Sealed(ctx context.Context, js jetstream.JetStream, bucket string) (bool, error) {
	bucket = cmp.Or(bucket, DefaultBucket)
	s, err := js.Stream(ctx, "KV_"+bucket)
	if err == nil {
		_, err = s.GetLastMsgForSubject(ctx, "$KV."+bucket+"."+keysetKey)
	}
	if err = classify(err); errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Probe returns the stream of a bucket and the subject on which a program may publish
// to find out whether the bucket accepts writes. The store reads nothing there.
func Probe(bucket string) (stream, subject string) {
	bucket = cmp.Or(bucket, DefaultBucket)
	return "KV_" + bucket, "$KV." + bucket + ".probe"
}
