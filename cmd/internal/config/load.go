package config

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// Load reads the configuration from the file at path and from environ, which
// has the form of [os.Environ]. With an empty path there is no file, only the
// environment. The error is [Problems] when something is wrong with what has
// been read.
func Load(path string, environ []string) (*Config, error) {
	if path == "" {
		return Parse(nil, "configuration", environ)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(data, path, environ)
}

// Parse reads the configuration from the text of a file, name being what
// problems call it, and from environ, which has the form of [os.Environ]. What
// is returned is complete: defaults are filled in, and each secret has what the
// defaults section gives it. The error is [Problems], all of them; then the
// configuration is nil.
func Parse(data []byte, name string, environ []string) (*Config, error) {
	root, problems := parseYAML(data, name)
	if root == nil {
		return nil, Problems(sorted(problems))
	}
	if root.shape == mapping {
		override(root, environ)
	}
	problems = append(problems, checkSchema(root)...)
	c, err := decode(root)
	if err != nil {
		// A gap between the schema and the types: without a configuration there
		// is nothing more to check.
		problems = append(problems, problem(place{file: name, line: 1, column: 1}, CodeInvalid, "", err.Error(), ""))
		return nil, Problems(sorted(problems))
	}
	k := &checker{root: root, cfg: c, gaps: map[string]time.Duration{}, buckets: map[string]string{}, lookup: lookupIn(environ)}
	k.check(environ)
	problems = append(problems, k.problems...)
	if len(problems) > 0 {
		return nil, Problems(sorted(problems))
	}
	c.warnings = sorted(k.warnings)
	return c, nil
}

// decode returns the tree as a complete configuration.
func decode(root *node) (*Config, error) {
	b, err := json.Marshal(root.json())
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	c := new(Config)
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	c.complete()
	return c, nil
}
