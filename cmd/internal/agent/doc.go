// Package agent keeps secrets in files for programs that have no client: it
// writes each version to its file, makes the program use it by a signal or a
// command, and reports a version as applied only when both succeeded.
//
// A file is replaced in one step, so that a program never reads half a value, and the one
// before stays when a new one cannot be written. After a crash it is known
// whether the program has been told: a marker beside the file is taken away
// before the file changes and comes back when the program was told: no
// program is told twice without need, and none is forgotten.
//
// It fills in no templates, joins no secrets in one file, and starts or
// supervises no program.
package agent
