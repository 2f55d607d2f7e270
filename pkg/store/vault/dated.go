package vault

import (
	"net/http"
	"time"

	"github.com/tradepulse/rotator/pkg/store"
)

// dated is a transport that notes the dates of answers.
type dated struct {
	next  http.RoundTripper
	clock *store.Clock
}

// RoundTrip implements [http.RoundTripper]. A date has no fraction of its second: the
// middle is off by half a second at most.
func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	asked := time.Now()
	resp, err := d.next.RoundTrip(r)
	if err != nil {
		return resp, err
	}
	if at, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		d.clock.Note(at.Add(time.Second/2), asked, time.Now())
	}
	return resp, nil
}

// CloseIdleConnections is called by [http.Client].
func (d *dated) CloseIdleConnections() {
	if c, ok := d.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
