package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/tradepulse/rotator/cmd/internal/config"
)

const intro = `# Configuration

<!-- Generated from the types of cmd/internal/config: change them and run go generate. -->

Both programs read the same YAML file. It is strict: an unknown key, a wrong type, two keys of one name, or settings that contradict each
other are errors, and all of them are reported at once, each with its line and what to do about it. ` + "`rotator config validate`" + ` does
that without starting anything, ` + "`rotator config show`" + ` prints what is in force, and ` + "`rotator config schema`" + ` prints the JSON Schema, which is
also in [config.schema.json](config.schema.json). An editor that knows YAML schemas completes and checks the file with this as its first line:

    # yaml-language-server: $schema=https://raw.githubusercontent.com/tradepulse/rotator/main/docs/reference/config.schema.json

- **Environment.** Each setting with a variable in the tables below can be overridden by it. A variable that is set to nothing counts as not
  set. A variable that begins with ` + "`ROTATOR_`" + ` and is none of these is an error, so that a misspelt one is noticed; ` + "`ROTATOR_CONFIG`" + `, variables that
  the configuration itself names, and those that Kubernetes makes for services called rotator are not.
- **Durations** are numbers with units: ` + "`ms`, `s`, `m`, `h`, and `d` for days of 24 hours, such as `30d` or `1h30m`" + `. Where a duration can be switched off,
  ` + "`none`" + ` and ` + "`0s`" + ` do that.
- **Secrets** stand in the file by reference only: ` + "`{file: NAME}` or `{env: NAME}`" + `.
- **Files** are named relative to the working directory.
- The file may have 4 MiB, one document, anchors and aliases. Tags and merge keys are not supported; ` + "`defaults`" + ` is for what secrets have in
  common.

Examples: [single-node.yaml](../examples/single-node.yaml), [cluster.yaml](../examples/cluster.yaml),
[tradepulse.yaml](../examples/tradepulse.yaml), [aws.yaml](../examples/aws.yaml), [vault.yaml](../examples/vault.yaml).
`

// writer collects the reference.
type writer struct {
	strings.Builder
	schema schema
	envs   map[string]string // :: path → environment variable
}

// markdown returns the reference for people.
func markdown(s schema) []byte {
	w := &writer{schema: s, envs: map[string]string{}}
	for _, o := range config.Overrides() {
		w.envs[o.Path] = o.Env
	}
	w.WriteString(intro)
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		w.section(p.Key, p.Value)
	}
	return []byte(w.String())
}

func (w *writer) section(key string, p *jsonschema.Schema) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n", key, p.Description)
	switch key {
	case "stores":
		options(w, "Store", config.StoreTypes())
	case "targets":
		options(w, "Target", config.TargetTypes())
	case "policies":
		w.table("", w.schema.Definitions["Policy"], nil)
	case "services":
		w.table("", w.schema.Definitions["Service"], nil)
	case "agent":
		w.table(key, w.resolve(p), nil)
		fmt.Fprintf(w, "\nEach entry of `files` has these keys.\n")
		w.table("", w.schema.Definitions["AgentFile"], nil)
	case "secrets":
		fmt.Fprintf(w, "\nA list. Each entry has these keys, and all those of [defaults](#defaults), which win over what is said there.\n")
		w.table("", w.schema.Definitions["Secret"], w.schema.Definitions["Settings"])
		fmt.Fprintf(w, "\nEach entry of `windows` has these keys.\n")
		w.table("", w.schema.Definitions["Window"], nil)
		fmt.Fprintf(w, "\nEach entry of `consumers` has these keys. An entry of `services` with settings has `name`, and the keys of [services](#services).\n")
		w.table("", w.schema.Definitions["Consumer"], nil)
	default:
		w.table(key, w.resolve(p), nil)
	}
}

// options writes a table for each type of options.
func options[T typedOptions](w *writer, kind string, all []T) {
	fmt.Fprintf(w, "\nEach has a `type`, which decides what other keys it has.\n")
	for _, o := range all {
		d := w.schema.Definitions[definitionName(o, kind)]
		_, text, _ := strings.Cut(d.Description, " is ")
		fmt.Fprintf(w, "\n### type: %s\n\nIt is %s\n", o.Type(), text)
		if d.Properties.Len() > 1 {
			w.table("", d, nil)
		}
	}
}

// table writes one row for each setting of d but those that without has.
func (w *writer) table(path string, d, without *jsonschema.Schema) {
	w.WriteString("\n| key | type | default | variable | meaning |\n|---|---|---|---|---|\n")
	w.rows(path, "", d, without)
}

func (w *writer) rows(path, prefix string, d, without *jsonschema.Schema) {
	for p := d.Properties.Oldest(); p != nil; p = p.Next() {
		if p.Value.Const != nil || without != nil && has(without, p.Key) {
			continue
		}
		full := strings.TrimPrefix(path+"."+p.Key, ".")
		if def := w.resolve(p.Value); def.Properties != nil && def != w.schema.Definitions["Ref"] {
			w.rows(full, prefix+p.Key+".", def, nil)
			continue
		}
		key := "`" + prefix + p.Key + "`"
		if slices.Contains(d.Required, p.Key) {
			key += " (required)"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s |\n", key, w.typeOf(p.Value), defaultOf(p.Value), w.variable(full), cell(p.Value.Description))
	}
}

// variable returns the environment variables of a setting; a reference has two.
func (w *writer) variable(path string) string {
	var names []string
	for _, p := range []string{path, path + ".file", path + ".env"} {
		if env, ok := w.envs[p]; ok {
			names = append(names, "`"+env+"`")
		}
	}
	return strings.Join(names, " ")
}

func (w *writer) resolve(p *jsonschema.Schema) *jsonschema.Schema {
	if d, ok := w.schema.Definitions[strings.TrimPrefix(p.Ref, "#/$defs/")]; ok {
		return d
	}
	return p
}

func (w *writer) typeOf(p *jsonschema.Schema) string {
	switch {
	case p.Ref == "#/$defs/Ref":
		return "reference"
	case p.Ref == "#/$defs/AgentFile":
		return "[file](#agent)"
	case p.Ref != "":
		return "[" + strings.ToLower(strings.TrimPrefix(p.Ref, "#/$defs/")) + "](#secrets)"
	case p.If != nil && p.Then.Ref == "#/$defs/ServiceEntry":
		return "name or [service](#services)"
	case p.If != nil:
		return "name or [policy](#policies)"
	case len(p.Enum) > 0:
		return words(p.Enum)
	case p.Type == "array":
		return "list of " + w.typeOf(p.Items)
	case p.Type == "integer" && p.Minimum != "":
		return fmt.Sprintf("%s to %s", p.Minimum, p.Maximum)
	case p.Type == "boolean":
		return "true, false"
	}
	if word, ok := formatWords[p.Format]; ok {
		return word
	}
	return "text"
}

var formatWords = map[string]string{
	"duration":         "duration",
	"duration-or-none": "duration or `none`",
	"sync-interval":    "`always`, `default` or duration",
	"listen":           "`host:port` or `none`",
	"address":          "`host:port`",
	"hook-url":         "URL",
	"nats-url":         "URLs",
	"subject-prefix":   "name",
	"token":            "name",
	"confirm":          "`manual` or `after` duration",
	"secret-id":        "name",
	"file":             "file",
	"trusted-key":      "file or `ROLES=FILE`",
	"file-mode":        "octal number",
	"env-name":         "variable",
}

func words(values []any) string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = fmt.Sprintf("`%v`", v)
	}
	return strings.Join(out, ", ")
}

func defaultOf(p *jsonschema.Schema) string {
	if p.Default == nil {
		return ""
	}
	return fmt.Sprintf("`%v`", p.Default)
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

func has(d *jsonschema.Schema, key string) bool {
	_, ok := d.Properties.Get(key)
	return ok
}
