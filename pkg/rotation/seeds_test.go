//go:build !race

package rotation

// defaultSeeds is how many seeds TestSimulation runs.
const defaultSeeds = 4_000
