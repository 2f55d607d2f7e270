package main

import (
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/invopop/jsonschema"

	"github.com/tradepulse/rotator/pkg/eventbridge"
	"github.com/tradepulse/rotator/pkg/events"
)

const detailFile = "docs/eventbridge.schema.json"

// detail is the JSON Schema of the detail of an entry on an event bus of AWS.
func detail() ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, AllowAdditionalProperties: true, ExpandedStruct: true, Mapper: sent}
	for _, dir := range []string{"./pkg/events", "./pkg/eventbridge"} {
		if err := r.AddGoComments("github.com/tradepulse/rotator", dir); err != nil {
			return nil, fmt.Errorf("read comments: %w", err)
		}
	}
	s := r.Reflect(eventbridge.Detail{})
	s.ID = "https://github.com/tradepulse/rotator/eventbridge.schema.json"
	s.Title = "Detail of an event from " + eventbridge.DefaultSource
	out, err := json.MarshalIndent(s, "", "  ")
	return append(out, '\n'), err
}

// sent is plain, with the types of event that are sent.
func sent(t reflect.Type) *jsonschema.Schema {
	if t != reflect.TypeFor[events.Type]() {
		return plain(t)
	}
	s := &jsonschema.Schema{Type: "string"}
	for _, one := range eventbridge.Types() {
		s.Enum = append(s.Enum, one)
	}
	return s
}
