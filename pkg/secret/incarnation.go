package secret

// TokenIn is [Spec.Token] for a secret of which the store knows the incarnation
// (see [Metadata.Incarnation]), so that a secret that is deleted and made anew does
// not go through the same tokens again.
func (s Spec) TokenIn(incarnation string, from VersionID, attempt int) Token {
	if incarnation == "" {
		return s.Token(from, attempt)
	}
	return NewToken(s.ID, from, s.ValuePolicy().Hash()+" in "+incarnation, attempt)
}

// MadeIn is [Spec.Made] for tokens of [Spec.TokenIn]. It also knows those of
// [Spec.Token]: the first version was written before the store knew an incarnation,
// and earlier programs derived no other.
func (s Spec) MadeIn(incarnation string, from VersionID, t Token) bool {
	if s.Made(from, t) {
		return true
	}
	for n := range MaxAttempts {
		if t != "" && t == s.TokenIn(incarnation, from, n) {
			return true
		}
	}
	return false
}
