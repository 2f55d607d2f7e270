package secret

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// cronFields are the five of crontab(5).
const cronFields = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow

// schedule is a cron expression as bits: which minutes of a wall clock match.
// It knows nothing of time zones; its times are all in UTC.
type schedule struct {
	minute, hour, dom, month, dow uint64
	// eitherDay lets a day match by dom or dow alone: where neither field begins
	// with a star, as in crontab(5), and unlike what the parser's own schedule does.
	eitherDay bool
}

// horizon is how many years a match can be away: 29 February is 8 from the
// next across 2100.
const horizon = 9

// parseSchedule returns an error for what is no cron expression of five fields
// and for one that never matches.
func parseSchedule(expr string) (schedule, error) {
	parsed, err := cron.MustNewParser(cronFields).Parse(expr)
	if err != nil {
		return schedule{}, err
	}
	if err := checkFields(expr); err != nil {
		return schedule{}, err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return schedule{}, errors.New("want five fields")
	}
	const star = 1 << 63 // set by the parser in a field that is "*", not in "*/2"
	fields := strings.Fields(expr)
	s := schedule{
		minute: spec.Minute &^ star, hour: spec.Hour, dom: spec.Dom, month: spec.Month, dow: spec.Dow,
		eitherDay: !strings.HasPrefix(fields[2], "*") && !strings.HasPrefix(fields[4], "*"),
	}
	if _, ok := s.atOrAfter(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)); !ok {
		return schedule{}, errors.New("it never fires")
	}
	return s, nil
}

// checkFields refuses what the parser lets through: a time zone of its own,
// and a range from beyond the field's end such as 62-5.
func checkFields(expr string) error {
	fields := strings.Fields(expr)
	if len(fields) != 5 {
		return errors.New("want five fields: minute, hour, day of month, month, day of week")
	}
	for i, most := range []int{59, 23, 31, 12, 7} {
		for _, word := range strings.FieldsFunc(fields[i], func(r rune) bool { return strings.ContainsRune(",-/", r) }) {
			if n, err := strconv.Atoi(word); err == nil && n > most {
				return fmt.Errorf("%d is more than %d in field %q", n, most, fields[i])
			}
		}
	}
	return nil
}

// atOrAfter returns the first match that is not before t.
func (s schedule) atOrAfter(t time.Time) (time.Time, bool) {
	limit := t.Year() + horizon
	if whole := t.Truncate(time.Minute); whole.Before(t) {
		t = whole.Add(time.Minute)
	}
	for t.Year() <= limit {
		y, m, d := t.Date()
		switch wait := bits.TrailingZeros64(s.minute >> t.Minute()); {
		case !has(s.month, int(m)):
			t = minuteOf(y, m+1, 1, 0)
		case !s.matchesDay(t):
			t = minuteOf(y, m, d+1, 0)
		case !has(s.hour, t.Hour()) || t.Minute()+wait > 59:
			t = minuteOf(y, m, d, t.Hour()+1)
		default:
			return t.Add(time.Duration(wait) * time.Minute), true
		}
	}
	return time.Time{}, false
}

// atOrBefore returns the last match that is not after t.
func (s schedule) atOrBefore(t time.Time) (time.Time, bool) {
	limit := t.Year() - horizon
	t = t.Truncate(time.Minute)
	for t.Year() >= limit {
		y, m, d := t.Date()
		switch since := bits.LeadingZeros64(s.minute << (63 - t.Minute())); {
		case !has(s.month, int(m)):
			t = minuteOf(y, m, 1, 0).Add(-time.Minute)
		case !s.matchesDay(t):
			t = minuteOf(y, m, d, 0).Add(-time.Minute)
		case !has(s.hour, t.Hour()) || t.Minute()-since < 0:
			t = minuteOf(y, m, d, t.Hour()).Add(-time.Minute)
		default:
			return t.Add(-time.Duration(since) * time.Minute), true
		}
	}
	return time.Time{}, false
}

func (s schedule) matchesDay(t time.Time) bool {
	dom, dow := has(s.dom, t.Day()), has(s.dow, int(t.Weekday()))
	return dom && dow || s.eitherDay && (dom || dow)
}

func has(set uint64, n int) bool { return set&(1<<n) != 0 }

func minuteOf(y int, m time.Month, d, hour int) time.Time {
	return time.Date(y, m, d, hour, 0, 0, 0, time.UTC)
}
