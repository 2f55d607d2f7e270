package main

import (
	"crypto/md5" //nolint:gosec // the format of md5sums; nothing trusts it
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
)

// deb writes a Debian package: an ar archive of the version of the format, of the
// control files and of the files to install.
func (p parcel) deb(w io.Writer) error {
	files, err := p.files("usr/bin", "usr/lib/systemd/system")
	if err != nil {
		return err
	}
	size, sums := 0, strings.Builder{}
	for i := range files {
		if strings.HasSuffix(files[i].name, ".service") { // the units in the repository are for programs that were copied by hand
			files[i].content = []byte(strings.ReplaceAll(string(files[i].content), "/usr/local/bin/", "/usr/bin/"))
		}
		size += len(files[i].content)
		fmt.Fprintf(&sums, "%x  %s\n", md5.Sum(files[i].content), files[i].name) //nolint:gosec // see above
	}
	control, err := gzipped([]entry{{"./control", 0o644, p.control(size)}, {"./md5sums", 0o644, []byte(sums.String())}}, p.Date)
	if err != nil {
		return err
	}
	data, err := gzipped(files, p.Date)
	if err != nil {
		return err
	}
	return ar(w, p.Date, []entry{{"debian-binary", 0o644, []byte("2.0\n")}, {"control.tar.gz", 0o644, control}, {"data.tar.gz", 0o644, data}})
}

// control describes the package. Nothing is started by installing it: a unit wants a
// configuration first.
func (p parcel) control(size int) []byte {
	return fmt.Appendf(nil, `Package: rotator
Version: %s
Architecture: %s
Maintainer: The rotator maintainers <maintainers@rotator.invalid>
Installed-Size: %d
Section: admin
Priority: optional
Homepage: https://github.com/tradepulse/rotator
Description: rotates secrets and proves that every process uses the new one
 rotator replaces secrets before they expire, and retires the old version once
 every process that uses it reports that it runs the new one.
 .
 Write /etc/rotator/rotator.yaml, for which there are examples in
 /usr/share/doc/rotator/examples, and run: systemctl enable --now rotator
`, debianVersion(p.Version), p.Arch, (size+1023)/1024)
}

var notDebian = regexp.MustCompile(`[^A-Za-z0-9.+~]+`)

// debianVersion returns a version that dpkg accepts and sorts as it is meant: it
// begins with a digit, and ~ is before the release.
func debianVersion(v string) string {
	v = strings.TrimPrefix(v, "v")
	base, pre, found := strings.Cut(v, "-")
	if found && !regexp.MustCompile(`^[0-9]+-g[0-9a-f]`).MatchString(pre) {
		base += "~" + pre
	} else if found {
		base += "+" + pre // commits after a release
	}
	base = notDebian.ReplaceAllString(base, ".")
	if base == "" || base[0] < '0' || base[0] > '9' || !strings.Contains(base, ".") {
		base = "0~" + base // a commit before the first release
	}
	return base
}

// ar writes an archive in the form of ar.
func ar(w io.Writer, date time.Time, files []entry) error {
	if _, err := io.WriteString(w, "!<arch>\n"); err != nil {
		return err
	}
	for _, f := range files {
		content := f.content
		if len(content)%2 == 1 {
			content = append(slices.Clip(content), '\n')
		}
		if _, err := fmt.Fprintf(w, "%-16s%-12d%-6d%-6d%-8o%-10d`\n", f.name, date.Unix(), 0, 0, 0o100000|f.mode, len(f.content)); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return nil
}
