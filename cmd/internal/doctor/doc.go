// Package doctor finds what is wrong with a system that runs. [Read] reads the stores,
// the bus and the configuration, and changes nothing; [Diagnose] decides by what was
// read, and is pure; [Apply] applies the remedies that are safe, and records each.
//
// Every [Finding] has a code that does not change, what it is about, the evidence, and
// a command. What cannot be read is a finding.
package doctor
