// Package evidence writes what an auditor samples, and checks such a directory with
// nothing but its files.
//
// Everything is in evidence.jsonl: the managed secrets, the records of the stream as
// they were signed when they were written, and what failed by the log. Each line is
// signed and names the line before it. The tables follow from these lines alone:
// writing and verifying derive them with the same code. Both keep one line in memory,
// and a few words for each secret.
package evidence
