package running

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/events"
)

// Answer is what one program says of its configuration.
type Answer struct {
	// Source is the program, as events name it.
	Source string `json:"source"`
	// File is where its configuration is kept, Digest which one it runs and since when.
	File     string    `json:"file,omitempty"`
	Digest   string    `json:"digest"`
	LoadedAt time.Time `json:"loaded_at"`
	// Loaded is what this request has changed. Pending is what the file says and the
	// program does not run.
	Loaded  config.Difference `json:"loaded,omitzero"`
	Pending config.Difference `json:"pending,omitzero"`
	// Removed are secrets that the configuration listed while the program ran, and lists
	// no longer, at most MaxRemoved.
	Removed []events.Data `json:"removed,omitempty"`
	// Error is why the file was not loaded, or cannot be.
	Error string `json:"error,omitempty"`
}

// MaxRemoved bounds [Answer.Removed].
const MaxRemoved = 500

// String says in one line what came of a reload.
func (a Answer) String() string {
	switch {
	case a.Error != "":
		return fmt.Sprintf("%s: nothing changed: %s", a.Source, a.Error)
	case a.Loaded.IsZero() && a.Pending.IsZero():
		return fmt.Sprintf("%s: runs what %s says", a.Source, a.File)
	case a.Pending.IsZero():
		return fmt.Sprintf("%s: %s", a.Source, a.Loaded)
	case a.Loaded.IsZero():
		return fmt.Sprintf("%s: %s", a.Source, a.Pending)
	default:
		return fmt.Sprintf("%s: %s; %s", a.Source, a.Loaded, a.Pending)
	}
}

// Warning says what a person has to know of the configuration that a program runs, whose
// command has read cfg; "" for nothing.
func (a Answer) Warning(cfg *config.Config) string {
	switch {
	case a.Error != "":
		return fmt.Sprintf("%s cannot load %s: %s", a.Source, a.File, a.Error)
	case a.Pending.Loadable():
		return fmt.Sprintf("%s runs another configuration than %s: %s; 'rotator reload' loads it", a.Source, a.File, a.Pending)
	case !a.Pending.IsZero():
		return fmt.Sprintf("%s runs another configuration than %s: %s", a.Source, a.File, a.Pending)
	case a.Digest != cfg.Digest():
		return fmt.Sprintf("%s runs other secrets, policies, services or defaults than this command has read (digest %s, here %s): its file %s differs, or the environment does", a.Source, a.Digest, cfg.Digest(), a.File)
	default:
		return ""
	}
}

// Verb is what is asked of programs.
type Verb string

// What can be asked.
const (
	// Show asks for an answer alone.
	Show Verb = "config"
	// Load has the file loaded first.
	Load Verb = "reload"
)

// How long answers are waited for: the first, and each further one.
const (
	showFirst, showNext = 2 * time.Second, 150 * time.Millisecond
	loadFirst, loadNext = 30 * time.Second, 2 * time.Second
)

// Ask returns what the programs on the bus answer, which may be none. With one it
// returns after the first answer.
func Ask(ctx context.Context, nc *nats.Conn, names events.Names, v Verb, one bool) ([]Answer, error) {
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is gone then
	if err := nc.PublishRequest(names.Program(string(v)), inbox, nil); err != nil {
		return nil, err
	}
	wait, next := showFirst, showNext
	if v == Load {
		wait, next = loadFirst, loadNext
	}
	var out []Answer
	for {
		a, err := answer(ctx, sub, wait)
		switch {
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil, errors.Is(err, nats.ErrNoResponders):
			return out, nil
		case err != nil:
			return out, err
		}
		if out, wait = append(out, a), next; one {
			return out, nil
		}
	}
}

func answer(ctx context.Context, sub *nats.Subscription, wait time.Duration) (a Answer, err error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	m, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return a, err
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return a, nats.ErrNoResponders
	}
	return a, json.Unmarshal(m.Data, &a)
}
