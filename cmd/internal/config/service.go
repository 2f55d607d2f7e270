package config

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Service is what is known of a service.
type Service struct {
	// How its processes live: a server runs all the time, a job now and then, so that
	// none need be live. Without it server.
	Kind string `json:"kind,omitzero" jsonschema:"enum=server,enum=job"`
	// How long a run of a job takes at most. A version is kept for that long after its
	// successor was promoted.
	MaxRun Duration `json:"max_run,omitzero"`
	// required says that its instances start only after the bus has stored that they
	// use the secret: ROTATOR_JOIN is required for all of them.
	Join string `json:"join,omitzero" jsonschema:"enum=required"`
	// After this silence an instance that copies values is presumed to have ended.
	// Nothing proves that, so status answers unknown.
	PresumedEndedAfter Duration `json:"presumed_ended_after,omitzero"`
}

// ServiceEntry is a service that a secret lists with settings of its own.
type ServiceEntry struct {
	// The name of the service.
	Name string `json:"name" jsonschema:"required,format=token"`
	Service
}

// ServiceRef is a service by name, or an entry.
type ServiceRef struct{ ServiceEntry }

// UnmarshalJSON decodes a string as a name, and anything else as an entry.
func (s *ServiceRef) UnmarshalJSON(b []byte) error {
	*s = ServiceRef{}
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, &s.Name)
	}
	return json.Unmarshal(b, &s.ServiceEntry)
}

// MarshalJSON is the inverse of UnmarshalJSON.
func (s ServiceRef) MarshalJSON() ([]byte, error) {
	if s.Service == (Service{}) {
		return json.Marshal(s.Name)
	}
	return json.Marshal(s.ServiceEntry)
}

// Consumer is a user of a secret that has no client.
type Consumer struct {
	// Its name, for rotator confirm.
	Name string `json:"name" jsonschema:"required,format=token"`
	// What shows that it uses the new version: manual is rotator confirm, by a person
	// or a pipeline; after with a time, such as after 14d, also takes it for granted
	// that long after the promotion, and status answers unknown then.
	Confirm string `json:"confirm,omitzero" default:"manual" jsonschema:"format=confirm"`
}

const confirmManual = "manual"

var errConfirm = errors.New("it is neither manual nor a time")

// after returns after which time the consumer counts as moved, 0 for never.
func (c Consumer) after() time.Duration {
	var d Duration
	if text, ok := strings.CutPrefix(c.Confirm, "after "); ok {
		_ = d.UnmarshalText([]byte(text)) // the schema has checked it; 0 would wait for ever
	}
	return time.Duration(d)
}

func checkConfirm(s string) error {
	if s == confirmManual {
		return nil
	}
	text, ok := strings.CutPrefix(s, "after ")
	if !ok {
		return errConfirm
	}
	var d Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	if d <= 0 {
		return errConfirm
	}
	return nil
}

func (s Service) subscriber() secret.Subscriber {
	return secret.Subscriber{
		Kind: secret.ServiceKind(s.Kind), MaxRun: time.Duration(s.MaxRun), JoinRequired: s.Join != "", PresumedEndedAfter: time.Duration(s.PresumedEndedAfter),
	}
}

// over returns s with what d says where s says nothing.
func (s Service) over(d Service) Service {
	s.Kind, s.MaxRun = cmp.Or(s.Kind, d.Kind), cmp.Or(s.MaxRun, d.MaxRun)
	s.Join, s.PresumedEndedAfter = cmp.Or(s.Join, d.Join), cmp.Or(s.PresumedEndedAfter, d.PresumedEndedAfter)
	return s
}

// proof returns what settings say of the proof, and the names of the services.
func (c *Config) proof(s Settings) (services []string, p secret.Proof) {
	if s.Services != nil {
		services = make([]string, 0, len(s.Services))
	}
	all := map[string]Service{}
	maps.Copy(all, c.Services)
	for _, ref := range s.Services {
		services = append(services, ref.Name)
		all[ref.Name] = ref.Service.over(c.Services[ref.Name])
	}
	for name, settings := range all {
		if settings == (Service{}) {
			continue
		}
		if p.Subscribers == nil {
			p.Subscribers = map[string]secret.Subscriber{}
		}
		p.Subscribers[name] = settings.subscriber()
	}
	for _, one := range s.Consumers {
		p.Consumers = append(p.Consumers, secret.Consumer{Name: one.Name, After: one.after()})
	}
	p.NoSubscribers, p.Fleets = secret.NoSubscribers(s.NoSubscribers), s.Fleets
	return services, p
}
