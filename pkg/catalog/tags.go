package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

const (
	tagPrefix = "rotator:"
	// TagManaged opts a secret in, unless a configuration asks for another tag,
	// and with the value false out.
	TagManaged = tagPrefix + "managed"
	// maxTag bounds a value, in bytes: what Vault allows, and AWS allows half.
	maxTag = 512
)

// Tag is a tag, or a key of custom metadata, by which a secret configures its own
// rotation.
type Tag struct {
	// Key is its name.
	Key string
	// Value says in words what the value may be.
	Value string
	// Example is such a value.
	Example string

	// set writes the value into a spec. get reads it back in a form that is equal
	// for equal settings; it is nil for a tag that sets nothing in a spec.
	set func(d *Discovery, s *secret.Spec, text string) error
	get func(s secret.Spec) string
}

// Tags returns every tag, in the order of the documentation.
func Tags() []Tag { return slices.Clone(tags) }

var tags = []Tag{
	{Key: TagManaged, Value: "`true`; `false` takes the secret out", Example: "true", set: func(_ *Discovery, _ *secret.Spec, text string) error { return word(text, "true", "false") }},
	{Key: "rotator:id", Value: "the name that applications use; without it the path, behind `id_prefix`", Example: "TRADEPULSE_AUDIT_SECRET_ID", set: setID,
		get: func(s secret.Spec) string { return string(s.ID) }},
	{Key: "rotator:owner", Value: "the person or team that answers for it", Example: "payments", set: setNote(func(s *secret.Spec) *string { return &s.Owner }),
		get: func(s secret.Spec) string { return shorten(s.Owner) }},
	{Key: "rotator:purpose", Value: "what it is for, in a few words", Example: "signs the orders to the exchange", set: setNote(func(s *secret.Spec) *string { return &s.Purpose }),
		get: func(s secret.Spec) string { return shorten(s.Purpose) }},
	{Key: "rotator:contact", Value: "where to reach the owner", Example: "payments@example.com", set: setNote(func(s *secret.Spec) *string { return &s.Contact }),
		get: func(s secret.Spec) string { return shorten(s.Contact) }},
	{Key: "rotator:ttl", Value: "duration", Example: "720h", set: setTTL, get: func(s secret.Spec) string { return length(s.TTL) }},
	{Key: secret.AttributeNotAfter, Value: "time, the end of a version that another program wrote; for a listed secret too", Example: "2027-01-31T12:00:00Z",
		set: func(_ *Discovery, _ *secret.Spec, text string) error {
			_, err := secret.ParseNotAfter(text)
			return err
		}},
	{Key: "rotator:margin", Value: "duration or `none`", Example: "1h", set: setOptional(func(s *secret.Spec) *time.Duration { return &s.RefreshMargin }),
		get: func(s secret.Spec) string { return length(s.Margin()) }},
	{Key: "rotator:jitter", Value: "duration or `none`", Example: "30m", set: setOptional(func(s *secret.Spec) *time.Duration { return &s.MaxJitter }),
		get: func(s secret.Spec) string {
			if s.MaxJitter == 0 {
				return "a tenth"
			}
			return length(s.MaxJitter)
		}},
	{Key: "rotator:window", Value: "windows, see below", Example: "Sat Sun 01:00 6h Europe/Vienna", set: setWindows, get: func(s secret.Spec) string { return fmt.Sprint(s.Windows) }},
	{Key: "rotator:strategy", Value: "`generate`, or `external` where the store can rotate by itself", Example: "generate", set: setStrategy,
		get: func(s secret.Spec) string { return string(cmp.Or(s.Strategy, secret.StrategyGenerate)) }},
	{Key: "rotator:policy", Value: "name of one of `policies`", Example: "pin", set: setPolicy, get: func(s secret.Spec) string { return "the rules " + s.ValuePolicy().Hash() }},
	{Key: "rotator:services", Value: "names, with a space between two", Example: "audit reports", set: setServices, get: func(s secret.Spec) string { return sortedText(s.Services) }},
	{Key: "rotator:consumers", Value: "names, with a space between two; `name=14d` counts as moved after that time without being confirmed", Example: "erp batch=14d", set: setConsumers,
		get: func(s secret.Spec) string { return consumersText(s.Proof.Consumers) }},
	{Key: "rotator:no_subscribers", Value: "`hold` or `retire-after-grace`", Example: "hold", set: func(_ *Discovery, s *secret.Spec, text string) error {
		s.Proof.NoSubscribers = secret.NoSubscribers(text)
		return word(text, string(secret.NoSubscribersHold), string(secret.NoSubscribersRetire))
	}, get: func(s secret.Spec) string { return string(cmp.Or(s.Proof.NoSubscribers, secret.NoSubscribersHold)) }},
	{Key: "rotator:fleets", Value: "names, with a space between two", Example: "eu us", set: func(_ *Discovery, s *secret.Spec, text string) (err error) {
		s.Proof.Fleets, err = splitNames(text)
		return err
	}, get: func(s secret.Spec) string { return sortedText(s.Proof.Fleets) }},
	{Key: "rotator:rollout", Value: "`activate` or `prepare-then-activate`", Example: "prepare-then-activate", set: func(_ *Discovery, s *secret.Spec, text string) error {
		s.Rollout = secret.RolloutMode(text)
		return word(text, string(secret.RolloutActivate), string(secret.RolloutPrepare))
	}, get: func(s secret.Spec) string { return string(s.RolloutMode()) }},
	{Key: "rotator:grace", Value: "duration or `none`", Example: "15m", set: setOptional(func(s *secret.Spec) *time.Duration { return &s.Grace }),
		get: func(s secret.Spec) string { return length(s.GracePeriod()) }},
	{Key: "rotator:deadline", Value: "duration or `none`", Example: "1h", set: setOptional(func(s *secret.Spec) *time.Duration { return &s.Deadline }),
		get: func(s secret.Spec) string { return length(s.RolloutDeadline()) }},
	{Key: "rotator:fence", Value: "duration", Example: "30m", set: setFence, get: func(s secret.Spec) string { return length(s.FencePeriod()) }},
	{Key: "rotator:retire", Value: "`delete`, `keep` or `destroy`", Example: "keep", set: func(_ *Discovery, s *secret.Spec, text string) error {
		s.Retire = secret.RetireMode(text)
		return word(text, string(secret.RetireDelete), string(secret.RetireKeep), string(secret.RetireDestroy))
	}, get: func(s secret.Spec) string { return string(s.RetireMode()) }},
	{Key: "rotator:disabled", Value: "`true` stops scheduled rotation", Example: "true", set: func(_ *Discovery, s *secret.Spec, text string) error {
		s.Disabled = text == "true"
		return word(text, "true", "false")
	}, get: func(s secret.Spec) string { return strconv.FormatBool(s.Disabled) }},
	{Key: "rotator:kind", Value: "AWS only, read by the store: `string` or `binary`, where the value belongs", Example: "binary",
		set: func(_ *Discovery, _ *secret.Spec, text string) error { return word(text, "string", "binary") }},
}

// set writes one tag into a spec.
func (d *Discovery) set(spec *secret.Spec, key, text string) error {
	i := slices.IndexFunc(tags, func(t Tag) bool { return t.Key == key })
	switch {
	case i < 0 && key != strings.ToLower(key):
		return errors.New("there is no such tag; they are written in lower case")
	case i < 0:
		return errors.New("there is no such tag; docs/discovery.md lists them")
	case text == "":
		return errors.New("it is empty; remove it, or give it a value")
	case len(text) > maxTag:
		return fmt.Errorf("%d bytes, the most is %d", len(text), maxTag)
	}
	return tags[i].set(d, spec, text)
}

func setID(_ *Discovery, s *secret.Spec, text string) error {
	s.ID = secret.ID(text)
	return s.ID.Validate()
}

func setNote(field func(*secret.Spec) *string) func(*Discovery, *secret.Spec, string) error {
	return func(_ *Discovery, s *secret.Spec, text string) error {
		*field(s) = text
		return secret.ValidNote(text)
	}
}

func setTTL(_ *Discovery, s *secret.Spec, text string) (err error) {
	s.TTL, err = secret.ParseDuration(text)
	if err == nil && s.TTL == 0 {
		err = errors.New("it has to be longer than 0")
	}
	return err
}

func setFence(_ *Discovery, s *secret.Spec, text string) (err error) {
	s.Fence, err = secret.ParseDuration(text)
	return err
}

// setOptional returns a set for a duration that can be switched off.
func setOptional(field func(*secret.Spec) *time.Duration) func(*Discovery, *secret.Spec, string) error {
	return func(_ *Discovery, s *secret.Spec, text string) error {
		if text == "none" {
			*field(s) = -1
			return nil
		}
		d, err := secret.ParseDuration(text)
		if err == nil && d == 0 {
			d = -1
		}
		*field(s) = d
		return err
	}
}

func setWindows(d *Discovery, s *secret.Spec, text string) (err error) {
	s.Windows, err = d.windows.get(text)
	return err
}

// parsed caches windows by their text: looking up a time zone costs more than the
// rest of a secret's tags together.
type parsed struct {
	mu      sync.Mutex
	windows map[string][]secret.Window
}

const maxParsed = 1000

func (p *parsed) get(text string) ([]secret.Window, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := p.windows[text]; ok {
		return w, nil
	}
	w, err := secret.ParseWindows(text)
	if err != nil {
		return nil, err
	}
	if len(p.windows) >= maxParsed || p.windows == nil {
		p.windows = map[string][]secret.Window{}
	}
	p.windows[text] = w
	return w, nil
}

func setStrategy(_ *Discovery, s *secret.Spec, text string) error {
	var err error
	s.Strategy, err = secret.ParseStrategy(text)
	return err
}

func setPolicy(d *Discovery, s *secret.Spec, text string) error {
	p, ok := d.Policies[text]
	if !ok {
		return fmt.Errorf("there is no policy %s in the configuration; it has %s", shorten(text), strings.Join(slices.Sorted(maps.Keys(d.Policies)), ", "))
	}
	s.Policy = p
	return nil
}

func setServices(_ *Discovery, s *secret.Spec, text string) error {
	names, err := splitNames(text)
	if err == nil {
		s.Services = names
	}
	return err
}

// splitNames returns the names of a list.
func splitNames(text string) ([]string, error) {
	names := strings.Split(text, " ")
	for i, name := range names {
		if err := secret.ValidName(name); err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("%s is listed twice", shorten(name))
		}
	}
	return names, nil
}

func sortedText(names []string) string {
	return fmt.Sprintf("%q", strings.Join(slices.Sorted(slices.Values(names)), " "))
}

func setConsumers(_ *Discovery, s *secret.Spec, text string) error {
	var out []secret.Consumer
	for one := range strings.SplitSeq(text, " ") {
		name, after, timed := strings.Cut(one, "=")
		c := secret.Consumer{Name: name}
		if err := secret.ValidName(name); err != nil {
			return err
		}
		if timed {
			var err error
			if c.After, err = secret.ParseDuration(after); err != nil {
				return err
			}
			if c.After <= 0 {
				return fmt.Errorf("the time of %s has to be longer than 0", name)
			}
		}
		out = append(out, c)
	}
	s.Proof.Consumers = out
	return nil
}

func consumersText(list []secret.Consumer) string {
	out := make([]string, len(list))
	for i, c := range list {
		if out[i] = c.Name; c.After > 0 {
			out[i] += "=" + secret.FormatDuration(c.After)
		}
	}
	return sortedText(out)
}

// word returns an error unless text is one of the words.
func word(text string, words ...string) error {
	if slices.Contains(words, text) {
		return nil
	}
	last := len(words) - 1
	return fmt.Errorf("%s is not %s or %s", shorten(text), strings.Join(words[:last], ", "), words[last])
}

// length writes a duration of a spec.
func length(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	return secret.FormatDuration(d)
}

// shorten returns text in quotes, of a length that fits into a line.
func shorten(text string) string {
	const most = 64
	if len(text) <= most {
		return strconv.Quote(text)
	}
	return strconv.Quote(strings.ToValidUTF8(text[:most], "")) + "…"
}
