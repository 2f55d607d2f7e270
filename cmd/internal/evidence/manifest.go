package evidence

import "time"

// The files of a directory.
const (
	fileManifest   = "manifest.json"
	fileLines      = "evidence.jsonl"
	fileReadme     = "README.txt"
	filePopulation = "population.csv"
	fileRotations  = "rotations.csv"
	fileExceptions = "exceptions.csv"
	fileCoverage   = "coverage.csv"
	fileSample     = "sample.csv"
)

// tables are the files that follow from the lines.
var tables = []string{filePopulation, fileRotations, fileExceptions, fileCoverage, fileSample}

// Format is the [Manifest.Format] that this program writes and verifies.
const Format = 1

// Manifest says what a directory holds. It is sealed by the key that sealed the lines.
type Manifest struct {
	Format int `json:"format_version"`
	// Program is the version of rotator, and MadeBy the person who made the evidence.
	Program string    `json:"program"`
	MadeBy  string    `json:"made_by"`
	MadeAt  time.Time `json:"made_at"`
	// From is the first moment that is included, and To the first one that is not, by
	// the clock of the server.
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	// Seed and SampleSize make the sample, see docs/evidence.md.
	Seed       string `json:"seed"`
	SampleSize int    `json:"sample_size"`
	Counts     Counts `json:"counts"`
	// Head is the digest of the last line, and HeadIs says what it holds.
	Head   string `json:"head"`
	HeadIs string `json:"head_is"`
	// Chains are the subjects of records, in the order in which they were first met.
	Chains []Chain `json:"chains"`
	// Keys are those that signed records.
	Keys []Key `json:"keys"`
	// Files are all files but this one.
	Files []File `json:"files"`
}

// Counts says how much there is.
type Counts struct {
	Lines      int `json:"lines"`
	Secrets    int `json:"secrets"`
	Records    int `json:"records"`
	Rotations  int `json:"rotations"`
	Exceptions int `json:"exceptions"`
}

// Chain is the records on one subject.
type Chain struct {
	Subject string `json:"subject"`
	Records int    `json:"records"`
	First   uint64 `json:"first_sequence"`
	Last    uint64 `json:"last_sequence"`
	// SHA256 is the digest of the last record: the head of the chain.
	SHA256 string `json:"sha256"`
}

// Key is a key that signed records.
type Key struct {
	ID      string `json:"key_id"`
	Public  string `json:"public_key"`
	Trusted bool   `json:"trusted"`
}

// File is one file of the directory.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}
