package agent

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// usersOf returns the users who may signal a process besides root: its real and its
// saved user.
func usersOf(pid int) ([]int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(status)) {
		f := strings.Fields(line)
		if len(f) != 5 || f[0] != "Uid:" {
			continue
		}
		actual, err := strconv.Atoi(f[1])
		saved, err2 := strconv.Atoi(f[3])
		return []int{actual, saved}, errors.Join(err, err2)
	}
	return nil, errors.New("the system does not say whose it is")
}
