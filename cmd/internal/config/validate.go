package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// checkSchema returns what is wrong with the document by the schema, and takes
// what cannot be decoded out of it, so that the rest can be looked at further.
func checkSchema(root *node) []Problem {
	s := loadSchema()
	problems := checkNames(root)
	var bad []*node
	for _, err := range s.validate(root.json()) {
		if root.find(err.InstanceLocation).bad {
			continue
		}
		problems = append(problems, s.explain(root, err)...)
		if !aboutKeys(err.ErrorKind) {
			bad = append(bad, root.find(err.InstanceLocation))
		}
	}
	for _, n := range bad {
		n.blank()
	}
	return problems
}

// checkNames returns what is wrong with the keys that are names.
func checkNames(root *node) []Problem {
	var problems []Problem
	for _, section := range []string{"stores", "targets", "policies", "services"} {
		n := root.child(section)
		if n == nil {
			continue
		}
		for _, name := range n.names {
			if checkToken(name) != nil {
				problems = append(problems, problem(n.named[name].key, CodeInvalid, join(section, name), "this cannot be a name", "use 1 to 64 letters, digits, _ and -"))
			}
		}
	}
	return problems
}

// aboutKeys reports whether an object is wrong by the keys that it has, which
// leaves its values worth looking at.
func aboutKeys(k jsonschema.ErrorKind) bool {
	switch k.(type) {
	case *kind.AdditionalProperties, *kind.Required, *kind.MinProperties, *kind.MaxProperties, *kind.UniqueItems:
		return true
	default:
		return false
	}
}

// explain returns an error of the schema in the words of the configuration.
func (s *schema) explain(root *node, err *jsonschema.ValidationError) []Problem {
	n := root.find(err.InstanceLocation)
	p := problem(n.at, CodeInvalid, pathOf(root, err.InstanceLocation), "", "")
	switch k := err.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		return s.unknownKeys(p, n, k.Properties, s.keys(err.SchemaURL))
	case *kind.Required:
		return s.missing(p, n, k.Missing, err.SchemaURL)
	case *kind.Type:
		p.Message, p.Remedy = s.wrongType(err.SchemaURL, n, k)
	case *kind.Enum:
		p.Message, p.Remedy = notOneOf(k)
	case *kind.Format:
		p.Message, p.Remedy = k.Err.Error(), s.remedies[k.Want]
	case *kind.MinProperties, *kind.MaxProperties:
		p.Message, p.Remedy = "name one place where it is kept", "write {file: NAME} or {env: NAME}"
	case *kind.UniqueItems:
		dup := n.items[max(k.Duplicates[0], k.Duplicates[1])]
		p.Line, p.Column = dup.at.line, dup.at.column
		p.Message, p.Remedy = "the same entry stands here twice", "remove one"
	default:
		p.Message, p.Remedy = outOfRange(err.ErrorKind)
	}
	return []Problem{p}
}

func (s *schema) unknownKeys(p Problem, n *node, keys, known []string) []Problem {
	var out []Problem
	for _, k := range keys {
		out = append(out, problem(n.named[k].key, CodeUnknown, join(p.Subject, k), "unknown key", didYouMean(k, known)))
	}
	return out
}

func (s *schema) missing(p Problem, n *node, keys []string, location string) []Problem {
	var out []Problem
	for _, k := range keys {
		p := problem(n.key, CodeMissing, p.Subject, k+" is missing", "add "+k)
		if enum, ok := s.at(location + "/properties/" + k)["enum"].([]any); ok {
			p.Remedy += ", one of " + list(texts(enum))
		}
		out = append(out, p)
	}
	return out
}

// wrongType explains a value of another type than the setting's. It never
// repeats the value: it may be a secret where a reference belongs.
func (s *schema) wrongType(location string, n *node, k *kind.Type) (message, remedy string) {
	switch {
	case k.Got == "null":
		return "it has no value", "give it one, or remove the key"
	case strings.HasSuffix(location, "/$defs/Ref"):
		return "a secret stands here by reference only", "write {file: NAME} or {env: NAME}, and change the secret if this was one"
	}
	want := make([]string, len(k.Want))
	for i, w := range k.Want {
		want[i] = typeWord(w)
	}
	message = "want " + strings.Join(want, " or ") + ", got " + typeWord(k.Got)
	if slices.Contains(k.Want, "string") && n.shape == scalar {
		format, _ := s.at(location)["format"].(string)
		remedy = cmp.Or(s.remedies[format], "write it in quotes")
		if enum, ok := s.at(location)["enum"].([]any); ok {
			remedy = "use one of " + list(texts(enum))
		}
	}
	return message, remedy
}

func typeWord(jsonType string) string {
	switch jsonType {
	case "object":
		return "a section with keys"
	case "array":
		return "a list"
	case "string":
		return "text"
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "boolean":
		return "true or false"
	default:
		return jsonType
	}
}

func notOneOf(k *kind.Enum) (message, remedy string) {
	words := texts(k.Want)
	got, ok := k.Got.(string)
	if !ok {
		return fmt.Sprint(k.Got) + " is not possible here", "use one of " + list(words)
	}
	return quote(got) + " is not possible here", didYouMean(got, words)
}

// texts returns the values as words.
func texts(values []any) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprint(v)
	}
	return out
}

// outOfRange explains the keywords that bound numbers and lengths.
func outOfRange(k jsonschema.ErrorKind) (message, remedy string) {
	switch k := k.(type) {
	case *kind.Minimum:
		return "the number is too small", "the least is " + k.Want.RatString()
	case *kind.Maximum:
		return "the number is too large", "the most is " + k.Want.RatString()
	case *kind.MinLength:
		return "the text is too short", fmt.Sprintf("write at least %d characters", k.Want)
	case *kind.MaxLength:
		return "the text is too long", fmt.Sprintf("write at most %d characters", k.Want)
	case *kind.MinItems:
		return "the list is too short", fmt.Sprintf("give at least %d", k.Want)
	case *kind.MaxItems:
		return "the list is too long", fmt.Sprintf("give at most %d", k.Want)
	default:
		return "the value is not allowed here", "see the reference"
	}
}
