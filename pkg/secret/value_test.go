package secret_test

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tradepulse/rotator/pkg/secret"
)

const hunter = "hunter2-Hunter2-hunter2"

// holder has a value in every place that a printer could look into.
type holder struct {
	Public  secret.Value
	private secret.Value
	pointer *secret.Value
	inside  struct{ deep []secret.Value }
	byName  map[string]secret.Value
	any     any
}

func hold(v secret.Value) holder {
	h := holder{Public: v, private: v, pointer: &v, byName: map[string]secret.Value{"k": v}, any: v}
	h.inside.deep = []secret.Value{v}
	return h
}

// shows reports whether out has the value in a form that a person or a program
// could read back.
func shows(out string) bool {
	digits := strings.Trim(fmt.Sprint([]byte(hunter)), "[]")
	out = strings.ToLower(out)
	for _, form := range []string{"hunter", hex.EncodeToString([]byte("hunter")), digits, strings.ReplaceAll(digits, " ", ", "), "68, 75", "0x68"} {
		if strings.Contains(out, form) {
			return true
		}
	}
	return false
}

// values are the same bytes, held in both of the ways a Value is made.
func values(t *testing.T) map[string]secret.Value {
	made, err := secret.Policy{Length: len(hunter), Classes: []secret.Class{}, Alphabet: "h!"}.Generate(seeded(1))
	if err != nil {
		t.Fatal(err)
	}
	copy(made.Reveal(), hunter)
	return map[string]secret.Value{"copied": value(hunter), "generated": made}
}

func TestNoVerbShowsAValue(t *testing.T) {
	for name, v := range values(t) {
		t.Run(name, func(t *testing.T) {
			h := hold(v)
			for _, flags := range []string{"", "+", "#", " ", "-", "0", "#+", "# ", "20", ".3", "-20.3"} {
				for verb := 'A'; verb <= 'z'; verb++ {
					format := "%" + flags + string(verb)
					for _, arg := range []any{v, &v, h, &h, []any{v}, [1]secret.Value{v}, map[string]any{"k": h}} {
						if out := fmt.Sprintf(format, arg); shows(out) {
							t.Fatalf("%s shows %T: %s", format, arg, out)
						}
					}
				}
			}
			if out := fmt.Sprint(v, &v, v.String(), v.GoString()); out != strings.TrimSpace(strings.Repeat("[redacted] ", 4)) && out != "[redacted] [redacted][redacted][redacted]" {
				t.Errorf("got %q", out)
			}
		})
	}
}

func TestNoLogShowsAValue(t *testing.T) {
	for name, v := range values(t) {
		for form, handler := range map[string]func(*bytes.Buffer) slog.Handler{
			"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
			"json": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
		} {
			t.Run(name+" "+form, func(t *testing.T) {
				var out bytes.Buffer
				slog.New(handler(&out)).With("with", v).WithGroup("g").Info("msg", "value", v, "pointer", &v, "struct", hold(v),
					"list", []secret.Value{v}, slog.Group("group", "value", v), "error", fmt.Errorf("bad %v", v))
				if shows(out.String()) || strings.Count(out.String(), "[redacted]") < 5 {
					t.Error(out.String())
				}
			})
		}
	}
}

func TestNoEncodingShowsAValue(t *testing.T) {
	for name, v := range values(t) {
		for form, encode := range map[string]func(any) ([]byte, error){
			"json": json.Marshal,
			"xml":  xml.Marshal,
			"gob": func(v any) ([]byte, error) {
				var out bytes.Buffer
				err := gob.NewEncoder(&out).Encode(v)
				return out.Bytes(), err
			},
		} {
			t.Run(name+" "+form, func(t *testing.T) {
				for _, arg := range []any{v, &v, struct{ V secret.Value }{v}, []secret.Value{v}} {
					out, err := encode(arg)
					if shows(string(out)) || shows(fmt.Sprint(err)) {
						t.Errorf("%T becomes %s, %v", arg, out, err)
					}
					if err == nil && !bytes.Contains(out, []byte("[redacted]")) {
						t.Errorf("%T becomes %s without a word", arg, out)
					}
				}
			})
		}
	}
	if out, err := json.Marshal(map[string]any{"k": value(hunter)}); string(out) != `{"k":"[redacted]"}` {
		t.Errorf("%s, %v", out, err)
	}
}

func TestNoErrorShowsAValue(t *testing.T) {
	v := value(hunter)
	for _, err := range []error{
		fmt.Errorf("op %v %s %x: %w", v, v, v, errors.New("inner")), errors.Join(fmt.Errorf("%+v", hold(v))), fmt.Errorf("%#v", hold(v)),
		secret.Policy{MinLength: 99, Exclude: hunter}.Check(v), secret.Policy{Field: "/a"}.Check(v), secret.Policy{Encoding: secret.EncodingHex}.Check(v),
	} {
		if err == nil || shows(err.Error()) || shows(fmt.Sprintf("%#v", err)) {
			t.Errorf("%#v", err)
		}
	}
}

const panicWith = "SECRET_TEST_PANIC"

// TestNoPanicShowsAValue runs itself again to see what the runtime prints.
func TestNoPanicShowsAValue(t *testing.T) {
	v := value(hunter)
	panics := map[string]any{
		"value": v, "pointer": &v, "struct": hold(v), "error": fmt.Errorf("bad %v", v), "interface": any(v), "list": []any{v},
	}
	if arg, ok := panics[os.Getenv(panicWith)]; ok {
		panic(arg)
	}
	for name := range panics {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestNoPanicShowsAValue$")
		cmd.Env = append(os.Environ(), panicWith+"="+name, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("panic: ")) || shows(string(out)) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func TestValueIsACopy(t *testing.T) {
	b := []byte("abc")
	v := secret.NewValue(b)
	b[0] = 'x'
	if string(v.Reveal()) != "abc" || v.Len() != 3 {
		t.Error("the value changes with the bytes it was made from")
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	var v secret.Value
	if v.Reveal() != nil || v.Len() != 0 || !v.Equal(value("")) || v.Equal(value("a")) {
		t.Error("it is not")
	}
}

func TestValuesAreEqualByTheirBytes(t *testing.T) {
	if !value("abc").Equal(value("abc")) || value("abc").Equal(value("abd")) || value("abc").Equal(value("ab")) {
		t.Error("they are not")
	}
}
