package operator

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tradepulse/rotator/cmd/internal/backup"
	"github.com/tradepulse/rotator/cmd/internal/cli"
	"github.com/tradepulse/rotator/cmd/internal/config"
	"github.com/tradepulse/rotator/pkg/events"
	"github.com/tradepulse/rotator/pkg/store/natskv"
)

// Backup writes the streams of the single node that runs with the configuration at path
// into a new file.
func Backup(cmd *cobra.Command, path, file string) (backup.Manifest, error) {
	o, streams, err := newBackup(cmd, path)
	if err != nil {
		return backup.Manifest{}, err
	}
	o.wire.Stores = false
	parts, err := o.connect(cmd.Context())
	if err != nil {
		return backup.Manifest{}, err
	}
	m := backup.Manifest{Program: cli.Version(), MadeBy: parts.Source + "/" + User(), LeftOut: o.keyFiles()}
	m, err = backup.Write(cmd.Context(), parts.Conn, parts.Bus.Seal, file, streams, m)
	return m, errors.Join(err, parts.Close())
}

// Restore makes the data directory of the configuration at path from a backup. With the
// name of a file with a public key, that key has to have signed it. It returns the files
// with keys that have to be put in place before the node starts.
func Restore(cmd *cobra.Command, path, file, key string) (m backup.Manifest, absent []string, err error) {
	o, streams, err := newBackup(cmd, path)
	if err != nil {
		return m, nil, err
	}
	trusted, err := o.trusts(key)
	if err != nil {
		return m, nil, err
	}
	if err := backup.Empty(o.wire.DataDir, o.keyNames()); err != nil {
		return m, nil, fmt.Errorf("node.data_dir: %w", err)
	}
	f, err := backup.Open(file, trusted)
	if errors.Is(err, os.ErrNotExist) {
		err = cli.UsageError{Err: err}
	}
	if err != nil {
		return m, nil, err
	}
	err = errors.Join(restore(cmd.Context(), f, o.wire.DataDir, streams), f.Close())
	return f.Manifest, o.absentKeys(), err
}

func restore(ctx context.Context, f *backup.File, dir string, streams []string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return f.Restore(ctx, dir, streams)
}

// newBackup returns the names of the streams that a backup of the configuration has. The
// log comes before the buckets and the records after them: a version that the log does not
// have is announced again, and a receipt is written before the value is destroyed.
func newBackup(cmd *cobra.Command, path string) (*Operator, []string, error) {
	o, err := New(cmd, path)
	if err != nil {
		return nil, nil, err
	}
	if !o.Config.SingleNode() {
		return nil, nil, cli.UsageError{Err: fmt.Errorf("%s: with nats.url the streams are on a cluster; use 'nats account backup' there", path)}
	}
	names, err := events.NewNames(o.Config.NATS.Prefix)
	if err != nil {
		return nil, nil, err
	}
	var buckets []string
	for _, s := range config.StoresOf[*config.NATSKV](o.Config) {
		stream, _ := natskv.Probe(s.Bucket)
		buckets = append(buckets, stream)
	}
	slices.Sort(buckets)
	return o, slices.Concat([]string{names.RotatedStream()}, buckets, []string{names.RecordStream()}), nil
}

// trusts returns which keys may have signed a backup.
func (o *Operator) trusts(file string) (func(ed25519.PublicKey) bool, error) {
	want, err := publicKey(file)
	switch {
	case err != nil:
		return nil, cli.UsageError{Err: fmt.Errorf("--key: %w", err)}
	case want != nil:
		return func(key ed25519.PublicKey) bool { return want.Equal(key) }, nil
	}
	return o.wire.TrustsRecords()
}

// operatorKey is made by each start that does not find it.
const operatorKey = "operator.nk"

// keyFiles returns the files with the keys of a single node.
func (o *Operator) keyFiles() []string {
	signing, _ := o.Config.SigningKey(o.wire.DataDir)
	files := []string{signing.File, filepath.Join(o.wire.DataDir, operatorKey)}
	for _, s := range config.StoresOf[*config.NATSKV](o.Config) {
		ref, _ := s.Key(o.wire.DataDir)
		files = append(files, ref.File)
	}
	slices.Sort(files)
	files = slices.DeleteFunc(files, func(f string) bool { return f == "" }) // in an environment variable
	return slices.Compact(files)
}

// keyNames returns the names of those in the data directory.
func (o *Operator) keyNames() []string {
	var names []string
	for _, f := range o.keyFiles() {
		if filepath.Dir(f) == filepath.Clean(o.wire.DataDir) {
			names = append(names, filepath.Base(f))
		}
	}
	return names
}

// absentKeys returns the files with keys that are not there, and that no start makes.
func (o *Operator) absentKeys() []string {
	out := []string{}
	for _, f := range o.keyFiles() {
		if _, err := os.Stat(f); err != nil && filepath.Base(f) != operatorKey {
			out = append(out, f)
		}
	}
	return out
}
