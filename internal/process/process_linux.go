package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tradepulse/rotator/pkg/events"
)

// startField is the index of the start time behind the name in /proc/<pid>/stat,
// which proc_pid_stat(5) counts as field 22.
const startField = 22 - 3

// Of returns the process that has a PID now. The error wraps [os.ErrNotExist] when
// there is none; a process that has ended and was not waited for counts as none.
func Of(pid int) (*events.Process, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	// The name of the program is in parentheses and may hold any byte.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= startField {
		return nil, errors.New("the state of the process is not understood")
	}
	if state := fields[0][0]; state == 'Z' || state == 'X' {
		return nil, fmt.Errorf("process %d has ended: %w", pid, os.ErrNotExist)
	}
	ticks, err := strconv.ParseUint(string(fields[startField]), 10, 64)
	if err != nil {
		return nil, fmt.Errorf("the start of process %d is not understood", pid)
	}
	return &events.Process{BootID: strings.TrimSpace(string(boot)), PID: pid, StartTicks: ticks}, nil
}

// ticksPerSecond is USER_HZ, which is 100 on every platform that Go runs on.
const ticksPerSecond = 100

// Started returns when the process that has a PID now began.
func Started(pid int) (time.Time, error) {
	p, err := Of(pid)
	if err != nil {
		return time.Time{}, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Time{}, err
	}
	ago := time.Duration(up.Nano()) - time.Duration(p.StartTicks)*(time.Second/ticksPerSecond)
	return time.Now().Add(-ago), nil
}

// Ended reports whether p has ended for certain: the host was booted since, or the
// PID is free or belongs to a later process. It is false where that cannot be known.
func Ended(p *events.Process) bool {
	now, err := Of(p.PID)
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	return *now != *p
}
