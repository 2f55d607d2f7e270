// Command release packs what users install: an archive and a Debian package of the
// programs for one architecture, and the checksums of a folder. The same input gives
// the same bytes.
//
//	release archive -version V -date SECONDS -arch ARCH -programs DIR -root DIR -o FILE.tar.gz
//	release deb     -version V -date SECONDS -arch ARCH -programs DIR -root DIR -o FILE.deb
//	release sums    DIR
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// parcel is what is packed.
type parcel struct {
	Version, Arch, Programs, Root string
	Date                          time.Time
}

func run(args []string) error {
	if len(args) == 2 && args[0] == "sums" {
		return sums(args[1])
	}
	if len(args) == 0 {
		return errors.New("usage: release archive|deb|sums")
	}
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	var p parcel
	flags.StringVar(&p.Version, "version", "unknown", "the version")
	flags.StringVar(&p.Arch, "arch", "amd64", "the architecture, by the name that Go and Debian share")
	flags.StringVar(&p.Programs, "programs", "", "the `folder` with the programs")
	flags.StringVar(&p.Root, "root", ".", "the `folder` of the repository")
	date := flags.Int64("date", 0, "when the commit was made, in `seconds` since 1970")
	out := flags.String("o", "", "the `file` to write")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	p.Date = time.Unix(*date, 0).UTC()
	pack := map[string]func(io.Writer) error{"archive": p.archive, "deb": p.deb}[args[0]]
	if pack == nil {
		return fmt.Errorf("%q is none of archive, deb and sums", args[0])
	}
	f, err := os.Create(*out)
	if err != nil {
		return err
	}
	return errors.Join(pack(f), f.Close())
}

// sums writes SHA256SUMS of the files in a folder, in the form of sha256sum.
func sums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		if e.IsDir() || e.Name() == "SHA256SUMS" {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name())) //nolint:gosec // of the folder
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(b.String()), 0o644) //nolint:gosec // everyone may check
}
