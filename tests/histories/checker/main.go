// Command checker judges whether a history of clients is linearizable, key by key.
//
//	checker [-timeout 60s] [-html violation.html] history.jsonl
//
// Exit status: 0 linearizable, 1 not (the key is named, and -html gets a picture of it), 2 the history cannot be read, is
// empty, or was not judged in time.
package main

import (
	"flag"
	"fmt"
	"os"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	exitLinearizable = 0
	exitViolation    = 1
	exitUnjudged     = 2
)

func main() {
	timeout := flag.Duration("timeout", time.Minute, "how long all keys together may take")
	html := flag.String("html", "violation.html", "where the picture of a violation goes")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: checker [-timeout 60s] [-html violation.html] history.jsonl")
		os.Exit(exitUnjudged)
	}
	os.Exit(judge(flag.Arg(0), *timeout, *html))
}

func judge(path string, timeout time.Duration, html string) int {
	history, err := readHistory(path)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", path, err)
		return exitUnjudged
	}
	keys := make([]string, 0, len(history.byKey))
	for key := range history.byKey {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	settled := settle(history)
	model := registerModel()
	deadline := time.Now().Add(timeout)
	for _, key := range keys {
		left := time.Until(deadline)
		if left <= 0 {
			fmt.Fprintf(os.Stderr, "%s: not judged within %s: gave up before key %s\n", path, timeout, key)
			return exitUnjudged
		}
		operations := settled.operations[key]
		switch porcupine.CheckOperationsTimeout(model, operations, left) {
		case porcupine.Illegal:
			fmt.Printf("not linearizable: key %s, %d operations\n", key, len(operations))
			draw(model, operations, html)
			return exitViolation
		case porcupine.Unknown:
			fmt.Fprintf(os.Stderr, "%s: not judged within %s: key %s with %d operations\n", path, timeout, key, len(operations))
			return exitUnjudged
		}
	}
	fmt.Printf("linearizable: %d operations on %d keys; of %d without an answer %d were seen to take effect and %d were never seen\n",
		history.count, len(keys), history.open, settled.seen, settled.unseen)
	return exitLinearizable
}

// draw writes porcupine's picture of one key. Its partial linearizations show how far an order was found.
func draw(model porcupine.Model, operations []porcupine.Operation, html string) {
	const patience = 30 * time.Second
	_, info := porcupine.CheckOperationsVerbose(model, operations, patience)
	if err := porcupine.VisualizePath(model, info, html); err != nil {
		fmt.Fprintf(os.Stderr, "the picture was not written: %v\n", err)
		return
	}
	fmt.Printf("drawn in %s\n", html)
}
