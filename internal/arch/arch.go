// Package arch has tests of the shape of this repository, and nothing else: which package may import which, what a
// program that uses Brine links, that every exported name is documented, and how long a file may be. The rules are in
// tables at the head of each test file; when one of them stands in your way, change the table and say why in the commit.
package arch
