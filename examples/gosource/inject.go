package main

import "os"

// injections are the ways in which a worker can be made to die.
var injections = map[string]func(){
	"exit":     exit,
	"loop":     loop,
	"oom":      takeAllMemory,
	"overflow": overflow,
	"panic":    misjudge,
}

func misjudge() { panic("this can't happen") }

func exit() { os.Exit(3) }

func loop() {
	for n := 1; n != 0; {
		n += 2
	}
}

func overflow() { _ = descend(0) }

func descend(depth int) int {
	if depth < 0 {
		return 0
	}
	return descend(depth+1) + 1
}

func takeAllMemory() {
	type block struct {
		next *block
		_    [1 << 20]byte
	}
	for all := new(block); ; {
		all = &block{next: all}
	}
}
