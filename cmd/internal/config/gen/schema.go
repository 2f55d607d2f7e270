package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

const schemaID = "https://github.com/tradepulse/rotator/config.schema.json"

// schema is the JSON Schema of the configuration.
type schema struct{ *jsonschema.Schema }

// newSchema reflects the types of package config and those of pkg/settings in them,
// with their comments.
func newSchema() (schema, error) {
	r := &jsonschema.Reflector{
		Anonymous:                  true,
		ExpandedStruct:             true,
		RequiredFromJSONSchemaTags: true,
		Mapper:                     mapType,
	}
	for _, dir := range []string{"..", root + "/pkg/settings"} {
		if err := r.AddGoComments("github.com/tradepulse/rotator/cmd/internal/config/gen", dir, jsonschema.WithFullComment()); err != nil {
			return schema{}, fmt.Errorf("read comments: %w", err)
		}
	}
	s := schema{r.Reflect(config.Config{})}
	s.ID = schemaID
	s.Title = "Configuration of rotator and notifier"
	s.Definitions["Policy"] = s.definition(r, reflect.TypeFor[config.Policy]())
	s.Definitions["ServiceEntry"] = s.definition(r, reflect.TypeFor[config.ServiceEntry]())
	addTyped(s, r, "Store", "What the store is.", config.StoreTypes())
	addTyped(s, r, "Target", "What the target is.", config.TargetTypes())
	one := uint64(1)
	s.Definitions["Ref"].MinProperties, s.Definitions["Ref"].MaxProperties = &one, &one
	names := &jsonschema.Schema{Type: "string", Format: "token"}
	for _, key := range []string{"stores", "targets", "policies", "services"} {
		s.property(key).PropertyNames = names
	}
	s.tidy(reflect.TypeFor[config.Config]())
	return s, nil
}

// mapType gives the types whose text the program parses itself their format.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[config.Duration]():
		return &jsonschema.Schema{Type: "string", Format: "duration", Pattern: "^" + config.DurationPattern + "$"}
	case reflect.TypeFor[config.DurationOrNone]():
		return &jsonschema.Schema{Type: "string", Format: "duration-or-none", Pattern: "^(none|" + config.DurationPattern + ")$"}
	case reflect.TypeFor[config.PolicyRef]():
		return nameOr("Policy")
	case reflect.TypeFor[config.ServiceRef]():
		return nameOr("ServiceEntry")
	case reflect.TypeFor[config.Store]():
		return &jsonschema.Schema{Ref: "#/$defs/Store"}
	case reflect.TypeFor[config.Target]():
		return &jsonschema.Schema{Ref: "#/$defs/Target"}
	default:
		return nil
	}
}

// nameOr is a name, or a definition in place. Not anyOf: its errors are those of
// both.
func nameOr(definition string) *jsonschema.Schema {
	return &jsonschema.Schema{Extras: map[string]any{"type": []string{"string", "object"}},
		If:   &jsonschema.Schema{Type: "object"},
		Then: &jsonschema.Schema{Ref: "#/$defs/" + definition},
		Else: &jsonschema.Schema{Format: "token"},
	}
}

// definition returns the schema of a type, and adds those that it refers to.
func (s schema) definition(r *jsonschema.Reflector, t reflect.Type) *jsonschema.Schema {
	d := r.ReflectFromType(t)
	for name, other := range d.Definitions {
		if _, ok := s.Definitions[name]; !ok {
			s.Definitions[name] = other
		}
	}
	d.Version, d.Definitions = "", nil
	return d
}

// typedOptions are options of which a key named type decides what other keys there are.
type typedOptions interface{ Type() string }

// addTyped describes a kind of typed options as a definition of that name: its type
// decides which definition holds.
func addTyped[T typedOptions](s schema, r *jsonschema.Reflector, kind, what string, all []T) {
	words := []any{}
	union := &jsonschema.Schema{Type: "object", Required: []string{"type"}, Properties: jsonschema.NewProperties()}
	union.Description = r.CommentMap["github.com/tradepulse/rotator/cmd/internal/config."+kind]
	for _, o := range all {
		name := definitionName(o, kind)
		d := s.definition(r, reflect.TypeOf(o).Elem())
		d.Properties.Set("type", &jsonschema.Schema{Const: o.Type()})
		_ = d.Properties.MoveToFront("type")
		s.Definitions[name] = d
		is := &jsonschema.Schema{Properties: jsonschema.NewProperties(), Required: []string{"type"}}
		is.Properties.Set("type", &jsonschema.Schema{Const: o.Type()})
		union.AllOf = append(union.AllOf, &jsonschema.Schema{If: is, Then: &jsonschema.Schema{Ref: "#/$defs/" + name}})
		words = append(words, o.Type())
	}
	union.Properties.Set("type", &jsonschema.Schema{Type: "string", Enum: words, Description: what})
	s.Definitions[kind] = union
}

// definitionName is the name of the definition of typed options.
func definitionName(o typedOptions, kind string) string {
	return reflect.TypeOf(o).Elem().Name() + kind
}

func (s schema) property(key string) *jsonschema.Schema {
	p, _ := s.Properties.Get(key)
	return p
}

// tidy sets the defaults that the tags give and joins the lines of comments.
func (s schema) tidy(t reflect.Type) {
	s.defaults(s.Schema, t)
	for _, o := range config.StoreTypes() {
		s.defaults(s.Definitions[definitionName(o, "Store")], reflect.TypeOf(o).Elem())
	}
	for _, o := range config.TargetTypes() {
		s.defaults(s.Definitions[definitionName(o, "Target")], reflect.TypeOf(o).Elem())
	}
	for _, t := range []reflect.Type{
		reflect.TypeFor[config.Policy](), reflect.TypeFor[config.Window](), reflect.TypeFor[config.Consumer](),
		reflect.TypeFor[config.AgentFile](), reflect.TypeFor[config.AgentSignal](), reflect.TypeFor[config.AgentCommand](),
	} {
		s.defaults(s.Definitions[t.Name()], t)
	}
	joinLines(s.Schema)
	for _, d := range s.Definitions {
		joinLines(d)
	}
}

func (s schema) defaults(of *jsonschema.Schema, t reflect.Type) {
	for f := range t.Fields() {
		if f.Anonymous {
			s.defaults(of, f.Type)
			continue
		}
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, ok := of.Properties.Get(key)
		if !ok {
			continue
		}
		if text, ok := f.Tag.Lookup("default"); ok {
			p.Default = typed(text, p)
		}
		if f.Type.Kind() == reflect.Struct && p.Ref != "" {
			s.defaults(s.Definitions[strings.TrimPrefix(p.Ref, "#/$defs/")], f.Type)
		}
	}
}

// typed returns the text of a default as the type of its property.
func typed(text string, p *jsonschema.Schema) any {
	switch p.Type {
	case "integer":
		if n, err := strconv.Atoi(text); err == nil {
			return n
		}
	case "boolean":
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	}
	return text
}

func joinLines(s *jsonschema.Schema) {
	s.Description = strings.Join(strings.Fields(s.Description), " ")
	if s.Properties == nil {
		return
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		joinLines(p.Value)
	}
}

func (s schema) encode() ([]byte, error) {
	b, err := json.MarshalIndent(s.Schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return append(b, '\n'), nil
}
