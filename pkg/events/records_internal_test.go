package events

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tradepulse/rotator/pkg/secret"
)

// recordVector is one record as it is on the bus. Clients in other languages write
// the same bytes.
type recordVector struct {
	Name   string `json:"name"`
	Record string `json:"record"`
}

// TestRecordVectors writes the records that clients/python is held to.
func TestRecordVectors(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 2, 0, 0, 120_000_000, time.UTC)
	presence := Presence{Service: "api", Instance: "pod-7", Incarnation: "k3jq", StartedAt: at, At: at.Add(time.Nanosecond), Lease: 30}
	ended, host, fleet := presence, presence, presence
	ended.Ended, fleet.Fleet = true, "eu-1"
	host.Process = &Process{BootID: "5f6b1e2a-0000-4000-8000-000000000000", PID: 4711, StartTicks: 1 << 63}
	use := Use{
		Running: Running{SecretID: "prod/db.password", VersionID: "v2", Status: StatusApplied, At: at},
		Service: "api", Instance: "pod-7", Incarnation: "k3jq", Accepts: []secret.VersionID{}, PastFence: PastFenceServe, Fence: 3600, Joined: true,
	}
	first, accepting, anything, failed, staged := use, use, use, use, use
	first.VersionID, first.Status = "", ""
	accepting.Accepts, accepting.PastFence, accepting.Joined = []secret.VersionID{"v1", "v3"}, PastFenceRefuse, false
	anything.Accepts = nil
	failed.Status, failed.Wanted, failed.Reason = StatusFailed, "v3", "the hook failed: <b>\"é\\ & \u2028\u2029\x01\x7f\t\b"
	staged.Status, staged.Wanted = StatusStaged, "a&b<c>"
	tripped := use
	tripped.RetiredUses = []RetiredUse{{VersionID: "v1", Client: "2001:db8::7", Uses: 12, Last: at}, {VersionID: "v1", Client: ClientOthers, Uses: 1, Last: at.Add(time.Second)}}

	var out []recordVector
	for _, r := range []struct {
		name   string
		record any
	}{
		{"presence", presence}, {"presence of a process of a host", host}, {"presence in a fleet", fleet}, {"presence that ended", ended},
		{"use", use}, {"use before the first read", first}, {"use that accepts other versions", accepting}, {"use that accepts any version", anything},
		{"use that failed", failed}, {"use with a staged version", staged},
		{"use that refused a retired version", tripped},
	} {
		body, err := json.Marshal(r.record)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, recordVector{Name: r.name, Record: string(body)})
	}
	text, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "records.json", append(text, '\n'))
}
