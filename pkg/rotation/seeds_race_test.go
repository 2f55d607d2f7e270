//go:build race

package rotation

// defaultSeeds is how many seeds TestSimulation runs. Under the race detector each
// takes five times as long; the run without it has the others.
const defaultSeeds = 250
