package config

import (
	"bytes"
	_ "embed"
	"errors"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed schema.json
var schemaJSON []byte

// schemaURL names the schema; nothing is fetched from there.
const schemaURL = "https://github.com/tradepulse/rotator/config.schema.json"

// Schema returns the JSON Schema (draft 2020-12) of the configuration, for
// editors and other tools.
func Schema() []byte { return bytes.Clone(schemaJSON) }

// schema is the compiled schema and, to explain what it finds, its source.
type schema struct {
	compiled *jsonschema.Schema
	source   any
	remedies map[string]string // :: format → what to do
}

// loadSchema compiles the schema that is part of the program. It panics when
// that is broken, which a test would have found.
func loadSchema() *schema {
	source, err := jsonschema.UnmarshalJSON(bytes.NewReader(schemaJSON))
	if err != nil {
		panic("config: embedded schema: " + err.Error())
	}
	s := &schema{source: source, remedies: map[string]string{}}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for _, f := range formats() {
		s.remedies[f.name] = f.remedy
		c.RegisterFormat(&jsonschema.Format{Name: f.name, Validate: func(v any) error {
			text, ok := v.(string)
			if !ok {
				return nil
			}
			return f.check(text)
		}})
	}
	if err := c.AddResource(schemaURL, source); err != nil {
		panic("config: embedded schema: " + err.Error())
	}
	s.compiled = c.MustCompile(schemaURL)
	return s
}

// at returns the part of the schema that a location of it names.
func (s *schema) at(location string) map[string]any {
	_, pointer, _ := strings.Cut(location, "#")
	cur := s.source
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		m, ok := cur.(map[string]any)
		if !ok {
			return nil
		}
		if step != "" {
			cur = m[step]
		}
	}
	m, _ := cur.(map[string]any)
	return m
}

// keys returns the keys that the schema at a location knows, in order.
func (s *schema) keys(location string) []string {
	props, _ := s.at(location)["properties"].(map[string]any)
	out := make([]string, 0, len(props))
	for k := range props {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// validate returns what is wrong with a tree by the schema.
func (s *schema) validate(v any) []*jsonschema.ValidationError {
	err, ok := errors.AsType[*jsonschema.ValidationError](s.compiled.Validate(v))
	if !ok {
		return nil
	}
	return leaves(err, nil)
}

// leaves returns the errors that no other explains further. Two kinds are left
// out, which stand in the schema for editors: patterns, each beside a format
// that says the same better, and names of keys, where the validator does not
// tell reliably which key it means (see checkNames).
func leaves(err *jsonschema.ValidationError, to []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch err.ErrorKind.(type) {
	case *kind.Pattern, *kind.PropertyNames:
		return to
	}
	if len(err.Causes) == 0 {
		return append(to, err)
	}
	for _, c := range err.Causes {
		to = leaves(c, to)
	}
	return to
}
