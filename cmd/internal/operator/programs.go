package operator

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/running"
	"github.com/tradepulse/rotator/cmd/internal/wire"
	"github.com/tradepulse/rotator/pkg/catalog"
)

// Reload has the programs on the bus of the configuration at path load their files again,
// and returns what each of them says.
func Reload(cmd *cobra.Command, path string) ([]running.Answer, error) {
	o, err := New(cmd, path)
	if err != nil {
		return nil, err
	}
	o.wire.Stores = false
	parts, err := o.connect(cmd.Context())
	if err != nil {
		return nil, err
	}
	defer parts.Close()
	all, err := running.Ask(cmd.Context(), parts.Conn, parts.Bus.Names(), running.Load, false)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("no program on this bus answers: none runs, one of an earlier version does, or the rights of its NATS user lack program.*; 'kill -HUP PID' works in any case")
	}
	return all, err
}

// programs asks which configuration the programs on the bus run, writes to w where that
// is not what their files say, and adds to the catalog the secrets that the files listed
// once.
func (o *Operator) programs(ctx context.Context, p *wire.Parts, w io.Writer) error {
	all, err := running.Ask(ctx, p.Conn, p.Bus.Names(), running.Show, o.Config.SingleNode())
	if err != nil {
		return err
	}
	for _, a := range all {
		if text := a.Warning(o.Config); text != "" {
			fmt.Fprintf(w, "warning: %s\n", text)
		}
		keep(p.Catalog, a)
	}
	return nil
}

func keep(c *catalog.Catalog, a running.Answer) {
	for _, d := range a.Removed {
		if spec, ok := d.Spec(); ok {
			c.Keep(spec)
		}
	}
}
