//go:build brine_noledger

package ledger

// On says that there is no account.
const On = false
