package bill

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
)

//go:embed page
var pageFiles embed.FS

// pageScripts are the scripts of the page, in the order in which they make one.
var pageScripts = []string{"format.js", "table.js", "tabs.js", "treemap.js", "tiles.js", "timeline.js", "lanes.js", "drawing.js", "main.js"}

// WritePage writes a document as one page of HTML that needs nothing else: no network, no fonts, no files. Its tables
// and texts are there without JavaScript. Its policy (Content-Security-Policy) lets it run and look like nothing but
// what is in this package, whatever the document has in it.
func WritePage(w io.Writer, d *Document) error {
	if err := writePage(w, d); err != nil {
		return fmt.Errorf("brine: writing a page: %w", err)
	}
	return nil
}

// page is what page.html shows.
type page struct {
	Title   string
	Program string
	Source  string
	Policy  string
	Style   template.CSS
	Script  template.JS
	Data    template.JS // the document
	Bills   []pageBill
}

func writePage(w io.Writer, d *Document) error {
	pages, err := template.New("page.html").Funcs(pageFuncs).ParseFS(pageFiles, "page/*.html")
	if err != nil {
		return err
	}
	style, err := pageFiles.ReadFile("page/page.css")
	if err != nil {
		return err
	}
	script, err := pageScript()
	if err != nil {
		return err
	}
	// This escapes <, >, & and the two line ends that JavaScript has beside the usual ones: in a script element there is
	// nothing that could end it, or begin a comment.
	data, err := json.Marshal(d)
	if err != nil {
		return err
	}
	p := page{
		Title:   "The bill",
		Program: strings.Join(d.Program, " "),
		Source:  map[string]string{"go": "a Go program", "run": "brine run", "trace": "brine trace"}[d.Source],
		Policy: "default-src 'none'; base-uri 'none'; form-action 'none'; style-src " + digest(style) +
			"; script-src " + digest(script),
		Style:  template.CSS(style), //nolint:gosec // it is ours
		Script: template.JS(script), //nolint:gosec // it is ours
		Data:   template.JS(data),   //nolint:gosec // it is JSON, escaped
		Bills:  make([]pageBill, len(d.Bills)),
	}
	if p.Program != "" {
		p.Title += " of " + p.Program
	}
	for i := range d.Bills {
		p.Bills[i] = newPageBill(i, &d.Bills[i])
	}
	return pages.Execute(w, p)
}

// pageScript puts the scripts together, in a function of their own: they see one another, and nobody sees them.
func pageScript() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("(() => {\n\"use strict\";\n")
	for _, name := range pageScripts {
		text, err := pageFiles.ReadFile("page/" + name)
		if err != nil {
			return nil, err
		}
		b.Write(text)
	}
	b.WriteString("})();\n")
	return b.Bytes(), nil
}

// digest is how a policy names an element by its content.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

var pageFuncs = template.FuncMap{
	"number":  Number,
	"size":    Size,
	"short":   short,
	"plural":  plural,
	"percent": percent,
	"name":    ShortName,
	"prose":   prose,
	"title":   (*Process).title,
	"average": Tally.average,
	"product": func(a, b int64) int64 { return a * b },
	"largest": func(l Line) int64 { return max(l.Encode.Max, l.Decode.Max) },
	"maxpath": func(l Line) string { return cmp.Or(l.Encode.MaxPath, l.Decode.MaxPath) },
}

// phrase is a piece of a text: code is what stands between backticks.
type phrase struct {
	Text string
	Code bool
}

func prose(text string) []phrase {
	var out []phrase
	pieces := strings.Split(text, "`")
	for i, piece := range pieces {
		if i%2 == 1 && i == len(pieces)-1 { // a backtick without another
			piece = "`" + piece
			out = append(out, phrase{piece, false})
		} else if piece != "" {
			out = append(out, phrase{piece, i%2 == 1})
		}
	}
	return out
}
