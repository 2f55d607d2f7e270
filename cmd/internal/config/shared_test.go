package config_test

import (
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/settings"
)

// TestAVariableMeansTheSameToProgramsAndServices sets every variable that both have,
// in groups that make sense together.
func TestAVariableMeansTheSameToProgramsAndServices(t *testing.T) {
	t.Parallel()
	const url = "ROTATOR_NATS_URL"
	untried := map[string]bool{}
	for _, o := range config.Overrides() {
		if slices.Contains(settings.ServiceVariables(), o.Env) {
			untried[o.Env] = true
		}
	}
	if len(untried) < 10 {
		t.Fatalf("they share %d variables", len(untried))
	}
	for _, vars := range []map[string]string{
		{"ROTATOR_NATS_PREFIX": "prod", "ROTATOR_NATS_API_PREFIX": "ROTATOR.API"},
		{"ROTATOR_NATS_CREDENTIALS_CREDS_FILE": "/a"},
		{"ROTATOR_NATS_CREDENTIALS_NKEY_FILE": "/a"},
		{"ROTATOR_NATS_CREDENTIALS_USER": "a", "ROTATOR_NATS_CREDENTIALS_PASSWORD_FILE": "/b"},
		{"ROTATOR_NATS_CREDENTIALS_USER": "a", "ROTATOR_NATS_CREDENTIALS_PASSWORD_ENV": "B"},
		{"ROTATOR_NATS_TLS_CA": "/a"},
		{"ROTATOR_NATS_TLS_CERT": "/a", "ROTATOR_NATS_TLS_KEY": "/b"},
	} {
		vars[url] = "nats://127.0.0.1:4222"
		var environ []string
		for name, text := range vars {
			environ = append(environ, name+"="+text)
			delete(untried, name)
		}
		program, err := config.Load("", environ)
		if err != nil {
			t.Fatal(err)
		}
		var service settings.Service
		if errs := service.Override(func(name string) (string, bool) { v, ok := vars[name]; return v, ok }); errs != nil {
			t.Fatal(errs)
		}
		if program.NATS.NATS != service.NATS || set(reflect.ValueOf(service.NATS)) != len(vars) {
			t.Errorf("%v:\na program has %+v\na service has %+v", slices.Sorted(maps.Keys(vars)), program.NATS.NATS, service.NATS)
		}
	}
	if len(untried) > 0 {
		t.Errorf("not tried: %v", slices.Sorted(maps.Keys(untried)))
	}
}

// set counts the settings below v that are not zero.
func set(v reflect.Value) (n int) {
	for _, field := range v.Fields() {
		switch {
		case field.Kind() == reflect.Struct:
			n += set(field)
		case !field.IsZero():
			n++
		}
	}
	return n
}
