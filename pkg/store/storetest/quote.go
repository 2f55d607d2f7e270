package storetest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// The value that a server quotes, and a part of it that no way of quoting changes.
const (
	birdCore = "9f31c7Zq"
	bird     = `Canary/` + birdCore + `"+Väl&<b>!`
)

// quotes are the ways in which a server quotes a request.
var quotes = map[string]func(request string) string{
	"as it is":      func(s string) string { return s },
	"cut off":       func(s string) string { return s[:min(len(s), strings.Index(s+birdCore, birdCore)+6)] },
	"in JSON":       func(s string) string { b, _ := json.Marshal(s); return string(b) },
	"escaped by Go": func(s string) string { return fmt.Sprintf("%q", s) },
	"as a query":    url.QueryEscape,
	"as a path":     url.PathEscape,
	"in HTML":       html.EscapeString,
	"in base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"for a URL":     func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"as bytes":      func(s string) string { return hex.EncodeToString([]byte(s)) },
}

// quoting refuses every request that carries the value, and quotes it.
func quoting(t *testing.T, b *bench) {
	t.Helper()
	if b.h.Quoting == nil {
		return
	}
	for name, quote := range quotes {
		for _, status := range []int{http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusBadGateway} {
			refused := 0
			d := b.h.Quoting(t, func(request []byte) (int, []byte) {
				if !carries(string(request)) {
					return 0, nil
				}
				refused++
				return status, refusal(status, "request blocked by policy, it was "+quote(string(request)))
			})
			for what, text := range work(t, b, d) {
				if holdsPiece(text) {
					t.Errorf("%d, quoted %s: %s holds a piece of the value", status, name, what)
				}
			}
			if refused == 0 {
				t.Errorf("%d, quoted %s: no request carries the value", status, name)
			}
		}
	}
}

// refusal is an answer with a text, such as the services and a proxy give.
func refusal(status int, text string) []byte {
	if status == http.StatusBadGateway || status == http.StatusRequestEntityTooLarge {
		return []byte("<html>" + text + "</html>")
	}
	body, _ := json.Marshal(map[string]any{"errors": []string{text}, "__type": "InvalidRequestException", "message": text})
	return body
}

// work puts the value and promotes it through d, which is refused, and past it. It
// returns all that d and the store over it say.
func work(t *testing.T, b *bench, d store.Driver) map[string]string {
	t.Helper()
	ctx, path := t.Context(), unique(t)
	var log bytes.Buffer
	spans := tracetest.NewInMemoryExporter()
	st, err := store.New("quoted", d, &store.Options{
		Circuit: store.Circuit{Failures: -1}, TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)),
		Logger: slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := store.Write{Token: secret.NewToken(secret.ID(path), "", "quoting", 0), Value: value(bird), Create: true}
	_, put := st.Put(ctx, path, w)
	if put == nil {
		t.Error("a put that carries the value is refused, and succeeds")
	}
	v, err := b.d.Put(ctx, path, w)
	if err != nil {
		t.Fatal(err)
	}
	promote := st.Promote(ctx, path, "", v.ID)
	_, _, get := st.Get(ctx, path, store.Selector{Version: v.ID})
	retire := st.Retire(ctx, path, v.ID, secret.RetireDelete)
	out := map[string]string{"the log": log.String()}
	for op, err := range map[string]error{"put": put, "promote": promote, "get": get, "retire": retire} {
		out["the error of "+op] = fmt.Sprintf("%v %+v %#v", err, err, err)
	}
	for _, s := range spans.GetSpans() {
		out["the span "+s.Name] += fmt.Sprintf("%v %+v %+v", s.Status, s.Attributes, s.Events)
	}
	return out
}

// carries reports whether a request has the value in it.
func carries(request string) bool {
	return strings.Contains(request, birdCore) || strings.Contains(request, base64.StdEncoding.EncodeToString([]byte(bird)))
}

// holdsPiece reports whether a text holds six bytes of the value in a row, in a form
// that quotes has.
func holdsPiece(text string) bool {
	for i := 0; i+6 <= len(birdCore); i++ {
		piece := birdCore[i : i+6]
		if strings.Contains(text, piece) || strings.Contains(text, hex.EncodeToString([]byte(piece))) || strings.Contains(text, base64.RawStdEncoding.EncodeToString([]byte(piece))) {
			return true
		}
	}
	return strings.Contains(text, "Canary")
}
