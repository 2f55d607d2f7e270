package cli

import "fmt"

// Count is a number and a noun, whose plural ends in s.
func Count(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
