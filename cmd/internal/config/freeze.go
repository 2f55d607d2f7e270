package config

import (
	"fmt"
	"strconv"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// Freeze is a time in which scheduled rotations wait: from and to, or a recurring one
// with cron and duration. What a person asks for does not wait. Without a selection it is
// about every secret; with several it is about the secrets that match each.
type Freeze struct {
	// Why, for people.
	Reason string `json:"reason" jsonschema:"required,minLength=1,maxLength=256"`
	// When it begins: a day, such as 2026-12-20, or a time, such as
	// 2026-12-20T18:00:00+01:00.
	From string `json:"from,omitzero" jsonschema:"format=moment"`
	// When it is over: at the beginning of a day, or at a time.
	To string `json:"to,omitzero" jsonschema:"format=moment"`
	// When a recurring one begins: minute, hour, day of month, month and day of week.
	Cron string `json:"cron,omitzero" jsonschema:"maxLength=256"`
	// Time zone of cron, by its IANA name such as Europe/Vienna. Without it UTC.
	Zone string `json:"zone,omitzero" jsonschema:"maxLength=64"`
	// How long a recurring one takes.
	Duration Duration `json:"duration,omitzero"`
	// Secrets of one of these services.
	Services []string `json:"services,omitzero" jsonschema:"format=token,maxItems=1000"`
	// Secrets in one of these stores.
	Stores []string `json:"stores,omitzero" jsonschema:"format=token,maxItems=1000"`
	// Secrets with one of these IDs.
	Secrets []string `json:"secrets,omitzero" jsonschema:"format=secret-id,maxItems=10000"`
	// Secrets with all of these tags in their store; one without a value matches any.
	Tags map[string]string `json:"tags,omitzero"`
}

// freeze returns the freeze as the rules of rotation know it.
func (f Freeze) freeze() (*secret.Freeze, error) {
	out := &secret.Freeze{Reason: f.Reason, Services: f.Services, Stores: f.Stores, Tags: f.Tags}
	for _, id := range f.Secrets {
		out.Secrets = append(out.Secrets, secret.ID(id))
	}
	var err error
	switch recurs := f.Cron != "" || f.Duration != 0 || f.Zone != ""; {
	case recurs && f.From+f.To != "":
		return nil, fmt.Errorf("it has both from and to, and cron")
	case recurs:
		out.Window, err = secret.ParseWindow(f.Cron, f.Zone, time.Duration(f.Duration))
		return out, err
	case f.From == "" || f.To == "":
		return nil, fmt.Errorf("it does not say when it is")
	}
	if out.From, err = parseMoment(f.From); err != nil {
		return nil, err
	}
	if out.To, err = parseMoment(f.To); err == nil && !out.From.Before(out.To) {
		err = fmt.Errorf("it ends before it begins")
	}
	return out, err
}

// allFreezes returns every freeze. The secrets share them.
func (c *Config) allFreezes() ([]*secret.Freeze, error) {
	if c.freezes != nil || len(c.Freeze) == 0 {
		return c.freezes, nil
	}
	out := make([]*secret.Freeze, len(c.Freeze))
	for i, f := range c.Freeze {
		var err error
		if out[i], err = f.freeze(); err != nil {
			return nil, fmt.Errorf("freeze[%d]: %w", i, err)
		}
	}
	c.freezes = out
	return out, nil
}

func parseMoment(text string) (time.Time, error) {
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%s is neither a day nor a time with a zone", quote(text))
	}
	return t, nil
}

func checkMoment(text string) error {
	_, err := parseMoment(text)
	return err
}

// freezes checks each freeze, and that there is what it selects.
func (k *checker) freezes() {
	for i, f := range k.cfg.Freeze {
		at := []string{"freeze", strconv.Itoa(i)}
		if _, err := f.freeze(); err != nil && k.whole(at...) {
			k.report(at, plain(err, secret.ErrInvalidWindow), "give it from and to, or cron and duration")
		}
		for n, name := range f.Stores {
			if _, ok := k.cfg.Stores[name]; !ok && name != "" {
				k.report(append(at, "stores", strconv.Itoa(n)), "there is no store "+quote(name), "name one of stores")
			}
		}
	}
}
