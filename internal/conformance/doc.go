// Package conformance has no code but tests: what docs/PROTOCOL.md asks of a worker, case by case, of Go workers and of
// Python workers alike. They talk bytes to one worker, as a pool does, and know no engine. The table in cases_test.go has
// the cases, and where the languages differ.
//
// Without Python its half fails, unless BRINE_WITHOUT_PYTHON=1 says that it may be left out. PYTHON names the interpreter.
package conformance
