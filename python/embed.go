// Package python holds the Python package, which `brine run` gives to the programs that it starts.
package python

import "embed"

// Files has the package brine, without its tests and without the program that a wheel brings along, and in site the module
// that puts Brine's pool in the place of multiprocessing's.
//
//go:embed brine/*.py brine/py.typed site/sitecustomize.py
var Files embed.FS
