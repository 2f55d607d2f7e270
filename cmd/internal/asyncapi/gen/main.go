// Command gen writes docs/asyncapi.yaml from the subjects, streams and types of
// pkg/events, and docs/eventbridge.schema.json from what pkg/eventbridge makes of
// them, so that the documents cannot say anything else.
package main

//go:generate go run .

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/invopop/jsonschema"

	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	root = "../../../.."
	file = "docs/asyncapi.yaml"
)

func main() {
	err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run works from the top of the repository, where the comments are looked for.
func run() error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	out, err := document()
	if err != nil {
		return err
	}
	schema, err := detail()
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(file, out, 0o644), os.WriteFile(detailFile, schema, 0o644))
}

// object is a mapping that keeps its order.
type object = yaml.MapSlice

func item(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }

func ref(to string) object { return object{item("$ref", to)} }

// kind is one type of event and where it goes.
type kind struct {
	eventType events.Type
	summary   string
	action    string // by whom it is taken
}

var kinds = []kind{
	{events.TypeNearExpiry, "A version is about to end and has to be replaced.", "one worker"},
	{events.TypeRetire, "The grace period of a converged rollout is over.", "one worker"},
	{events.TypeSweep, "The stores have to be compared with the bus.", "one scheduler"},
	{events.TypeStaged, "A pending version passed its test; services may load it for verification.", "the notifiers"},
	{events.TypeRotated, "A version became current.", "the notifiers and everybody who may read the log"},
	{events.TypeRotationFailed, "A rotation was given up.", "everybody who may read the log"},
	{events.TypeRollout, "A promoted version moved on its way to the services.", "everybody who may read the log"},
	{events.TypeProofContradicted, "Something shows that a version was retired although it was in use.", "everybody who may read the log"},
	{events.TypeVerified, "A login with the current version at its target showed something else than the one before, or it is a day old.", "everybody who may read the log"},
	{events.TypeDiscovered, "A secret that no configuration lists says where it is and who uses it, or is managed no longer.", "the notifiers, and workers that look for it"},
}

// record is a message that is not an event.
type record struct {
	name, summary string
	body          any
}

var records = []record{
	{"presence", "One incarnation of an instance lives, or has ended.", events.Presence{}},
	{"use", "What one incarnation of an instance does with one secret.", events.Use{}},
	{"confirmation", "No user of a secret was lost with a stream of uses before the one that is named.", events.Confirmation{}},
	{"forgotten", "A person had the records of an incarnation purged.", events.Forgotten{}},
	{"receipt", "A sealed receipt of a retirement; its body is a Receipt.", events.Sealed{}},
	{"act", "A sealed record of what a person did to a secret; its body is an Act.", events.Sealed{}},
	{"confirmed", "A consumer without a client uses a version of a secret.", events.Confirmed{}},
	{"report", "What one running process with an older client runs.", events.Report{}},
	{"sighting", "An identity has read a secret, by the log of its store.", events.Sighting{}},
	{"read-source", "Since when a listener has heard every read of the secrets of a store.", events.ReadSource{}},
	{"own-reader", "An identity with which a program of ours reads a store.", events.OwnReader{}},
}

// adder adds a channel. message is one name or several.
type adder func(name, address, title, message string, parameters ...string)

func document() ([]byte, error) {
	schemas, err := schemas()
	if err != nil {
		return nil, err
	}
	channels, operations := object{}, object{}
	add := func(name, address, title, message string, parameters ...string) {
		params := object{}
		for _, p := range parameters {
			params = append(params, item(p, object{item("description", described[p])}))
		}
		carried := object{}
		for m := range strings.FieldsSeq(message) {
			carried = append(carried, item(m, ref("#/components/messages/"+m)))
		}
		ch := object{item("address", address), item("title", title), item("messages", carried)}
		if len(params) > 0 {
			ch = append(ch, item("parameters", params))
		}
		channels = append(channels, item(name, ch))
		operations = append(operations,
			item("send."+name, object{item("action", "send"), item("channel", ref("#/channels/"+name))}),
			item("receive."+name, object{item("action", "receive"), item("channel", ref("#/channels/"+name))}))
	}
	const key, service = secret.Key("{key}"), "{service}"
	const notified = string(events.TypeStaged + " " + events.TypeRotated + " " + events.TypeRollout)
	names, messages := events.Names{}, object{}
	for _, k := range kinds {
		params := []string{"key"}
		if k.eventType == events.TypeSweep {
			params = nil
		}
		add(string(k.eventType), names.Event(k.eventType, key), "Taken by "+k.action+".", string(k.eventType), params...)
		messages = append(messages, item(string(k.eventType), message(k)))
	}
	add("timer", names.Timer(key), "The schedule of a secret's next rotation.", string(events.TypeNearExpiry), "key")
	add("timer.retire", names.RetireTimer(key), "The schedule of a retirement.", string(events.TypeRetire), "key")
	add("sweep.timer", names.SweepTimer(), "The schedule of the sweep.", string(events.TypeSweep))
	add("notify", names.Notify(service, key), "The last notification to a service about a secret.", notified, "service", "key")
	add("live", names.Live(service, key), "Where a running instance hears what is stored under notify.", notified, "service", "key")
	addRecords(add, names)
	addReaders(add, names)
	for _, r := range records {
		messages = append(messages, item(r.name, object{
			item("summary", r.summary), item("contentType", "application/json"), item("payload", ref("#/components/schemas/"+reflect.TypeOf(r.body).Name())),
		}))
	}
	return yaml.MarshalWithOptions(object{
		item("asyncapi", "3.0.0"),
		item("info", object{
			item("title", "rotator"), item("version", "1"),
			item("description", "What crosses NATS, without the prefix that nats.prefix sets. Generated by go generate ./cmd/... from pkg/events; docs/events.md explains it."),
		}),
		item("defaultContentType", "application/json"),
		item("channels", channels), item("operations", operations),
		item("components", object{item("messages", messages), item("messageTraits", object{item("cloudEvent", attributes())}), item("schemas", schemas)}),
		item("x-streams", streams(names)),
	}, yaml.Indent(2), yaml.UseLiteralStyleIfMultiline(true))
}

// addRecords adds the channels of what instances and people have recorded.
func addRecords(add adder, names events.Names) {
	const key, service, instance, incarnation, consumer = secret.Key("{key}"), "{service}", "{instance}", "{incarnation}", "{consumer}"
	add("presence", names.Presence(service, instance, incarnation), "That an incarnation of an instance lives; not signed.", "presence", "service", "instance", "incarnation")
	add("use", names.Use(key, service, incarnation), "What an incarnation does with a secret; not signed.", "use", "key", "service", "incarnation")
	add("confirmation", names.Confirmation(), "That no users were lost with an earlier stream of uses; not signed.", "confirmation")
	add("forgotten", names.Forgotten(service, instance), "What a person had forgotten of an instance; not signed.", "forgotten", "service", "instance")
	add("receipt", names.Retired(key), "Why versions of a secret were retired: sealed, and each names the one before.", "receipt", "key")
	add("act", names.Acts(key), "What people did to a secret: sealed, and each names the one before.", "act", "key")
	add("confirmed", names.Confirmed(key, consumer), "Which version a consumer was confirmed to use; not signed.", "confirmed", "key", "consumer")
	add("report", names.Report(service, instance), "What an instance with an older client runs; a lease, not signed.", "report", "service", "instance")
}

// addReaders adds the channels of what is seen of readers.
func addReaders(add adder, names events.Names) {
	const key, store = secret.Key("{key}"), "{store}"
	hashed := func(subject string) string { return subject[:strings.LastIndexByte(subject, '.')+1] + "{digest}" }
	add("reader", hashed(names.Reader(key, "")), "The last read of an identity; not signed.", "sighting", "key", "digest")
	add("reader.more", names.MoreReaders(key), "A read of an identity for which there was no place; not signed.", "sighting", "key")
	add("reader.source", names.ReadSource(store, "{name}"), "Since when a listener has missed nothing; not signed.", "read-source", "store", "name")
	add("reader.own", hashed(names.OwnReader(store, "")), "As whom a program of ours reads a store; not signed.", "own-reader", "store", "digest")
}

var described = map[string]string{
	"digest":      "A digest of the identity.",
	"store":       "Name of the store in the configuration.",
	"name":        "Name of the listener, see audit_sources.",
	"key":         "The secret's id, with every byte other than letters, digits, _ and - written as = and two hexadecimal digits.",
	"service":     "Name of the service: 1 to 64 letters, digits, _ and -.",
	"instance":    "Name of the process, likewise.",
	"consumer":    "Name of a user without a client, likewise.",
	"incarnation": "A nonce that no other process has, likewise.",
}

func message(k kind) object {
	return object{
		item("name", string(k.eventType)), item("summary", k.summary),
		item("traits", []any{ref("#/components/messageTraits/cloudEvent")}), item("payload", ref("#/components/schemas/Body")),
	}
}

// attributes are the headers of a CloudEvents 1.0 event in binary mode.
func attributes() object {
	text := func(meaning string) object { return object{item("type", "string"), item("description", meaning)} }
	props, names := object{}, []string{}
	for _, a := range events.Attributes() {
		props, names = append(props, item(a.Header, text(a.Meaning))), append(names, a.Header)
	}
	return object{item("headers", object{item("type", "object"), item("required", names), item("properties", props)})}
}

// streams lists what the server keeps.
func streams(n events.Names) object {
	out := object{}
	for _, s := range n.StreamConfigs(events.StreamOptions{}) {
		entry := object{item("description", s.Description), item("subjects", s.Subjects), item("retention", strings.ToLower(s.Retention.String()))}
		if s.MaxMsgsPerSubject > 0 {
			entry = append(entry, item("keepsPerSubject", s.MaxMsgsPerSubject))
		}
		if s.MaxMsgs > 0 {
			entry = append(entry, item("refusesBeyond", s.MaxMsgs))
		}
		var consumers []string
		for _, c := range n.ConsumerConfigs(events.StreamOptions{EventBridge: true})[s.Name] {
			consumers = append(consumers, c.Durable)
		}
		if consumers != nil {
			entry = append(entry, item("consumers", consumers))
		}
		out = append(out, item(s.Name, entry))
	}
	return out
}

// schemas are the JSON Schemas of every kind of body, with the comments of
// the code as descriptions.
func schemas() (any, error) {
	r := &jsonschema.Reflector{DoNotReference: false, AllowAdditionalProperties: true, Anonymous: true, Mapper: plain}
	if err := r.AddGoComments("github.com/tradepulse/rotator", "./pkg/events"); err != nil {
		return nil, err
	}
	all := map[string]any{}
	bodies := []any{events.Body{}, events.Receipt{}, events.Act{}}
	for _, r := range records {
		bodies = append(bodies, r.body)
	}
	for _, v := range bodies {
		raw, err := json.Marshal(r.Reflect(v).Definitions)
		if err != nil {
			return nil, err
		}
		raw = []byte(strings.ReplaceAll(string(raw), "#/$defs/", "#/components/schemas/"))
		if err := json.Unmarshal(raw, &all); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// plain describes the named strings of the domain, which reflection sees only
// as strings.
func plain(t reflect.Type) *jsonschema.Schema {
	enum := func(values ...any) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Enum: values} }
	switch t {
	case reflect.TypeFor[events.Reason]():
		return enum(events.ReasonNearExpiry, events.ReasonExpired, events.ReasonManual, events.ReasonEmergency, events.ReasonSupplied, events.ReasonExternal, events.ReasonLambda)
	case reflect.TypeFor[events.Priority]():
		return enum(events.PriorityEmergency)
	case reflect.TypeFor[events.RolloutState]():
		return enum(events.RolloutRolling, events.RolloutConverged, events.RolloutWaiting, events.RolloutDraining, events.RolloutRetired, events.RolloutStalled, events.RolloutRolledBack, events.RolloutSuperseded)
	case reflect.TypeFor[events.ContradictionKind]():
		return enum(events.ContradictionRetiredUsed, events.ContradictionJoinedLate)
	case reflect.TypeFor[events.VerifiedState]():
		return enum(events.VerifiedWorks, events.VerifiedRefused, events.VerifiedUnknown)
	case reflect.TypeFor[events.Basis]():
		return enum(events.BasisProof, events.BasisEmergency, events.BasisConfirmed, events.BasisForced)
	case reflect.TypeFor[events.PastFence]():
		return enum(events.PastFenceRefuse, events.PastFenceServe)
	case reflect.TypeFor[events.ApplyStatus]():
		return enum(events.StatusApplied, events.StatusFailed, events.StatusStaged)
	case reflect.TypeFor[events.BlockReason]():
		all := make([]any, 0, len(events.BlockReasons()))
		for _, r := range events.BlockReasons() {
			all = append(all, r)
		}
		return enum(all...)
	}
	return nil
}
