package bill_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/brinepool/brine/internal/bill"
)

func pageOf(t *testing.T, d *bill.Document) string {
	t.Helper()
	var b bytes.Buffer
	if err := bill.WritePage(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var (
	elements = regexp.MustCompile(`(?s)<(style|script)( [^>]*)?>(.*?)</(?:style|script)>`)
	policy   = regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`)
)

// TestPagePolicy holds the page to its own policy: nothing but the style and the script that are in it.
func TestPagePolicy(t *testing.T) {
	t.Parallel()
	text := pageOf(t, ways())
	rules := html.UnescapeString(policy.FindStringSubmatch(text)[1])
	kinds := ""
	for _, e := range elements.FindAllStringSubmatch(text, -1) {
		kinds += e[1] + e[2] + ";"
		sum := sha256.Sum256([]byte(e[3]))
		if hash := e[1] + "-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]); !strings.Contains(e[2], "json") && !strings.Contains(rules, hash) {
			t.Errorf("the policy %s has no %s", rules, hash)
		}
	}
	if kinds != `style;script type="application/json" id="document";script;` {
		t.Errorf("the elements are %s", kinds)
	}
	for _, part := range []string{"default-src 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(rules, part) {
			t.Errorf("the policy is %s, without %s", rules, part)
		}
	}
	for _, no := range []string{"unsafe", "http:", "https:", "*"} {
		if strings.Contains(rules, no) {
			t.Errorf("the policy is %s, with %s", rules, no)
		}
	}
	for _, no := range []string{"http://", "https://", " style=", " onclick=", "javascript:", "@import", "url("} {
		if strings.Contains(text, no) {
			t.Errorf("the page has %q", no)
		}
	}
}

// TestPageData reads from pages what was put in them, whatever that was, and finds none of it to be markup.
func TestPageData(t *testing.T) {
	t.Parallel()
	plain := len(elements.FindAllString(pageOf(t, ways()), -1))
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			d := randomDocument(rand.New(rand.NewPCG(seed, 7)))
			text := pageOf(t, d)
			found := elements.FindAllStringSubmatch(text, -1)
			if len(found) != plain {
				t.Fatalf("the page has %d styles and scripts, want %d", len(found), plain)
			}
			if strings.Contains(text, "<img") || strings.Contains(found[1][3], "<") || strings.Contains(text, "\u2028") && strings.Contains(found[1][3], "\u2028") {
				t.Error("what is in the document is markup in the page")
			}
			var got, want any
			if err := json.Unmarshal([]byte(found[1][3]), &got); err != nil {
				t.Fatal(err)
			}
			b, err := json.Marshal(d)
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Error("the document in the page is another")
			}
		})
	}
}

// TestPageTables looks for figures where there is no JavaScript.
func TestPageTables(t *testing.T) {
	t.Parallel()
	d := ways()
	b := &d.Bills[0]
	b.Language = "python"
	b.Processes[0].Encode = bill.Tally{Count: 42, Bytes: 1_131_228_000, Time: 216_000_000_000}
	b.Advice = []string{"Send `less` & sooner."}
	b.Parts = []bill.Part{{Name: "f argument", Bytes: 1000, Parts: []bill.Part{{Name: ".cache", Type: "dict", Entries: 1_048_576, Bytes: 999, Error: "a lock"}}}}
	text := strings.Join(strings.Fields(pageOf(t, d)), " ")
	for _, want := range []string{
		`<h1><code>a.py &lt;x&gt;</code></h1>`,
		`<th scope="row">parent 10</th><td class="first" data-v="42">42</td><td data-v="216000000000">216 s</td><td data-v="5142857142">5.143 s</td><td data-v="1131228000">1.13 GB</td>`,
		`>dumps</th>`,
		`<li>Send <code>less</code> &amp; sooner.</li>`,
		`<code>.cache</code> <span class="dim">dict, 1,048,576 entries</span> <b>999 B</b> <span class="dim">99.9 %</span> <span class="bad">can’t be sent: a lock</span>`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page doesn't have %s", want)
		}
	}
}

// TestPageOfDeepTree has more parts, and deeper ones, than a list for people should have.
func TestPageOfDeepTree(t *testing.T) {
	t.Parallel()
	deep := bill.Part{Name: "leaf", Bytes: 1}
	for range 500 {
		deep = bill.Part{Name: ".next", Bytes: deep.Bytes + 1, Parts: []bill.Part{deep}}
	}
	wide := bill.Part{Name: "wide", Bytes: 5000}
	for range 5000 {
		wide.Parts = append(wide.Parts, bill.Part{Name: "[0]", Bytes: 1})
	}
	text := pageOf(t, &bill.Document{Bills: []bill.Bill{{Parts: []bill.Part{wide, deep}}}})
	if n := strings.Count(text, "<li>"); n > 100 {
		t.Errorf("%d parts are listed", n)
	}
	for _, want := range []string{"and 4,970 more parts", "and 1 more part<"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page doesn't say %q", want)
		}
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	if err := bill.WritePage(fullDisk{}, ways()); err == nil || err.Error() != "brine: writing a page: short write" {
		t.Errorf("the page: %v", err)
	}
	if err := bill.WriteTimeline(fullDisk{}, ways()); err == nil || err.Error() != "brine: writing a timeline: short write" {
		t.Errorf("the timeline: %v", err)
	}
}
