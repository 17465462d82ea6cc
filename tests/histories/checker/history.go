package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// operation is one line of a history: what one client asked of one key, and what it was told.
type operation struct {
	Client int    `json:"client"`
	Key    string `json:"key"`
	Op     string `json:"op"`
	Args   struct {
		Value string `json:"value"`
		// The version that a conditional write expects; 0: no record.
		Expected uint64 `json:"expected"`
	} `json:"args"`
	// Absent where the outcome is unknown.
	Result *outcome `json:"result"`
	CallNs int64    `json:"call_ns"`
	// Absent where the outcome is unknown.
	RetNs *int64 `json:"ret_ns"`
	// Operations of one number are parts of one atomic batch.
	Batch *uint64 `json:"batch"`
}

type outcome struct {
	Kind    string `json:"kind"`
	Version uint64 `json:"version"`
	Value   string `json:"value"`
	// Of a failed condition: the version the key has; 0: no record.
	Actual uint64 `json:"actual"`
}

// What an operation is, and what it was told.
const (
	opGet      = "get"
	opPut      = "put"
	opDelete   = "delete"
	opPutIf    = "put_if"
	opDeleteIf = "delete_if"

	kindFound           = "found"
	kindAbsent          = "absent"
	kindWritten         = "written"
	kindConditionFailed = "condition_failed"
)

// Whether an operation gives its key a value, and which of its results make sense.
var (
	putsValue = map[string]bool{opPut: true, opPutIf: true}
	kindsOf   = map[string]map[string]bool{
		opGet:      {kindFound: true, kindAbsent: true},
		opPut:      {kindWritten: true},
		opDelete:   {kindWritten: true},
		opPutIf:    {kindWritten: true, kindConditionFailed: true},
		opDeleteIf: {kindWritten: true, kindConditionFailed: true},
	}
)

type history struct {
	byKey map[string][]*operation
	count int
	open  int
}

func readHistory(path string) (*history, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parseHistory(bufio.NewReaderSize(file, 1<<20))
}

// parseHistory reads lines of JSON. An open read says nothing and is left out.
func parseHistory(reader io.Reader) (*history, error) {
	decoder := json.NewDecoder(reader)
	decoder.DisallowUnknownFields()
	parsed := &history{byKey: map[string][]*operation{}}
	written := map[string]map[string]bool{}
	for number := 1; ; number++ {
		one := &operation{}
		if err := decoder.Decode(one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("operation %d: %w", number, err)
		}
		if err := one.check(); err != nil {
			return nil, fmt.Errorf("operation %d: %w", number, err)
		}
		if putsValue[one.Op] {
			// What was read then names who wrote it.
			if written[one.Key] == nil {
				written[one.Key] = map[string]bool{}
			}
			if written[one.Key][one.Args.Value] {
				return nil, fmt.Errorf("operation %d: value %q of key %s is written twice; values must differ", number, one.Args.Value, one.Key)
			}
			written[one.Key][one.Args.Value] = true
		}
		if one.Result == nil && one.Op == opGet {
			continue
		}
		if one.Result == nil {
			parsed.open++
		}
		parsed.count++
		parsed.byKey[one.Key] = append(parsed.byKey[one.Key], one)
	}
	if parsed.count == 0 {
		return nil, errors.New("the history holds no operation")
	}
	return parsed, nil
}

func (one *operation) check() error {
	kinds, known := kindsOf[one.Op]
	switch {
	case !known:
		return fmt.Errorf("op %q is not known", one.Op)
	case one.Key == "":
		return errors.New("the key is missing")
	case putsValue[one.Op] && one.Args.Value == "":
		return fmt.Errorf("%s has no value", one.Op)
	case (one.Result == nil) != (one.RetNs == nil):
		return errors.New("result and ret_ns are there together or not at all")
	case one.Result == nil:
		return nil
	case !kinds[one.Result.Kind]:
		return fmt.Errorf("%s cannot be answered by %q", one.Op, one.Result.Kind)
	case (one.Result.Kind == kindFound || one.Result.Kind == kindWritten) && one.Result.Version == 0:
		return fmt.Errorf("%s has no version", one.Result.Kind)
	case *one.RetNs < one.CallNs:
		return errors.New("ret_ns is before call_ns")
	}
	return nil
}
