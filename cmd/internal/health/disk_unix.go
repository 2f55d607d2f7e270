//go:build darwin || freebsd || linux

package health

import "golang.org/x/sys/unix"

func usage(dir string) disk {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil || st.Blocks == 0 {
		return disk{}
	}
	taken := int64(st.Blocks) - int64(st.Bfree)
	usable := taken + int64(st.Bavail) // what is reserved for root counts as neither
	if usable <= 0 {
		return disk{}
	}
	return disk{used: 100 * taken / usable, known: true}
}
