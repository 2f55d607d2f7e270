package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
)

// Readers is about identities that read secrets, by the logs of the stores. One that
// belongs to no service which reports the secret makes the answer about its old
// versions unknown.
type Readers struct {
	// The identities with which each service reads its secrets, by the name of the
	// service: of AWS the ARN of a role or user; of Vault the display name of the
	// token and its role, as in approle/orders, or entity/ID.
	Services map[string][]string `json:"services,omitzero"`
	// Identities whose reads need no report: backups, people, other programs.
	Ignore []string `json:"ignore,omitzero" jsonschema:"maxItems=1000,uniqueItems=true"`
}

// AuditSource is a log of reads that the scheduler hears.
type AuditSource struct {
	// What the source is: vault-socket is an audit device of Vault or OpenBao, of type
	// socket.
	Kind string `json:"kind" jsonschema:"required,enum=vault-socket"`
	// The store whose reads are logged there.
	Store string `json:"store" jsonschema:"required,format=token"`
	// Where the device writes to: a port of loopback, or the path of a socket.
	Listen string `json:"listen" jsonschema:"required,format=audit-address"`
	// Name of this listener, which no other process may have. Without it the name of
	// the store.
	Name string `json:"name,omitzero" jsonschema:"format=token"`
	// How long the listener may be away, as for a restart, without the answer
	// becoming unknown. A reader that reads only then is missed.
	Tolerate Duration `json:"tolerate,omitzero"`
}

// SourceName returns the name of the listener.
func (a AuditSource) SourceName() string {
	if a.Name != "" {
		return a.Name
	}
	return a.Store
}

// WatchesReaders reports whether reads of secrets are heard of.
func (c *Config) WatchesReaders() bool {
	return len(c.AuditSources) > 0 || c.AWSEvents.On() || len(c.Readers.Services) > 0 || len(c.Readers.Ignore) > 0
}

// Engine is where the log of a server has the reads of a store.
type Engine struct{ Namespace, Mount, Prefix string }

// engined is implemented by a type of store whose server has audit devices.
type engined interface{ engine() Engine }

func (o *Vault) engine() Engine { return Engine{o.Namespace, o.Mount, o.Prefix} }

// Engine returns where an audit source has the reads of the store, and false for one
// of which there are none.
func (s Store) Engine() (Engine, bool) {
	if o, ok := s.Options.(engined); ok {
		return o.engine(), true
	}
	return Engine{}, false
}

// checkAuditAddress accepts what only this machine reaches: the log is believed
// without a signature, and its sender waits for the listener.
func checkAuditAddress(s string) error {
	if filepath.IsAbs(s) {
		if len(s) > maxSocketPath || strings.ContainsAny(s, "\x00\n\r") {
			return errors.New("this cannot be the path of a socket")
		}
		return nil
	}
	if err := checkListen(s); err != nil {
		return err
	}
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is not an address of loopback", quote(host))
	}
	return nil
}

// maxSocketPath is what the system allows.
const maxSocketPath = 107

// auditSources checks that each source is of a store whose log it can be.
func (k *checker) auditSources() {
	names, places := map[[2]string]int{}, map[string]int{}
	for i, a := range k.cfg.AuditSources {
		at := index("audit_sources", i)
		if st, ok := k.cfg.Stores[a.Store]; a.Store != "" && !k.refused("stores") {
			if _, logs := st.Engine(); !ok || st.Options != nil && !logs {
				k.report(append(at, "store"), "there is no store "+quote(a.Store)+" of type vault", "name the store whose audit device writes here")
			}
		}
		name := [2]string{a.Store, a.SourceName()}
		if first, ok := names[name]; ok {
			k.report(at, fmt.Sprintf("audit_sources[%d] has the same name", first), "give each a name of its own")
		}
		if first, ok := places[a.Listen]; ok && a.Listen != "" {
			k.report(append(at, "listen"), fmt.Sprintf("audit_sources[%d] listens there", first), "give each its own address")
		}
		names[name], places[a.Listen] = i, i
	}
}
