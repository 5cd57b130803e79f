//go:build !brine_noledger

package ledger

// On says that there is an account. Only a program that measures what the account costs is built without: see bench/ledger.
const On = true
