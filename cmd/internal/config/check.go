package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// checker looks for what the schema cannot see: settings that contradict each
// other. What the schema has refused is zero in cfg, and passed over here.
type checker struct {
	root     *node
	cfg      *Config
	problems []Problem
	warnings []Problem
	gaps     map[string]time.Duration // :: windows → longest time between them
	buckets  map[string]string        // :: bucket → store
	lookup   func(string) (string, bool)
}

func (k *checker) check(environ []string) {
	k.nats()
	k.loops()
	k.adminToken()
	k.stores()
	k.shared()
	k.targets()
	k.awsEvents()
	k.auditSources()
	k.policies()
	k.services()
	k.settings([]string{"defaults"}, k.cfg.Defaults)
	k.freezes()
	k.secrets()
	k.unclaimed()
	k.agent()
	k.empty()
	k.environment(environ)
}

// at returns a problem with the setting at a location, placed where the file
// says most about it.
func (k *checker) at(loc []string, message, remedy string) Problem {
	n := k.root.find(loc)
	return problem(n.at, CodeInvalid, pathOf(k.root, loc), message, remedy)
}

func (k *checker) report(loc []string, message, remedy string) {
	k.problems = append(k.problems, k.at(loc, message, remedy))
}

func (k *checker) warn(loc []string, message, remedy string) {
	k.warnings = append(k.warnings, k.at(loc, message, remedy).warning())
}

// contradiction reports an error of pkg/settings, whose remedy is after a colon.
func (k *checker) contradiction(loc []string, err error) {
	message, remedy, _ := strings.Cut(err.Error(), ": ")
	k.report(loc, message, remedy)
}

// written reports whether the document has something at a location.
func (k *checker) written(loc ...string) bool { return k.root.get(loc) != nil }

func (k *checker) nats() {
	n, at := k.cfg.NATS, []string{"nats"}
	if err := n.Credentials.Validate(); err != nil && k.whole("nats", "credentials") {
		k.contradiction(append(at, "credentials"), err)
	}
	if err := n.TLS.Validate(); err != nil && k.whole("nats", "tls") {
		k.contradiction(append(at, "tls"), err)
	}
	if k.cfg.SingleNode() {
		k.single()
	} else {
		k.cluster()
	}
}

// refused reports whether the schema has refused what stands at a location,
// which leaves it null.
func (k *checker) refused(loc ...string) bool {
	n := k.root.get(loc)
	return n != nil && n.shape == scalar && n.value == nil
}

// whole reports whether the schema has refused neither a section nor a setting
// directly in it, so that what is missing there is really missing.
func (k *checker) whole(loc ...string) bool {
	n := k.root.get(loc)
	if n == nil || k.refused(loc...) {
		return n == nil
	}
	for key := range n.named {
		if k.refused(append(loc, key)...) {
			return false
		}
	}
	return true
}

func (k *checker) single() {
	if exposed(k.cfg.Node.Listen) && k.whole("node") {
		k.warn([]string{"node", "listen"}, "other hosts reach the embedded server without TLS, and every service logs in with operator.nk, which may do everything",
			"listen on a loopback address, or set nats.url and run NATS servers with deployments/nats")
	}
	if k.cfg.Node.SyncInterval != "always" && k.whole("node") {
		k.warn([]string{"node", "sync_interval"}, "a write that was acknowledged may be lost when the machine stops, and a rotation with it", "use always")
	}
	if k.cfg.NATS.Replicas > 1 && k.whole("nats") {
		k.report([]string{"nats", "replicas"}, "a single node keeps one copy", "remove it, or set nats.url")
	}
	for _, key := range []string{"credentials", "tls"} {
		if k.written("nats", key) && k.whole("nats") {
			k.warn([]string{"nats", key}, "it has no effect without nats.url", "remove it, or set nats.url")
		}
	}
}

// clusterBy names the environment variable that makes the configuration one of a
// cluster, or returns "": services read the same variable, and a shell may have it.
func (k *checker) clusterBy() string {
	url := k.root.get([]string{"nats", "url"})
	if url == nil || url.at.line != 0 {
		return ""
	}
	return " (nats.url comes from " + url.at.file + "; unset it for a single node)"
}

// empty warns of a configuration with which a single node has nothing to do.
func (k *checker) empty() {
	if k.cfg.SingleNode() && len(k.cfg.Secrets) == 0 && len(k.cfg.Stores) == 0 && len(k.root.names) == 0 {
		k.warn(nil, "it has no settings: no secret is managed", "list stores and secrets; 'rotator config schema' describes both")
	}
}

// exposed reports whether other hosts reach an address.
func exposed(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil || host == "localhost" { // none, or what the schema refuses
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback()
}

func (k *checker) cluster() {
	var usual Config
	usual.complete()
	if n := k.cfg.Node; n.Listen != usual.Node.Listen || n.SyncInterval != usual.Node.SyncInterval {
		k.warn([]string{"node"}, "listen and sync_interval have no effect with nats.url", "remove them; the cluster has its own settings")
	}
	if len(k.cfg.Signing.TrustedKeys) == 0 {
		k.warn([]string{"signing", "trusted_keys"}, "events of other programs are not believed", "list the public keys of every rotator and notifier on this bus")
	}
}

func (k *checker) loops() {
	if every := time.Duration(k.cfg.Scheduler.SweepEvery); every < time.Second {
		k.report([]string{"scheduler", "sweep_every"}, "it is shorter than a second", "5m is usual")
	}
	if w := k.cfg.Worker; w.RetryBase > w.RetryCap {
		k.report([]string{"worker", "retry_base"}, fmt.Sprintf("it is longer than retry_cap (%s)", w.RetryCap), "lower it, or raise retry_cap")
	}
}

func (k *checker) stores() {
	for _, name := range slices.Sorted(maps.Keys(k.cfg.Stores)) {
		st := k.cfg.Stores[name]
		k.discover(name, st.discover())
		if o, ok := st.Options.(checking); ok {
			o.check(k, name, []string{"stores", name})
		}
	}
}

// awsEvents wants a store that the events can be about.
func (k *checker) awsEvents() {
	refused := func(s Store) bool { return s.Options == nil }
	if !k.cfg.AWSEvents.On() || len(k.cfg.With(eventful)) > 0 || slices.ContainsFunc(slices.Collect(maps.Values(k.cfg.Stores)), refused) {
		return
	}
	k.report([]string{"aws_events", "queue"}, "no store is of type aws", "remove it, or add the store that its events are about")
}

func (k *checker) policies() {
	for _, name := range slices.Sorted(maps.Keys(k.cfg.Policies)) {
		k.policy([]string{"policies", name}, k.cfg.Policies[name])
	}
}

func (k *checker) policy(at []string, p Policy) {
	for _, err := range each(p.policy().Validate()) {
		k.report(at, plain(err, secret.ErrInvalidPolicy), "change the policy so that a value can satisfy it")
	}
}

// each returns the errors that [errors.Join] has put together.
func each(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// plain returns the text of an error without that of the sentinel before it.
func plain(err, sentinel error) string {
	return strings.TrimPrefix(err.Error(), sentinel.Error()+": ")
}

func (k *checker) environment(environ []string) {
	known := map[string]bool{}
	for _, name := range k.cfg.variables() {
		known[name] = true
	}
	problems, warnings := unknownVariables(environ, known)
	k.problems, k.warnings = append(k.problems, problems...), append(k.warnings, warnings...)
}

// index is a location in a list.
func index(list string, i int) []string { return []string{list, strconv.Itoa(i)} }
