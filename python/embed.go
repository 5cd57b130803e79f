// Package python holds the Python package, which `brine run` gives to the programs that it starts, and the ear that
// `brine trace` gives to them.
package python

import "embed"

// Files has the package brine, without its tests and without the program that a wheel brings along, and in site the module
// that puts Brine's pool in the place of multiprocessing's; and in trace the modules that listen to those.
//
//go:embed brine/*.py brine/py.typed site/*.py trace/*.py
var Files embed.FS
