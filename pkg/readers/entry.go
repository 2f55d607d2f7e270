package readers

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

// Mount is a KV version 2 engine whose reads a [Socket] hears.
type Mount struct {
	// Store is the name of the store.
	Store string
	// Namespace of the engine; "" takes any.
	Namespace string
	// Path is where the engine is mounted, and Prefix what stands before the path of
	// every secret.
	Path, Prefix string
}

// entry is the part of a response in an audit log that is used. What is secret in one
// is hashed by the server, unless the device is told not to: values are not kept.
type entry struct {
	Type  string    `json:"type"`
	Time  time.Time `json:"time"`
	Error string    `json:"error"`
	Auth  struct {
		DisplayName string            `json:"display_name"`
		EntityID    string            `json:"entity_id"`
		Accessor    string            `json:"accessor"`
		Metadata    map[string]string `json:"metadata"`
	} `json:"auth"`
	Request struct {
		Operation string `json:"operation"`
		Path      string `json:"path"`
		Address   string `json:"remote_address"`
		Namespace struct {
			Path string `json:"path"`
		} `json:"namespace"`
	} `json:"request"`
	Response struct {
		Wrapped present `json:"wrap_info"`
		Data    struct {
			Value    present `json:"data"`
			Metadata struct {
				Version json.Number `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	} `json:"response"`
}

// present is whether a field has a value, which is not kept.
type present bool

// UnmarshalJSON implements [json.Unmarshaler].
func (p *present) UnmarshalJSON(b []byte) error {
	*p = present(!bytes.Equal(b, []byte("null")))
	return nil
}

// parse returns the sighting in a line of an audit log and the path of the secret in
// its store. ok is false for a line that is not about a value that was read from the
// mount; then known says whether the line was understood at all.
func (m Mount) parse(line []byte) (s events.Sighting, at string, ok, known bool) {
	if i := bytes.IndexByte(line, '{'); i > 0 {
		line = line[i:] // the device may be told to begin lines with a prefix
	}
	if !bytes.Contains(line, []byte(`"response"`)) || !bytes.Contains(line, []byte("/data/")) {
		return s, "", false, json.Valid(line)
	}
	var e entry
	if json.Unmarshal(line, &e) != nil {
		return s, "", false, false
	}
	at, ours := m.secretAt(e)
	if !ours || !e.reads() {
		return s, "", false, true
	}
	s = events.Sighting{Store: m.Store, Identity: e.identity(), Address: e.address(), At: e.Time}
	if id := printable(e.Auth.EntityID); id != "" {
		s.Entity = "entity/" + id
	}
	if n, err := strconv.ParseInt(e.Response.Data.Metadata.Version.String(), 10, 64); err == nil && n > 0 {
		s.VersionID = secret.VersionID(strconv.FormatInt(n, 10))
	}
	return s, at, true, true
}

// reads reports whether a value left the engine, as it is or wrapped.
func (e entry) reads() bool {
	value := bool(e.Response.Data.Value || e.Response.Wrapped)
	return e.Type == "response" && e.Request.Operation == "read" && e.Error == "" && value
}

// secretAt returns the path in the store of the secret that a request was about.
func (m Mount) secretAt(e entry) (string, bool) {
	if m.Namespace != "" && strings.Trim(e.Request.Namespace.Path, "/") != strings.Trim(m.Namespace, "/") {
		return "", false
	}
	rest, ok := strings.CutPrefix(strings.TrimPrefix(e.Request.Path, "/"), strings.Trim(m.Path, "/")+"/data/")
	if !ok {
		return "", false
	}
	rest = strings.TrimPrefix(path.Clean("/"+rest), "/")
	if prefix := strings.Trim(m.Prefix, "/"); prefix != "" {
		if rest, ok = strings.CutPrefix(rest, prefix+"/"); !ok {
			return "", false
		}
	}
	return rest, rest != ""
}

// identity returns the display name of the token and the role that it was given for. A
// token that belongs to no entity shares its display name with others, so its accessor
// is added, as the log has it.
func (e entry) identity() string {
	name := printable(e.Auth.DisplayName)
	if name == "" {
		name = "a token that the log does not name"
	}
	for _, key := range []string{"role_name", "role"} {
		if role := printable(e.Auth.Metadata[key]); role != "" {
			name += "/" + role
			break
		}
	}
	if accessor := printable(e.Auth.Accessor); e.Auth.EntityID == "" && accessor != "" {
		name += "/" + accessor
	}
	return name
}

// address returns where the request came from, "" if that is no address.
func (e entry) address() string {
	const longest = 64 // an address may name a zone
	if _, err := netip.ParseAddr(e.Request.Address); err != nil || len(e.Request.Address) > longest || printable(e.Request.Address) != e.Request.Address {
		return ""
	}
	return e.Request.Address
}

// maxName bounds each name that is taken from an entry.
const maxName = 128

// printable returns a name that can be recorded and shown. One that cannot be as it is
// ends in a digest, so that two stay two.
func printable(s string) string {
	out := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if out == s && len(s) <= maxName {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return out[:min(len(out), maxName)] + "#" + hex.EncodeToString(sum[:8])
}
