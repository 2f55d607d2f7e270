package inspect

import (
	"context"

	"github.com/tradepulse/rotator/pkg/catalog"
	"github.com/tradepulse/rotator/pkg/secret"
	"github.com/tradepulse/rotator/pkg/store"
)

// CodeShape is the code of the finding about a secret whose rotation is refused
// because it would replace more than a password or key.
const CodeShape secret.FindingCode = "shape"

// Shape reads the current value of a secret and adds a finding to s if its
// rotation will be refused, see [secret.Policy.Replaces]. A value that cannot be
// read adds none: the rotation says so.
func Shape(ctx context.Context, st *store.Store, e catalog.Entry, s *Secret) {
	spec := e.Spec
	if s.VersionID == "" || s.Error != "" || spec.Strategy == secret.StrategyExternal || st.Features().ReadOnly {
		return
	}
	if p := spec.ValuePolicy(); p.Field != "" || p.Whole {
		return
	}
	_, v, err := st.Get(ctx, spec.StorePath(), store.Selector{})
	if err != nil {
		return
	}
	if spec.ValuePolicy().Replaces(v) != nil {
		s.Findings = append(s.Findings, secret.Finding{
			Code: CodeShape, Severity: secret.SeverityError,
			Message: "the rotation will be refused: the value is " + string(v.Shape()), Remedy: v.Shape().Remedy(),
		})
	}
}
