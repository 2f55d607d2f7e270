package config

import (
	"encoding"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tradepulse/rotator/pkg/settings"
)

// Override is a setting that an environment variable can override.
type Override struct {
	// Env is the name of the variable, such as ROTATOR_NATS_URL.
	Env string
	// Path is the setting, such as nats.url.
	Path string

	loc []string
	typ reflect.Type
}

// Overrides returns every setting that an environment variable can override, in
// the order of the reference: all but those within lists and maps.
func Overrides() []Override {
	var out []Override
	walk(reflect.TypeFor[Config](), nil, func(loc []string, t reflect.Type) {
		out = append(out, Override{
			Env:  settings.Variable(loc...),
			Path: strings.Join(loc, "."),
			loc:  loc, typ: t,
		})
	})
	return out
}

// walk calls visit for every scalar below a struct, in the order of the fields.
func walk(t reflect.Type, loc []string, visit func([]string, reflect.Type)) {
	for f := range fields(t) {
		below := append(slices.Clip(loc), f.key)
		switch ft := f.Type; {
		case isScalar(ft):
			visit(below, ft)
		case ft.Kind() == reflect.Struct:
			walk(ft, below, visit)
		}
	}
}

// field is a field of a struct and its key in the configuration.
type field struct {
	reflect.StructField
	key string
}

// fields yields the fields that have a key, those of embedded structs in their
// place.
func fields(t reflect.Type) func(yield func(field) bool) {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key != "" && !yield(field{StructField: f, key: key}) {
				return
			}
		}
	}
}

var (
	textType   = reflect.TypeFor[encoding.TextUnmarshaler]()
	policyType = reflect.TypeFor[*PolicyRef]()
)

// isScalar reports whether one word of text can be a value of the type.
func isScalar(t reflect.Type) bool {
	if reflect.PointerTo(t).Implements(textType) || t == policyType {
		return true
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Bool:
		return true
	default:
		return false
	}
}

// toolVariables are the ROTATOR_* variables that are no settings.
func toolVariables() []string { return []string{"ROTATOR_CONFIG"} }

// serviceVariable matches what Kubernetes puts into every container of a
// namespace that has a service whose name begins with "rotator".
var serviceVariable = regexp.MustCompile(`^ROTATOR_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// override puts the settings of the environment into the tree, in place of
// those of the file. A variable that is set to nothing counts as not set.
func override(root *node, environ []string) {
	known := map[string]Override{}
	for _, o := range Overrides() {
		known[o.Env] = o
	}
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if o, ok := known[name]; ok && text != "" {
			o.apply(root, text)
		}
	}
}

// lookupIn returns what finds a variable in the form of [os.Environ].
func lookupIn(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, kv := range environ {
			if key, text, _ := strings.Cut(kv, "="); key == name {
				return text, true
			}
		}
		return "", false
	}
}

// unknownVariables returns a problem for each variable that looks like a
// setting and is none, and that nothing in named uses; and a warning for each
// that is a setting of services, which may share an environment with a command.
func unknownVariables(environ []string, named map[string]bool) (problems, warnings []Problem) {
	var known []string
	for _, o := range Overrides() {
		known = append(known, o.Env)
	}
	known = append(known, toolVariables()...)
	ofServices := settings.ServiceVariables()
	for _, kv := range environ {
		name, text, _ := strings.Cut(kv, "=")
		if !strings.HasPrefix(name, settings.VariablePrefix) || text == "" || named[name] || slices.Contains(known, name) || serviceVariable.MatchString(name) {
			continue
		}
		if slices.Contains(ofServices, name) {
			warnings = append(warnings, problem(place{file: name}, CodeUnknown, "", "this is a setting of services, and none of rotator", "unset it if it was meant for rotator").warning())
			continue
		}
		p := problem(place{file: name}, CodeUnknown, "", "no setting has this variable", "unset it; the reference lists all variables")
		if now, ok := renamedVariable(name, known); ok {
			p.Remedy = "it is called " + now + " now"
		} else if s, ok := suggest(name, known); ok {
			p.Remedy = "did you mean " + s + "?"
		}
		problems = append(problems, p)
	}
	return problems, warnings
}

// apply sets the value, making the sections on the way. Where the file has
// something else than a section the file is wrong and that is reported.
func (o Override) apply(root *node, text string) {
	at := place{file: o.Env}
	for _, step := range o.loc[:len(o.loc)-1] {
		next := root.child(step)
		if next == nil {
			next = newMapping(at)
			root.set(step, next)
		}
		if root = next; root.shape != mapping {
			return
		}
	}
	root.set(o.loc[len(o.loc)-1], &node{at: at, key: at, value: o.parse(text)})
}

// parse returns the text as the type that the setting wants, or as it is for
// the schema to refuse.
func (o Override) parse(text string) any {
	t := o.typ
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(textType) {
		return text
	}
	switch t.Kind() {
	case reflect.Int:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
	case reflect.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			return b
		}
	}
	return text
}

// variables returns the environment variables that the configuration names:
// those that hold its secrets, and those that a store of the environment reads.
func (c *Config) variables() []string {
	var names []string
	references(reflect.ValueOf(c).Elem(), func(r Ref) { names = append(names, r.Env) })
	for _, s := range c.Secrets {
		if o, ok := c.Stores[s.Store].Options.(reading); ok {
			names = append(names, o.variables(s)...)
		}
	}
	return names
}

// references calls visit for every [Ref] below v.
func references(v reflect.Value, visit func(Ref)) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			references(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			references(v.Index(i), visit)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			references(it.Value(), visit)
		}
	case reflect.Struct:
		if r, ok := reflect.TypeAssert[Ref](v); ok {
			visit(r)
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				references(v.Field(i), visit)
			}
		}
	}
}
