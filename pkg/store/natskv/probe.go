package natskv

import "cmp"

// Probe returns the stream of a bucket and the subject on which a program may publish
// to find out whether the bucket accepts writes. The store reads nothing there.
func Probe(bucket string) (stream, subject string) {
	bucket = cmp.Or(bucket, DefaultBucket)
	return "KV_" + bucket, "$KV." + bucket + ".probe"
}
