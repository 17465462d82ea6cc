package main

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// register is one key: its record, and what is known of the version of its last write. Versions of a key only grow.
type register struct {
	present bool
	value   string
	// The last write's version if exact, else the least it can be: its writer was never told.
	version uint64
	exact   bool
}

// couldHave says whether the last write's version can be this.
func (r register) couldHave(version uint64) bool {
	return r.version == version || !r.exact && version > r.version
}

// learned is the register once its version is known.
func (r register) learned(version uint64) register {
	r.version, r.exact = version, true
	return r
}

// written is the register after a write, of this version where its writer was told one.
func (r register) written(one *operation, version uint64) register {
	next := register{present: putsValue[one.Op], version: r.version + 1}
	if next.present {
		next.value = one.Args.Value
	}
	if version != 0 {
		next.version, next.exact = version, true
	}
	return next
}

// holds says whether the condition of a conditional write can hold.
func (r register) holds(expected uint64) bool {
	if expected == 0 {
		return !r.present
	}
	return r.present && r.couldHave(expected)
}

func (r register) step(one *operation, told *outcome) (bool, register) {
	conditional := one.Op == opPutIf || one.Op == opDeleteIf
	if told == nil {
		// Where the condition cannot hold, nothing happened. Where it can, that it did not is an order too: at the end.
		if conditional && !r.holds(one.Args.Expected) {
			return true, r
		}
		if conditional && one.Args.Expected != 0 {
			r = r.learned(one.Args.Expected)
		}
		return true, r.written(one, 0)
	}
	switch told.Kind {
	case kindFound:
		return r.present && r.value == told.Value && r.couldHave(told.Version), r.learned(told.Version)
	case kindAbsent:
		return !r.present, r
	case kindConditionFailed:
		if told.Actual == 0 {
			return !r.present && one.Args.Expected != 0, r
		}
		return r.present && told.Actual != one.Args.Expected && r.couldHave(told.Actual), r.learned(told.Actual)
	}
	if conditional && !r.holds(one.Args.Expected) {
		return false, r
	}
	if conditional && one.Args.Expected != 0 {
		r = r.learned(one.Args.Expected)
	}
	return told.Version > r.version, r.written(one, told.Version)
}

func registerModel() porcupine.Model {
	return porcupine.Model{
		Init: func() interface{} { return register{exact: true} },
		Step: func(state, input, output interface{}) (bool, interface{}) {
			told, _ := output.(*outcome)
			return state.(register).step(input.(*operation), told)
		},
		DescribeOperation: func(input, output interface{}) string {
			told, _ := output.(*outcome)
			return describe(input.(*operation), told)
		},
		DescribeState: func(state interface{}) string {
			r := state.(register)
			version := fmt.Sprintf("version %d", r.version)
			if !r.exact {
				version = "at least " + version
			}
			if !r.present {
				return "no record, " + version
			}
			return fmt.Sprintf("%s, %s", r.value, version)
		},
	}
}

func describe(one *operation, told *outcome) string {
	asked := one.Op
	if putsValue[one.Op] {
		asked += " " + one.Args.Value
	}
	if one.Op == opPutIf || one.Op == opDeleteIf {
		asked += fmt.Sprintf(" at version %d", one.Args.Expected)
	}
	if told == nil {
		return asked + ": unknown"
	}
	switch told.Kind {
	case kindFound:
		return fmt.Sprintf("%s: %s, version %d", asked, told.Value, told.Version)
	case kindAbsent:
		return asked + ": no record"
	case kindConditionFailed:
		return fmt.Sprintf("%s: failed, version %d", asked, told.Actual)
	}
	return fmt.Sprintf("%s: version %d", asked, told.Version)
}
