package secret_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tradepulse/rotator/pkg/secret"
)

// current returns the metadata of a secret with one current version.
func current(id secret.VersionID, created time.Time) secret.Metadata {
	return secret.Metadata{Versions: []secret.Version{{ID: id, Stage: secret.StageCurrent, CreatedAt: created}}}
}

func TestSpecValidate(t *testing.T) {
	valid := secret.Spec{ID: "a/b", Store: "main"}
	for name, tt := range map[string]struct {
		change func(*secret.Spec)
		want   []string
	}{
		"an id and a store are enough": {func(*secret.Spec) {}, nil},
		"everything set": {func(s *secret.Spec) {
			s.Path, s.TTL, s.RefreshMargin, s.Rollout, s.Retire = "x", time.Hour, time.Minute, secret.RolloutPrepare, secret.RetireKeep
			s.Windows, s.Policy = []secret.Window{window(t, "0 3 * * *", "", time.Hour)}, &secret.Policy{Length: 64}
		}, nil},
		"no margin and any TTL":       {func(s *secret.Spec) { s.TTL, s.RefreshMargin = time.Second, -1 }, nil},
		"no id":                       {func(s *secret.Spec) { s.ID = "" }, []string{"invalid secret id"}},
		"no store":                    {func(s *secret.Spec) { s.Store = "" }, []string{"no store"}},
		"a path that no store takes":  {func(s *secret.Spec) { s.Path = "a\tb" }, []string{"path: "}},
		"a negative TTL":              {func(s *secret.Spec) { s.TTL = -1 }, []string{"TTL is negative"}},
		"a margin as long as the TTL": {func(s *secret.Spec) { s.TTL, s.RefreshMargin = time.Hour, time.Hour }, []string{"margin 1h0m0s is not shorter"}},
		"a fence of more than a quarter of the TTL": {func(s *secret.Spec) { s.TTL, s.Fence = time.Hour, 16*time.Minute }, []string{"fence 16m0s is longer than a quarter of the TTL 1h0m0s: set it to 15m0s or less"}},
		"a negative fence":                          {func(s *secret.Spec) { s.Fence = -1 }, []string{"fence is negative"}},
		"the default margin and a short TTL":        {func(s *secret.Spec) { s.TTL = time.Minute }, []string{"margin 5m0s is not shorter"}},
		"a policy that cannot be satisfied":         {func(s *secret.Spec) { s.Policy = &secret.Policy{Length: 1} }, []string{"invalid policy"}},
		"a window that is none":                     {func(s *secret.Spec) { s.Windows = make([]secret.Window, 1) }, []string{"window is empty"}},
		"an unknown strategy":                       {func(s *secret.Spec) { s.Strategy = "hope" }, []string{`strategy "hope"`}},
		"the old name of a strategy":                {func(s *secret.Spec) { s.Strategy = "managed" }, []string{`strategy "managed" is called external now`}},
		"an external secret to be made":             {func(s *secret.Spec) { s.Strategy, s.Create = secret.StrategyExternal, true }, []string{"leave out create"}},
		"an unknown rollout":                        {func(s *secret.Spec) { s.Rollout = "later" }, []string{`rollout "later"`}},
		"an unknown retire mode":                    {func(s *secret.Spec) { s.Retire = "burn" }, []string{`retire "burn"`}},
		"every problem at once":                     {func(s *secret.Spec) { *s = secret.Spec{TTL: -1, Rollout: "x", Retire: "y"} }, []string{"secret id", "no store", "TTL", "rollout", "retire"}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := valid
			tt.change(&spec)
			err := spec.Validate()
			if (err == nil) != (tt.want == nil) || err != nil && !errors.Is(err, secret.ErrInvalidSpec) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
		})
	}
}

func TestSpecDefaults(t *testing.T) {
	var zero secret.Spec
	if zero.Margin() != secret.DefaultRefreshMargin || zero.GracePeriod() != secret.DefaultGrace || zero.RolloutDeadline() != secret.DefaultRolloutDeadline ||
		zero.RetireMode() != secret.RetireDelete || zero.ValuePolicy().Hash() != secret.DefaultPolicy().Hash() {
		t.Errorf("zero does not mean default: %+v", zero)
	}
	none := secret.Spec{RefreshMargin: -1, Grace: -1, Deadline: -1}
	if none.Margin() != 0 || none.GracePeriod() != 0 || none.RolloutDeadline() != 0 {
		t.Errorf("negative does not mean none: %+v", none)
	}
	set := secret.Spec{ID: "id", Path: "path", RefreshMargin: 1, Grace: 2, Deadline: 3, Retire: secret.RetireKeep}
	if set.Margin() != 1 || set.GracePeriod() != 2 || set.RolloutDeadline() != 3 || set.RetireMode() != secret.RetireKeep || set.StorePath() != "path" {
		t.Errorf("what is set is not in force: %+v", set)
	}
	if got := (secret.Spec{ID: "id"}).StorePath(); got != "id" {
		t.Errorf("the path is %s", got)
	}
}

func TestFencePeriod(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ ttl, fence, want time.Duration }{
		"the default":               {0, 0, secret.DefaultFence},
		"the default of a long TTL": {240 * time.Hour, 0, secret.DefaultFence},
		"a quarter of a short TTL":  {time.Hour, 0, 15 * time.Minute},
		"what is set":               {time.Hour, time.Minute, time.Minute},
		"what is set without a TTL": {0, 9 * time.Hour, 9 * time.Hour},
	} {
		s := secret.Spec{TTL: tt.ttl, Fence: tt.fence}
		if got := s.FencePeriod(); got != tt.want {
			t.Errorf("%s: got %s, want %s", name, got, tt.want)
		}
	}
}

func TestNotAfter(t *testing.T) {
	created := time.Unix(1e9, 0)
	recorded := created.Add(48 * time.Hour)
	for name, tt := range map[string]struct {
		spec secret.Spec
		meta secret.Metadata
		v    secret.Version
		want time.Time
		life time.Duration
	}{
		"the TTL of the spec ends first":    {secret.Spec{TTL: time.Hour}, secret.Metadata{TTL: time.Minute}, secret.Version{CreatedAt: created, NotAfter: recorded}, created.Add(time.Hour), time.Hour},
		"the TTL of the store ends first":   {secret.Spec{}, secret.Metadata{TTL: time.Minute}, secret.Version{CreatedAt: created, NotAfter: recorded}, created.Add(time.Minute), time.Minute},
		"what the store records ends first": {secret.Spec{TTL: 72 * time.Hour}, secret.Metadata{}, secret.Version{CreatedAt: created, NotAfter: recorded}, recorded, 72 * time.Hour},
		"only the store records an end":     {secret.Spec{}, secret.Metadata{}, secret.Version{CreatedAt: created, NotAfter: recorded}, recorded, 0},
		"then the TTL of the store":         {secret.Spec{}, secret.Metadata{TTL: time.Minute}, secret.Version{CreatedAt: created}, created.Add(time.Minute), time.Minute},
		"else there is no end":              {secret.Spec{}, secret.Metadata{}, secret.Version{CreatedAt: created}, time.Time{}, 0},
	} {
		if got := tt.spec.NotAfter(tt.meta, tt.v); !got.Equal(tt.want) || tt.spec.Lifetime(tt.meta) != tt.life {
			t.Errorf("%s: %s, lifetime %s", name, got, tt.spec.Lifetime(tt.meta))
		}
	}
}

func TestRotateAt(t *testing.T) {
	created := date(t, "2026-01-01T00:00:00Z")
	day, noJitter := 24*time.Hour, time.Duration(-1)
	nightly := []secret.Window{window(t, "0 3 * * *", "", time.Hour)}
	yearly := []secret.Window{window(t, "0 3 1 7 *", "", time.Hour)}
	for name, tt := range map[string]struct {
		spec     secret.Spec
		meta     secret.Metadata
		from, to string
	}{
		"a margin before the end":                   {secret.Spec{TTL: day, MaxJitter: noJitter}, current("1", created), "2026-01-01T23:55:00Z", "2026-01-01T23:55:00Z"},
		"a margin of its own":                       {secret.Spec{TTL: day, MaxJitter: noJitter, RefreshMargin: time.Hour}, current("1", created), "2026-01-01T23:00:00Z", "2026-01-01T23:00:00Z"},
		"no margin":                                 {secret.Spec{TTL: day, MaxJitter: noJitter, RefreshMargin: -1}, current("1", created), "2026-01-02T00:00:00Z", "2026-01-02T00:00:00Z"},
		"a tenth of the time as jitter":             {secret.Spec{TTL: 10 * day, RefreshMargin: -1}, current("1", created), "2026-01-10T00:00:00Z", "2026-01-11T00:00:00Z"},
		"a jitter of its own":                       {secret.Spec{TTL: 10 * day, RefreshMargin: -1, MaxJitter: time.Minute}, current("1", created), "2026-01-10T23:59:00Z", "2026-01-11T00:00:00Z"},
		"a jitter that is longer than the life":     {secret.Spec{TTL: day, RefreshMargin: -1, MaxJitter: 9 * day}, current("1", created), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		"a margin that is longer than the life":     {secret.Spec{TTL: day, RefreshMargin: 9 * day}, current("1", created), "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"},
		"the last window before":                    {secret.Spec{TTL: day, Windows: nightly}, current("1", created), "2026-01-01T03:00:00Z", "2026-01-01T03:59:59Z"},
		"no window in time is as if there were one": {secret.Spec{TTL: day, MaxJitter: noJitter, Windows: yearly}, current("1", created), "2026-01-01T23:55:00Z", "2026-01-01T23:55:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			tt.spec.ID = "a"
			got, err := tt.spec.RotateAt(tt.meta)
			if got.Before(date(t, tt.from)) || got.After(date(t, tt.to)) {
				t.Errorf("%s is not from %s to %s", got, tt.from, tt.to)
			}
			if wantErr := name == "no window in time is as if there were one"; errors.Is(err, secret.ErrNoWindow) != wantErr {
				t.Error(err)
			}
		})
	}
	for name, meta := range map[string]secret.Metadata{"no version": {TTL: day}, "no end": current("1", created)} {
		if at, err := (secret.Spec{ID: "a"}).RotateAt(meta); err != nil || !at.IsZero() {
			t.Errorf("%s: %s, %v, want never", name, at, err)
		}
	}
}

func TestRotateAtIsBetweenCreationAndMargin(t *testing.T) {
	pool := windowPool(t)
	const most = 3 * 365 * 24 * time.Hour
	lengths := rapid.Map(rapid.Int64Range(-int64(time.Hour), int64(most)), func(n int64) time.Duration { return time.Duration(n) })
	missed := 0
	rapid.Check(t, func(t *rapid.T) {
		spec := secret.Spec{ID: ids().Draw(t, "id"), TTL: max(1, lengths.Draw(t, "ttl")), RefreshMargin: lengths.Draw(t, "margin"), MaxJitter: lengths.Draw(t, "jitter")}
		spec.Windows = rapid.SliceOfN(rapid.SampledFrom(pool), 0, 3).Draw(t, "windows")
		created := moments().Draw(t, "created")
		meta := current(secret.VersionID(rapid.StringMatching(`[a-z0-9]{1,8}`).Draw(t, "version")), created)
		at, err := spec.RotateAt(meta)
		latest := created.Add(spec.TTL - spec.Margin())
		if latest.Before(created) {
			latest = created
		}
		if at.Before(created) || at.After(latest) {
			t.Fatalf("%s is not from %s to %s", at, created, latest)
		}
		if again, _ := spec.RotateAt(meta); !again.Equal(at) {
			t.Fatalf("%s and then %s", at, again)
		}
		if errors.Is(err, secret.ErrNoWindow) {
			missed++
		} else if open, _ := secret.NextOpen(spec.Windows, at); err != nil || len(spec.Windows) > 0 && !open.Equal(at) {
			t.Fatalf("%s is in no window, the next opens at %s, %v", at, open, err)
		}
	})
	if missed == 0 {
		t.Error("no case was without a window in time")
	}
}

func TestRotateAtSpreadsSecrets(t *testing.T) {
	const n = 1000
	created := time.Unix(1e9, 0)
	tenths := [10]int{}
	for i := range n {
		spec := secret.Spec{ID: secret.ID("secret" + string(rune('A'+i%26)) + strings.Repeat("x", i/26)), TTL: 10 * time.Hour, RefreshMargin: -1}
		at, err := spec.RotateAt(current("1", created))
		if err != nil {
			t.Fatal(err)
		}
		tenths[min(9, int(at.Sub(created.Add(9*time.Hour))/(6*time.Minute)))]++
	}
	for i, count := range tenths {
		if count < n/20 || count > n/5 {
			t.Errorf("%d of %d are in tenth %d", count, n, i)
		}
	}
}

func TestDueAt(t *testing.T) {
	created := date(t, "2026-01-01T00:00:00Z")
	spec := secret.Spec{ID: "a", TTL: 72 * time.Hour, RefreshMargin: time.Hour, MaxJitter: -1}
	nightly := spec
	nightly.Windows = []secret.Window{window(t, "0 3 * * *", "", time.Hour)}
	yearly := spec
	yearly.Windows = []secret.Window{window(t, "0 3 1 7 *", "", time.Hour)}
	for name, tt := range map[string]struct {
		spec      secret.Spec
		now, want string
	}{
		"before it is due":                         {spec, "2026-01-02T00:00:00Z", "2026-01-03T23:00:00Z"},
		"overdue without windows":                  {spec, "2026-01-09T00:00:00Z", "2026-01-03T23:00:00Z"},
		"before the window":                        {nightly, "2026-01-01T12:00:00Z", "2026-01-03T03:59:00Z"},
		"missed, and the version ends before next": {nightly, "2026-01-03T12:00:00Z", "2026-01-03T03:59:00Z"},
		"no window in the life of the version":     {yearly, "2026-01-02T00:00:00Z", "2026-01-03T23:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tt.spec.DueAt(current("1", created), date(t, tt.now))
			if d := got.Sub(date(t, tt.want)); d > time.Minute || d < -time.Hour {
				t.Errorf("due at %s, want about %s, %v", got, tt.want, err)
			}
			if wantErr := name == "no window in the life of the version"; errors.Is(err, secret.ErrNoWindow) != wantErr {
				t.Error(err)
			}
		})
	}
}

func TestDueAtWaitsForTheNextOpening(t *testing.T) {
	created := date(t, "2026-01-01T00:00:00Z")
	spec := secret.Spec{ID: "a", TTL: 72 * time.Hour, RefreshMargin: 36 * time.Hour, MaxJitter: -1, Windows: []secret.Window{window(t, "0 3 * * *", "", time.Hour)}}
	for now, want := range map[string]string{
		"2026-01-02T12:00:00Z": "2026-01-03T03:00:00Z", // missed: it was due on the 2nd
		"2026-01-03T03:30:00Z": "2026-01-03T03:30:00Z", // open now
	} {
		if got, err := spec.DueAt(current("1", created), date(t, now)); err != nil || !got.Equal(date(t, want)) {
			t.Errorf("at %s it is due at %s, want %s, %v", now, got, want, err)
		}
	}
	if at, err := spec.DueAt(secret.Metadata{}, created); err != nil || !at.IsZero() {
		t.Errorf("without a version it is due at %s, %v", at, err)
	}
}

func TestSpreadIsStableAndInRange(t *testing.T) {
	if secret.Spread("a", "1") != secret.Spread("a", "1") || secret.Spread("a", "1") == secret.Spread("a", "2") || secret.Spread("a", "1") == secret.Spread("b", "1") {
		t.Error("it does not follow its arguments")
	}
	rapid.Check(t, func(t *rapid.T) {
		if f := secret.Spread(ids().Draw(t, "id"), rapid.String().Draw(t, "salt")); f < 0 || f >= 1 {
			t.Error(f)
		}
	})
}
