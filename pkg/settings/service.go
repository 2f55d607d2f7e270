package settings

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// VariablePrefix starts every environment variable that is a setting, of programs
// and of services.
const VariablePrefix = "ROTATOR_"

// ServiceFileVariable names the configuration file of a service.
const ServiceFileVariable = "ROTATOR_CLIENT_CONFIG"

// Variable returns the environment variable of the setting at a path, such as
// ROTATOR_NATS_URL.
func Variable(path ...string) string {
	return VariablePrefix + strings.ToUpper(strings.Join(path, "_"))
}

// Service is the configuration of a service. Each setting but the secrets can be
// in a file or in the environment, which wins, see [Variable].
type Service struct {
	// Service is the name that secrets list under services:.
	Service string `json:"service,omitzero"`
	// Instance names the process. Without it a name is made up.
	Instance string `json:"instance,omitzero"`
	// Fleet names the fleet of the process, as secrets list it under fleets:.
	Fleet string `json:"fleet,omitzero"`
	// Store is the provider of the secrets: env, aws, vault, natskv. Without it
	// env.
	Store string `json:"store,omitzero"`
	// Secrets says where in the store each secret is. For one that is not named
	// here the variable that its id names does, TRADEPULSE_AUDIT_SECRET_ID; else
	// its path is its id.
	Secrets map[secret.ID]string `json:"secrets,omitzero"`

	AWS    AWS           `json:"aws,omitzero"`
	Vault  Vault         `json:"vault,omitzero"`
	NATSKV ServiceNATSKV `json:"natskv,omitzero"`
	// NATS is the bus. Without a URL rotations are noticed by polling.
	NATS NATS `json:"nats,omitzero"`
	// TrustedKeys are the files with the public keys of every rotator and
	// notifier on the bus. In the variable they are separated like in PATH.
	TrustedKeys []string `json:"trusted_keys,omitzero"`

	// CheckedAtUse are the IDs of the secrets that the service checks at each use,
	// besides those that its code names. In the variable they are separated like in
	// PATH.
	CheckedAtUse []string `json:"checked_at_use,omitzero"`
	// Join is "required" if a start waits for the bus without limit.
	Join string `json:"join,omitzero"`

	// RefreshMargin, PollInterval, Fence, Lease and Timeout as in
	// [github.com/tradepulse/rotator/pkg/client.Config] and
	// [github.com/tradepulse/rotator/pkg/secret.Spec]; 0 is the default.
	RefreshMargin time.Duration `json:"refresh_margin,omitzero"`
	PollInterval  time.Duration `json:"poll_interval,omitzero"`
	Fence         time.Duration `json:"fence,omitzero"`
	Lease         time.Duration `json:"lease,omitzero"`
	// Timeout bounds a call of the store.
	Timeout time.Duration `json:"timeout,omitzero"`

	// MaxStale is the name of Fence in earlier versions. It is refused.
	MaxStale string `json:"max_stale,omitzero"`
}

// ServiceNATSKV is the store on the bus itself. A service with the master key can
// read every secret in the bucket, so it has to be trusted like rotator.
type ServiceNATSKV struct {
	Bucket    string `json:"bucket,omitzero"`
	MasterKey Ref    `json:"master_key,omitzero"`
}

// ServiceVariables returns the environment variables of a service's configuration,
// those of the stores' own clients aside.
func ServiceVariables() []string {
	names := []string{ServiceFileVariable}
	visit(reflect.ValueOf(new(Service)).Elem(), nil, func(name string, _ reflect.Value) { names = append(names, name) })
	return names
}

// Override sets what the environment sets; an empty variable counts as unset. The
// errors name the variables that do not parse.
func (s *Service) Override(lookup func(string) (string, bool)) []error {
	var errs []error
	visit(reflect.ValueOf(s).Elem(), nil, func(name string, v reflect.Value) {
		if text, ok := lookup(name); ok && text != "" {
			if err := set(v, text); err != nil {
				errs = append(errs, fmt.Errorf("%s %w", name, err))
			}
		}
	})
	return errs
}

// visit calls fn with every setting below v that has a variable: all but maps and
// fields with the tag variable:"-".
func visit(v reflect.Value, path []string, fn func(name string, v reflect.Value)) {
	for f, field := range v.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		below := append(slices.Clip(path), key)
		switch {
		case f.Tag.Get("variable") == "-" || field.Kind() == reflect.Map:
		case field.Kind() == reflect.Struct:
			visit(field, below, fn)
		default:
			fn(Variable(below...), field)
		}
	}
}

func set(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *[]string:
		*p = filepath.SplitList(text)
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return errors.New("is no duration such as 5m or 1h30m")
		}
		*p = d
	default:
		return fmt.Errorf("has no text form: %T", p)
	}
	return nil
}
