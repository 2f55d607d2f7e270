// Package awssm is a driver of pkg/store for AWS Secrets Manager.
//
// # Stages and tokens
//
// A staging label is a stage: AWSPENDING, AWSCURRENT and AWSPREVIOUS are
// pending, current and previous; a version without one of them is retired. The
// rotation token is the ClientRequestToken of PutSecretValue and with that the
// id of the version, so AWS itself keeps one token to one value. Promoting is
// UpdateSecretVersionStage with RemoveFromVersionId, which AWS refuses unless
// that version still holds AWSCURRENT: the compare-and-set that everything else
// may rely on. AWS leaves AWSPENDING on a version that became current, so there
// it means nothing.
//
// A rotation is four calls: DescribeSecret, PutSecretValue, DescribeSecret again, to
// see that the version is still pending, and UpdateSecretVersionStage. Put does not describe again when a caller described
// the secret a moment ago through the same Driver. In between, another process
// may have put a pending version of its own, and then loses its AWSPENDING
// label to this one; or it may have promoted, and then this pending version is
// of no use. Neither does harm: both versions keep their values, and of two
// that are promoted the compare-and-set lets one through.
//
// # The first version
//
// AWS attaches AWSCURRENT to the first version of a secret, whatever labels it
// was given, and never lets go of it again but to another version. Until that
// version is promoted it therefore carries the label ROTATOR_UNPROMOTED as
// well, and means pending to this package, which shows no current version
// meanwhile. Promoting it takes the label away. A program that reads the secret
// past this package gets the value early, where otherwise there was none.
//
// # Dates
//
// DescribeSecret and ListSecrets give no date of a version. LastChangedDate
// moves with every edit of a tag, so that it would keep a secret from ever
// expiring, and LastRotatedDate knows only the rotations that AWS ran. The date
// is taken from what this Driver has written or seen, from the secret's own
// dates where it was not changed since it was made, and else from one call of
// ListSecretVersionIds, once per version and process.
//
// # Binary values
//
// A value goes into SecretString, or into SecretBinary if it is not valid
// UTF-8, if the version read before through the same Driver was binary, or if
// the tag rotator:kind says "binary". Finding out by reading would cost every
// rotation a fourth call: a secret whose readers expect text in SecretBinary
// needs the tag.
//
// # What it does not do
//
// It never deletes: AWS removes versions without labels by itself, beyond a
// hundred and after a day, so every [secret.RetireMode] comes down to taking
// the label away ([secret.RetireLater] puts ROTATOR_RETIRING_ and the version's id in
// its place), and what an application could log in with has to be disabled
// where it logs in. It keeps no end of life per version. It calls RotateSecret for
// secrets of the external strategy only, which also turns a rotation on again that
// was switched off. It does not switch rotation off, edit tags of a secret that it
// has not made, or read secrets of another region.
package awssm
