package eventbridge_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tradepulse/rotator/pkg/eventbridge"
)

func TestDetailsFitTheirSchema(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../docs/eventbridge.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("detail.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("detail.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range happenings(9) {
		body, err := json.Marshal(eventbridge.NewDetail(t.Context(), e))
		if err != nil {
			t.Fatal(err)
		}
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(v); err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
		object, _ := v.(map[string]any)
		object["type"] = "secret.near_expiry"
		if schema.Validate(v) == nil {
			t.Error("a type that is not sent fits the schema")
		}
	}
}
