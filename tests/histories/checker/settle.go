package main

import (
	"math"

	"github.com/anishathalye/porcupine"
)

// settled is a history whose open operations were narrowed down as far as the history itself says, so that the search
// stays short: an open operation may stand anywhere after its call, and each one doubles what must be tried.
type settled struct {
	operations map[string][]porcupine.Operation
	seen       int
	unseen     int
}

// effect is what reads tell of an open write: its version, and by when it had taken effect.
type effect struct {
	version uint64
	retNs   int64
}

// settle decides about open operations. Nothing it does makes a history linearizable or not:
//
//   - Values differ, so a value that was read names its write. That write took effect before the first read that saw it
//     ended, with the version that was read; so did the other parts of its batch, at the same moment.
//   - An open put that nobody saw, neither its value nor its version in a failed condition, may as well never have been.
//   - All others stay open to the end.
func settle(history *history) settled {
	alone, batches := effects(history)
	result := settled{operations: map[string][]porcupine.Operation{}}
	for key, operations := range history.byKey {
		unexplained := hasUnexplainedVersion(operations)
		for _, one := range operations {
			step := porcupine.Operation{ClientId: one.Client, Input: one, Call: one.CallNs, Output: one.Result, Return: math.MaxInt64}
			seen, ok := alone[one]
			if one.Batch != nil {
				seen, ok = batches[*one.Batch]
			}
			switch {
			case one.Result != nil:
				step.Return = *one.RetNs
			case ok && seen.retNs >= one.CallNs:
				result.seen++
				step.Output = &outcome{Kind: kindWritten, Version: seen.version}
				step.Return = seen.retNs
			case !ok && putsValue[one.Op] && !unexplained:
				result.unseen++
				continue
			}
			result.operations[key] = append(result.operations[key], step)
		}
	}
	return result
}

// effects finds what the first read of each open write saw, by the write and by its batch.
func effects(history *history) (map[*operation]effect, map[uint64]effect) {
	alone := map[*operation]effect{}
	batches := map[uint64]effect{}
	for _, operations := range history.byKey {
		reads := firstReads(operations)
		for _, one := range operations {
			seen, ok := reads[one.Args.Value]
			if one.Result != nil || !putsValue[one.Op] || !ok {
				continue
			}
			alone[one] = seen
			if one.Batch == nil {
				continue
			}
			if known, ok := batches[*one.Batch]; !ok || seen.retNs < known.retNs {
				batches[*one.Batch] = seen
			}
		}
	}
	return alone, batches
}

// firstReads gives, for each value that was read, the read that ended first.
func firstReads(operations []*operation) map[string]effect {
	reads := map[string]effect{}
	for _, one := range operations {
		if one.Result == nil || one.Result.Kind != kindFound {
			continue
		}
		if known, ok := reads[one.Result.Value]; !ok || *one.RetNs < known.retNs {
			reads[one.Result.Value] = effect{version: one.Result.Version, retNs: *one.RetNs}
		}
	}
	return reads
}

// hasUnexplainedVersion says whether a condition names or met a version that neither an acknowledged write nor a read
// tells of: then an open put may be where it came from.
func hasUnexplainedVersion(operations []*operation) bool {
	explained := map[uint64]bool{0: true}
	for _, one := range operations {
		if one.Result != nil {
			explained[one.Result.Version] = true
		}
	}
	for _, one := range operations {
		if !explained[one.Args.Expected] || one.Result != nil && !explained[one.Result.Actual] {
			return true
		}
	}
	return false
}
