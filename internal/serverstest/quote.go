package serverstest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
)

// Quoting returns a fault that has answer reply to the whole request, as it came over
// the wire: a status and a body, or 0 to pass the call on.
func Quoting(answer func(request []byte) (status int, body []byte)) Fault {
	return func(_ *Proxy, w http.ResponseWriter, r *http.Request, next http.Handler) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the caller is gone
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		head, err := httputil.DumpRequest(r, false)
		if err != nil {
			return
		}
		status, text := answer(append(head, body...))
		if status == 0 {
			next.ServeHTTP(w, r)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(text)
	}
}
