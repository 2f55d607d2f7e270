package awssm

import (
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
)

const day = 24 * time.Hour

// lifetime returns the time between two rotations that the rules of a secret
// ask for, 0 when they ask for none or cannot be read. Rules of a rotation that
// is switched off are ones that were in force once, and ask for nothing.
//
// A rate says it exactly. From any other schedule AWS works out the days
// itself, after the first rotation; until then a cron expression is read here.
func lifetime(enabled *bool, rules *types.RotationRulesType) time.Duration {
	if rules == nil || !aws.ToBool(enabled) {
		return 0
	}
	kind, rest, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(aws.ToString(rules.ScheduleExpression)), ")"), "(")
	fields := strings.Fields(rest)
	days := aws.ToInt64(rules.AutomaticallyAfterDays)
	switch {
	case kind == "rate" && len(fields) == 2:
		return ratePeriod(fields[0], fields[1])
	case days > 0:
		return time.Duration(days) * day
	case kind == "cron" && len(fields) == 6:
		return cronPeriod(fields[1], fields[2], fields[3], fields[4])
	default:
		return 0
	}
}

func ratePeriod(number, unit string) time.Duration {
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 {
		return 0
	}
	switch strings.TrimSuffix(unit, "s") {
	case "hour":
		return time.Duration(n) * time.Hour
	case "day":
		return time.Duration(n) * day
	default:
		return 0
	}
}

// cronPeriod returns about the longest time between two openings of a schedule of
// the kinds that AWS documents: every so many hours, every day, on days of the
// week, on days of the month, every so many months, in some months. A list of
// days counts like one of them.
func cronPeriod(hour, dayOfMonth, month, dayOfWeek string) time.Duration {
	switch {
	case step(month) > 0:
		return time.Duration(step(month)) * 31 * day
	case !every(month):
		return 366 * day / time.Duration(1+strings.Count(month, ","))
	case !every(dayOfWeek):
		return 7 * day
	case step(dayOfMonth) > 0:
		return time.Duration(step(dayOfMonth)) * day
	case !every(dayOfMonth):
		return 31 * day
	case step(hour) > 0:
		return time.Duration(step(hour)) * time.Hour
	default:
		return day
	}
}

func every(field string) bool { return field == "*" || field == "?" }

// step returns n of "a/n", else 0.
func step(field string) int {
	_, n, ok := strings.Cut(field, "/")
	if !ok {
		return 0
	}
	i, err := strconv.Atoi(n)
	if err != nil {
		return 0
	}
	return i
}
