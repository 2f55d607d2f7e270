// What the product is measured against. A module of its own, so that nothing
// of it enters the product's graph.
module github.com/tradepulse/rotator/tools/bench

go 1.26.0

replace github.com/tradepulse/rotator => ../..

require (
	github.com/sethvargo/go-password v0.3.1
	github.com/tradepulse/rotator v0.0.0-00010101000000-000000000000
)

require github.com/netresearch/go-cron v0.9.1 // indirect
