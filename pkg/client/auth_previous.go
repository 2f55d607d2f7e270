package client

import (
	"slices"
	"sync"
	"time"
)

// PreviousUse is a client that has sent the previous token.
type PreviousUse struct {
	// Client is its address.
	Client string
	// Uses is how often.
	Uses int64
	// Last is when it last did.
	Last time.Time
}

const (
	// maxClients bounds how many clients are counted separately; further ones count
	// together, as "others".
	maxClients = 1000
	// sayAgain is the least time between two log lines about a client.
	sayAgain = time.Minute
)

// previousClients are those that send the previous token.
type previousClients struct {
	mu  sync.Mutex
	all map[string]*previousClient
}

// previousClient is one of them: how often and when it last sent the token, and
// when that was last logged.
type previousClient struct {
	uses       int64
	last, said time.Time
}

// used counts a use, and reports how many there are and whether to log it.
func (p *previousClients) used(client string, now time.Time) (uses int64, say bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[string]*previousClient{}
	}
	c, ok := p.all[client]
	if !ok && len(p.all) >= maxClients {
		client = "others"
		c, ok = p.all[client]
	}
	if !ok {
		c = &previousClient{}
		p.all[client] = c
	}
	c.uses, c.last = c.uses+1, now
	if say = c.said.IsZero() || now.Sub(c.said) >= sayAgain; say {
		c.said = now
	}
	return c.uses, say
}

// reset forgets all of them: another token is the previous one now.
func (p *previousClients) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = nil
}

// list returns a copy, the latest use first.
func (p *previousClients) list() []PreviousUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]PreviousUse, 0, len(p.all))
	for client, c := range p.all {
		out = append(out, PreviousUse{Client: client, Uses: c.uses, Last: c.last})
	}
	slices.SortFunc(out, func(a, b PreviousUse) int { return b.Last.Compare(a.Last) })
	return out
}
