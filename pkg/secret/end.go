package secret

import (
	"fmt"
	"time"
)

// AttributeNotAfter is the attribute of a secret that gives the version its absolute
// end which another program than rotator wrote, in the form of [ParseNotAfter].
const AttributeNotAfter = "rotator:not_after"

// ParseNotAfter reads a time in the form of RFC 3339, such as 2027-01-31T12:00:00Z.
func ParseNotAfter(text string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("it is no time such as 2027-01-31T12:00:00Z")
	}
	return t, nil
}

// NotAfter returns the end of the life of version v: the earliest of what the TTL of
// the spec gives, or without one that of the store; of what the store records for v;
// and of [AttributeNotAfter]. The zero Time means that the version has no end.
//
// The attribute is about the version that was written with it. It says nothing of a
// version that was made after that time, or by a rotation of ours: otherwise the
// successor would end with its predecessor. A text that is no time says nothing here;
// the catalog reports it.
func (s Spec) NotAfter(m Metadata, v Version) time.Time {
	var end time.Time
	if life := s.Lifetime(m); life > 0 {
		end = v.CreatedAt.Add(life)
	}
	end = earliest(end, v.NotAfter)
	if at, err := ParseNotAfter(m.Attributes[AttributeNotAfter]); err == nil && v.CreatedAt.Before(at) && !v.Token.Derived() {
		end = earliest(end, at)
	}
	return end
}

// earliest returns the earlier of two times, of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Derived reports whether the token is one of [NewToken]: a UUID of version 8. Other
// programs and the SDKs of AWS write random ones, of version 4.
func (t Token) Derived() bool { return len(t) == 36 && t[14] == '8' }
