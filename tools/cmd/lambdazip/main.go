// Command lambdazip packs a program for AWS Lambda: a zip of the program as
// bootstrap, and of files beside it that keep their names. The same input gives
// the same bytes: nothing in the zip depends on when, where or by whom it was
// made.
package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lambdazip:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: lambdazip ZIP PROGRAM [FILE...]")
	}
	f, err := os.Create(args[0]) //nolint:gosec // the caller says where to write
	if err != nil {
		return err
	}
	return errors.Join(pack(f, args[1], args[2:]), f.Close())
}

// pack writes the zip. The program may be run and all may be read by every user,
// because Lambda runs it as a user that owns nothing.
func pack(w io.Writer, program string, files []string) error {
	z := zip.NewWriter(w)
	if err := add(z, "bootstrap", program, 0o755); err != nil {
		return err
	}
	for _, path := range files {
		if err := add(z, filepath.Base(path), path, 0o644); err != nil {
			return err
		}
	}
	return z.Close()
}

// epoch is the earliest time that a zip can hold.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

func add(z *zip.Writer, name, path string, mode os.FileMode) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
	h.SetMode(mode)
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	f, err := os.Open(path) //nolint:gosec // the caller says what to pack
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
