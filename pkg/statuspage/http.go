package statuspage

import (
	"bytes"
	"encoding/json"
	"net/http"
	"path"
	"time"
)

// policy lets a browser load the script, the style and the icon of the page and follow
// its events, from where the page is, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Patterns are what a program that has other paths as well serves with the page, by the
// pattern of [http.ServeMux].
func Patterns() []string { return []string{"GET /{$}", "GET /status/", "POST /status/act"} }

// ServeHTTP serves the page at /, and what belongs to it below /status/.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	p.mux.ServeHTTP(w, r)
}

func (p *Page) routes() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.serve)
	mux.HandleFunc("GET /status/events", p.stream)
	if p.cfg.Acts != nil {
		mux.HandleFunc("GET /status/act", p.showForm)
		mux.Handle("POST /status/act", http.NewCrossOriginProtection().Handler(http.HandlerFunc(p.act)))
	}
	for name, kind := range map[string]string{"page.css": "text/css; charset=utf-8", "page.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		content, err := files.ReadFile(path.Join("page", name))
		if err != nil {
			panic(err) // it is embedded
		}
		mux.HandleFunc("GET /status/"+name, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
		})
	}
	return mux
}

// serve answers with the page in the form that is asked for.
func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	switch format := r.URL.Query().Get("format"); format {
	case "", "html":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(p.fresh(r.Context()).page)
	case "json":
		w.Header().Set("Content-Type", "application/json")
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		_ = enc.Encode(p.fresh(r.Context()).snapshot)
	case "txt":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = text(w, p.fresh(r.Context()).snapshot)
	default:
		http.Error(w, "format is one of html, json and txt", http.StatusBadRequest)
	}
}
