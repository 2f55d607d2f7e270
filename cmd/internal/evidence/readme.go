package evidence

import (
	"fmt"
	"time"
)

// readme is README.txt: what an auditor has to know about the directory.
func readme(m Manifest) string {
	return fmt.Sprintf(`EVIDENCE OF SECRET ROTATION

Period      %s to %s (the end is not included)
Prepared    %s by %s, with rotator %s
Population  %d secrets, in population.csv
Rotations   %d retirements of old values in the period, in rotations.csv
Exceptions  %d, in exceptions.csv
Sample      %d rotations, in sample.csv, drawn with the seed %s

WHAT IS IN THE FILES

population.csv  Every secret under management when this was prepared: who answers
                for it (owner, contact), what it is for (purpose), which services
                use it, how long a value may live, and what a value has to look
                like (policy; the rules themselves are in evidence.jsonl).
rotations.csv   One row for each decision to retire old values. The service that
                rotates signs and stores such a decision, with all it rests on,
                before an old value is touched. "basis" is "proof" when every
                process that used the old value was known to have moved on.
exceptions.csv  Everything that needs a reason: retirements without proof (forced,
                emergency, confirmed by a person), what a proof could not know
                (doubt), values that a person read, wrote, brought in or rolled
                back, what a person deleted, forgot, paused or confirmed, rollouts
                that stalled, rotations that failed, and records that are not
                valid (not_valid). "by", "reason" and "ticket" are what the person
                gave at the time.
coverage.csv    For each secret: whether it has an owner, a purpose and subscribers,
                how many running instances report that they use it, and how often
                it was rotated. A secret without subscribers or instances has no
                proof of use. "managed: no" is a secret that has left the population.
sample.csv      A random sample of rotations.csv. Anyone can draw it again: for each
                rotation take the SHA-256 of the seed, a slash and the column
                "record"; the smallest hashes are the sample, in their order.
evidence.jsonl  What all tables follow from: one signed line for each secret, record
                and failure. Records are as they were signed when they were made.
manifest.json   The period, the seed, the SHA-256 of every file, and the last record
                of each chain, signed.

HOW TO TEST IT

    rotator evidence verify DIR

needs this directory only. It checks every signature, that no line is missing,
added, changed or moved, that each record names the one before it about the same
secret, that each decision follows from what it rests on by the same rules, and
that all tables follow from the lines. It names each record that fails.

A directory holds the public keys that signed it. To know that it was not prepared
anew by a stranger, get the key of the operators from them in another way, and add
--key FILE.

WHAT THIS DOES NOT SHOW

The records are those that the stream still held. How long it keeps them is the
setting nats.record_retention. A removal of the newest records before this was
prepared shows only against an earlier export. Whether other systems still accept
a retired value was not tested. Values are in none of the files.
`, m.From.Format(time.RFC3339), m.To.Format(time.RFC3339), m.MadeAt.Format(time.RFC3339), m.MadeBy, m.Program,
		m.Counts.Secrets, m.Counts.Rotations, m.Counts.Exceptions, min(m.SampleSize, m.Counts.Rotations), m.Seed)
}
