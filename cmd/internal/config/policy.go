package config

import "github.com/tradepulse/rotator/pkg/secret"

// Policy is what a value has to look like.
type Policy struct {
	// Least number of characters.
	MinLength int `json:"min_length,omitzero" default:"16" jsonschema:"minimum=1,maximum=65536"`
	// Largest number of characters. Without it no more than a store takes.
	MaxLength int `json:"max_length,omitzero" jsonschema:"minimum=1,maximum=65536"`
	// Characters of a generated value. Without it 36, or as near to it as
	// min_length and max_length allow.
	Length int `json:"length,omitzero" jsonschema:"minimum=1,maximum=65536"`
	// Kinds of character that a value must contain: upper, lower, digit,
	// symbol. Without it all four; an empty list is none.
	Classes []string `json:"classes,omitzero" jsonschema:"enum=upper,enum=lower,enum=digit,enum=symbol,uniqueItems=true"`
	// ASCII characters that values are made of. Without it those of the
	// classes.
	Alphabet string `json:"alphabet,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// Symbols that generated values use. Without it . and _, which need no
	// quoting anywhere.
	Symbols string `json:"symbols,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// Characters that a value must not contain.
	Exclude string `json:"exclude,omitzero" jsonschema:"minLength=1,maxLength=256"`
	// How a value is written. All but text are random bytes, for which the
	// settings above do not apply.
	Encoding string `json:"encoding,omitzero" default:"text" jsonschema:"enum=text,enum=hex,enum=base64,enum=base64url,enum=uuid"`
	// Random bytes behind hex, base64 and base64url. Without it 32.
	Bytes int `json:"bytes,omitzero" jsonschema:"minimum=8,maximum=32768"`
	// JSON Pointer, such as /password, of the one field that the policy is
	// about in a secret that is a JSON document. Without it the whole value.
	Field string `json:"field,omitzero" jsonschema:"maxLength=1024"`
	// Lets a generated value replace a whole document, connection string, file or
	// binary value. Without it such a rotation is refused.
	Whole bool `json:"whole,omitzero"`
	// Where the value has to fit in: text has no invisible character and no space
	// at its ends; token is visible ASCII, for an Authorization header. Without it
	// text, and token for TRADEPULSE_ADMIN_TOKEN_ID.
	Use string `json:"use,omitzero" jsonschema:"enum=text,enum=token"`
}

// policy returns the policy as the rules of rotation know it.
func (p Policy) policy() secret.Policy {
	out := secret.Policy{
		MinLength: p.MinLength,
		MaxLength: p.MaxLength,
		Length:    p.Length,
		Alphabet:  p.Alphabet,
		Symbols:   p.Symbols,
		Exclude:   p.Exclude,
		Encoding:  secret.Encoding(p.Encoding),
		Bytes:     p.Bytes,
		Field:     p.Field,
		Whole:     p.Whole,
		Use:       secret.Use(p.Use),
	}
	if p.Classes != nil {
		out.Classes = make([]secret.Class, len(p.Classes)) // empty is not nil: no class at all
	}
	for i, c := range p.Classes {
		out.Classes[i] = secret.Class(c)
	}
	return out
}
