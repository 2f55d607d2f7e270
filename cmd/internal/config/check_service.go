package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// services checks what is said of each service.
func (k *checker) services() {
	for _, name := range slices.Sorted(maps.Keys(k.cfg.Services)) {
		k.service([]string{"services", name}, k.cfg.Services[name])
	}
}

func (k *checker) service(at []string, s Service) {
	if err := s.subscriber().Validate(); err != nil {
		k.contradiction(at, err)
	}
}

// serviceRefs checks the services of a section that has settings for them.
func (k *checker) serviceRefs(at []string, refs []ServiceRef) {
	for i, ref := range refs {
		if ref.Service != (Service{}) {
			k.service(append(at, strconv.Itoa(i)), ref.Service.over(k.cfg.Services[ref.Name]))
		}
	}
}

// users checks that no two users of a secret have one name. The schema has found
// entries that are the same.
func (k *checker) users(at []string, s Secret) {
	seen := map[string]bool{}
	check := func(list string, i int, name string, same bool) {
		if seen[name] && name != "" && !same {
			k.report(append(slices.Clone(at), list, strconv.Itoa(i)), name+" is listed twice among services and consumers", "remove one, or give one another name")
		}
		seen[name] = true
	}
	for i, ref := range s.Services {
		check("services", i, ref.Name, slices.Contains(s.Services[:i], ref))
	}
	for i, c := range s.Consumers {
		check("consumers", i, c.Name, slices.Contains(s.Consumers[:i], c))
	}
}

// unclaimed warns, once, of secrets of which no user is listed.
func (k *checker) unclaimed() {
	n, first := 0, 0
	for i, s := range k.cfg.Secrets {
		if len(s.Services)+len(s.Consumers) > 0 || s.NoSubscribers != "" || *s.Disabled {
			continue
		}
		if n == 0 {
			first = i
		}
		n++
	}
	if n == 0 || len(k.problems) > 0 {
		return
	}
	message := "no service and no consumer is listed"
	if n > 1 {
		message += fmt.Sprintf(" for %d secrets, of which this is the first", n)
	}
	k.warn(index("secrets", first), message+": previous versions are kept while no instance reports the secret",
		"list its users, or set no_subscribers to hold or retire-after-grace")
}
