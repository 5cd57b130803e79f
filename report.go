package brine

import (
	"io"
	"math"
	"os"

	"github.com/brinepool/brine/internal/bill"
)

// Report writes the account of what crossed as text: who encoded and decoded how much and how long it took, how the
// workers' time went, where the bytes come from, and what to do about it. It may be called at any time, also after
// Close, and so may the other reports. What happened when is known of the last 8192 chunks.
func (p *pool) Report(w io.Writer) error { return bill.WriteText(w, p.document(0)) }

// ReportJSON writes the account as JSON: what Report says, each chunk and what became of it, and the workers' starts
// and ends. The command `brine bill` reads it, and makes of it what the other reports are. Times in it are nanoseconds.
func (p *pool) ReportJSON(w io.Writer) error { return bill.WriteJSON(w, p.document(math.MaxInt)) }

// ReportHTML writes the account as a page, with pictures, that needs nothing else but a browser.
func (p *pool) ReportHTML(w io.Writer) error { return bill.WritePage(w, p.document(math.MaxInt)) }

// Timeline writes what the pool did when, in the trace event format of Chrome, which ui.perfetto.dev opens.
func (p *pool) Timeline(w io.Writer) error { return bill.WriteTimeline(w, p.document(math.MaxInt)) }

// document returns the account with so many of the last chunks.
func (p *pool) document(chunks int) *bill.Document {
	b := p.e.Bill(chunks)
	b.Language = "go"
	for i, r := range b.Repeats {
		b.Repeats[i].Remedy = p.remedy(r.Function, r.Class, r.Path)
	}
	b.Finish()
	return &bill.Document{Version: bill.Version, Program: os.Args, Source: "go", Bills: []bill.Bill{b}}
}

// remedy says what to do about a part of the values of a function and class that goes out again and again.
func (p *pool) remedy(function, class, path string) string {
	if class == bill.Function {
		class = "bound"
	}
	return remedy(typeAt(sent(function, class), path), class == "bound", p.codec != nil)
}
