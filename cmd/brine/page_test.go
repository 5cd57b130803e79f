package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/brinepool/brine/internal/bill"
)

//nolint:tparallel // of the tabs of a browser, one is in focus and draws
func TestPage(t *testing.T) {
	t.Parallel()
	browser := openBrowser(t)
	url := writePage(t, cacheDocument())
	for name, test := range map[string]func(*testing.T, context.Context, string){
		"tables": pageTables, "treemap": pageTreemap, "timeline": pageTimeline, "phone": pagePhone, "dark": pageDark,
		"hostile": pageHostile, "without JavaScript": pageWithoutScript, "empty": pageEmpty,
	} {
		t.Run(name, func(t *testing.T) { test(t, browser, url) })
	}
}

func pageTables(t *testing.T, browser context.Context, url string) {
	b := openTab(t, browser, url, 1280, 900, "light")
	b.picture("light")
	b.want("the program", b.text("h1"), "python convert.py --cache 1048576")
	b.want("the verbs", b.text("#b0 .processes .groups"), "dumps loads")
	row := func(n int) string { return b.text(fmt.Sprintf("#b0 .processes tbody tr:nth-child(%d)", n)) }
	parent := row(1)
	b.wantPart("the parent's row", parent, "parent 4700 288 ")
	b.wantPart("the parent's bytes", parent, "7.76 GB")
	b.wantPart("the advice", b.text("#b0 .advice"), "The same self.bitstring_cache in the function of IntToBitarrayConverter.convert at convert.py:31 (26.9 MB) went out 289 times: 7.78 GB.")
	b.wantPart("what else there is", b.text("#b0 .advice .instead"), "brine run convert.py would have sent")

	head := `#b0 .processes thead tr:last-child th:nth-child(6) button`
	b.focus(head)
	b.press(kb.Enter)
	b.want("sorted", b.eval(`document.querySelector("#b0 .processes thead tr:last-child th:nth-child(6)").ariaSort`), "descending")
	calls := b.eval(`[...document.querySelectorAll("#b0 .processes tbody td:nth-child(6)")].map((c) => +c.dataset.v).every((v, i, all) => i === 0 || v <= all[i - 1])`)
	b.want("in order", calls, "true")
	b.press(kb.Enter)
	calls = b.eval(`[...document.querySelectorAll("#b0 .processes tbody td:nth-child(6)")].map((c) => +c.dataset.v).every((v, i, all) => i === 0 || v >= all[i - 1])`)
	b.want("in the other order", calls, "true")
	b.press(kb.Enter)
	b.want("as it was", row(1), parent)

	b.focus("[role=tab]")
	b.press(kb.ArrowRight)
	b.want("the chosen tab", b.text("[role=tab][aria-selected=true]"), "work.Converter")
	b.want("the first bill", b.eval(`document.querySelector("#b0").hidden`), "true")
	b.want("the verbs of Go", b.text("#b1 .processes .groups"), "encodes decodes")
	b.picture("second")
}

func pageTreemap(t *testing.T, browser context.Context, url string) {
	b := openTab(t, browser, url, 1280, 900, "light")
	const focus = `document.activeElement.getAttribute("aria-label")`
	b.focus(`.tile [tabindex="0"]`)
	b.wantPart("the first tile", b.eval(focus), "IntToBitarrayConverter.convert function 26.9 MB, method, 94.0 % of all. Enter goes in")
	b.press(kb.ArrowRight)
	b.wantPart("the tile to its right", b.eval(focus), "IntToBitarrayConverter.convert result")
	b.wantPart("what is said of it", b.text("#b0 .treemap .detail"), "3,472 entries · 1.4 MB · 4.9 % of all")
	b.press(kb.ArrowLeft, kb.Enter, kb.Enter)
	b.want("the way", b.text("#b0 .crumbs"), "all IntToBitarrayConverter.convert function self")
	b.wantPart("the cache", b.eval(focus), ".bitstring_cache 26.9 MB, dict, 1,048,576 entries, 94.0 % of all")
	b.wantPart("what is said of it", b.text("#b0 .treemap .detail"), "IntToBitarrayConverter.convert function › self.bitstring_cache · dict · 1,048,576 entries · 26.9 MB")
	b.wantPart("what can't be sent", b.eval(`document.querySelector(".tile.unsendable button").ariaLabel`), "cannot pickle '_io.TextIOWrapper' instances")
	b.press(kb.Enter)
	b.wantPart("the strings", b.eval(focus), "values 21.0 MB, str, 1,048,576 values, 73.2 % of all")
	b.picture("treemap")
	b.press(kb.Escape, kb.Backspace)
	b.wantPart("out again", b.eval(focus), "self 26.9 MB, convert.IntToBitarrayConverter")
	b.press(kb.Escape, kb.Escape)
	b.want("all", b.text("#b0 .crumbs"), "all")
	overlaps := b.eval(`(() => { const r = [...document.querySelectorAll("#b0 .tile")].map((t) => t.getBoundingClientRect());
		return r.some((a, i) => r.some((c, j) => i < j && a.left < c.right - 1 && c.left < a.right - 1 && a.top < c.bottom - 1 && c.top < a.bottom - 1)); })()`)
	b.want("tiles overlap", overlaps, "false")
}

func pageTimeline(t *testing.T, browser context.Context, url string) {
	b := openTab(t, browser, url, 1280, 900, "light")
	detail := func() string { return b.text("#b0 .timeline .detail") }
	view := func() string { return b.eval(`document.querySelector("#b0 .lanes").dataset.view`) }
	b.wantPart("all", detail(), "288 chunks in ")
	b.wantPart("deaths", detail(), "1 death")
	b.focus("#b0 .lanes")
	b.press(kb.ArrowDown)
	b.wantPart("the parent", detail(), "parent 4700 · 288 chunks · encode ")
	b.press(kb.ArrowDown, kb.ArrowDown, kb.ArrowDown)
	b.wantPart("the worker that died", detail(), "died at ")
	b.press("n", "n", "n")
	b.wantPart("its chunk", detail(), "of IntToBitarrayConverter.convert · worker 4713 · 3,472 tasks · 26.9 MB there, 1.4 MB back · encode ")
	b.press(kb.Enter)
	near := view()
	b.press("+", "-", "-")
	b.picture("timeline")
	if far := view(); far == near {
		t.Errorf("zooming out changes nothing: %s", far)
	}
	far := view()
	b.press(kb.ArrowRight)
	if view() == far {
		t.Errorf("moving changes nothing: %s", far)
	}
	b.press("0", kb.Escape)
	b.wantPart("all again", detail(), "288 chunks in ")
	b.press(kb.ArrowDown)
	b.want("pixels in colour", b.eval(`(() => { const c = document.querySelector("#b0 canvas"), d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
		const seen = new Set(); for (let i = 0; i < d.length; i += 4) seen.add((d[i] >> 3) + "," + (d[i+1] >> 3) + "," + (d[i+2] >> 3)); return seen.size > 8; })()`), "true")
	before := view()
	b.eval(`document.querySelector("#b0 canvas").dispatchEvent(new WheelEvent("wheel", { deltaY: -300, clientX: 700, cancelable: true, bubbles: true }))`)
	b.drawn()
	if view() == before {
		t.Error("the wheel changes nothing")
	}
	b.press("0", kb.Escape)
	at := func(part string) float64 {
		return value(b, chromedp.Evaluate[float64]("(() => { const r = document.querySelector('#b0 canvas').getBoundingClientRect(); return "+part+"; })()"))
	}
	b.eval(`document.querySelector("#b0 .timeline").scrollIntoView()`)
	x, y := at("r.left + r.width / 2"), at("r.top + 22 + 15") // in the lane of the parent
	b.do(chromedp.MouseClickXY(x, y))
	b.wantPart("what is clicked", detail(), "of IntToBitarrayConverter.convert · parent 4700 · ")
	b.press("+", "+")
	before = view()
	b.do(chromedp.DragAndDropXY(x, y, x-200, y))
	b.drawn()
	if view() == before {
		t.Error("dragging changes nothing")
	}

	// Thousands of chunks are drawn in no more than a few frames.
	b.click(`[role=tab]:last-child`)
	b.drawn()
	b.focus("#b1 .lanes")
	b.press("+", "+", kb.ArrowDown)
	b.wantPart("many chunks", b.text("#b1 .timeline .detail"), "6,000 chunks")
	b.picture("many")
}

func pagePhone(t *testing.T, browser context.Context, url string) {
	b := openTab(t, browser, url, 360, 740, "light")
	b.drawn()
	b.picture("phone")
	for _, tab := range []string{"first-child", "last-child"} {
		b.click("[role=tab]:" + tab)
		b.drawn()
		b.want("room", b.eval("document.documentElement.scrollWidth <= innerWidth"), "true")
		b.want("open lists", b.eval(`[...document.querySelectorAll("details")].map((d) => { d.open = true; }).length > 0`), "true")
		b.want("room with open lists", b.eval("document.documentElement.scrollWidth <= innerWidth"), "true")
	}
}

// contrast lists texts that don't stand out from what is behind them as WCAG 2.2 AA wants, and colours of the pictures.
const contrast = `(() => {
	const parse = (c) => (c.match(/[\d.]+/g) ?? []).map(Number);
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
	const ground = (e) => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] === 1) return c; } return [255, 255, 255]; };
	const bad = [];
	let seen = 0;
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const e = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !e.checkVisibility() || e.tagName === "SCRIPT") continue;
		seen++;
		const style = getComputedStyle(e), size = parseFloat(style.fontSize), back = ground(e);
		const front = parse(style.color).slice(0, 3).map((v, i) => v * style.opacity + back[i] * (1 - style.opacity));
		const r = ratio(front, back), least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
		if (r < least) bad.push(r.toFixed(2) + " " + e.outerHTML.slice(0, 120));
	}
	const probe = document.createElement("i");
	document.body.append(probe);
	const named = (name) => { probe.style.color = "var(--" + name + ")"; return parse(getComputedStyle(probe).color); };
	for (const kind of ["encode", "send", "decode", "run", "reencode", "back", "starting", "initialising", "bad", "accent"])
		for (const back of ["lane", "panel"]) if (ratio(named(kind), named(back)) < 3) bad.push(kind + " on " + back + " " + ratio(named(kind), named(back)).toFixed(2));
	probe.remove();
	return seen < 100 ? "only " + seen + " texts" : bad.join("\n");
})()`

func pageDark(t *testing.T, browser context.Context, url string) {
	ground := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		b := openTab(t, browser, url, 1280, 900, scheme)
		b.drawn()
		b.eval(`document.querySelectorAll("details").forEach((d) => { d.open = true; })`)
		b.want("contrast when "+scheme, b.eval(contrast), "")
		ground[scheme] = b.eval("getComputedStyle(document.body).backgroundColor")
		if scheme == "dark" {
			b.eval(`document.querySelectorAll("details").forEach((d) => { d.open = false; })`)
			b.picture("dark")
		}
	}
	if ground["light"] == ground["dark"] {
		t.Errorf("the dark is as the light: %s", ground["dark"])
	}
}

func pageHostile(t *testing.T, browser context.Context, _ string) {
	d := cacheDocument()
	d.Program = []string{"a", hostile, "<!--<script>"}
	x := &d.Bills[0]
	x.Name, x.Instead = hostile, hostile
	x.Advice = append(x.Advice, hostile, "`"+hostile+"`")
	x.Processes[1].Name = hostile
	x.Chunks[0].Function, x.Chunks[0].Site = hostile, hostile
	x.Events[0].Text, x.Events[0].Kind = hostile, hostile
	x.Lines[0].Function, x.Lines[0].Site, x.Lines[0].Encode.MaxPath = hostile, hostile, "\u2028"
	x.Parts[0].Name, x.Parts[0].Type, x.Parts[0].Error = hostile, hostile, "<!--<script>"
	b := openTab(t, browser, writePage(t, d), 1280, 900, "light")
	b.focus(`.tile [tabindex="0"]`)
	b.press(kb.Enter, kb.Escape)
	b.focus("#b0 .lanes")
	b.press(kb.ArrowDown, kb.ArrowDown, "n", "n")
	b.want("images", b.eval("document.images.length"), "0")
	b.want("scripts", b.eval("document.scripts.length"), "2")
	b.wantPart("the program", b.text("h1"), hostile)
	b.wantPart("the title", b.eval("document.title"), hostile)
	b.wantPart("the tab", b.text("[role=tab]"), "script><img src=x onerror=") // the folders of a name are left out
}

func pageWithoutScript(t *testing.T, browser context.Context, url string) {
	b := openTab(t, browser, url, 1280, 900, "light", command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	var texts []string
	for _, selector := range []string{"#b0 .processes", "#b0 .advice", "#b0 .treemap", "#b1 .processes", "#b0 noscript"} {
		texts = append(texts, value(b, chromedp.TextContent(chromedp.CSS(selector), chromedp.NodeReady)))
	}
	b.wantPart("the table", texts[0], "parent 4700")
	b.wantPart("the advice", texts[1], "went out 289 times")
	b.want("the treemap", texts[2], "")
	b.wantPart("the second bill", texts[3], "parent 4700")
	b.wantPart("the apology", texts[4], "needs JavaScript")
	b.picture("plain")
}

func pageEmpty(t *testing.T, browser context.Context, _ string) {
	b := openTab(t, browser, writePage(t, &bill.Document{}), 1280, 900, "light")
	b.wantPart("no bills", b.text("main"), "This document has no bills")
	b = openTab(t, browser, writePage(t, &bill.Document{Bills: []bill.Bill{{}, {Events: []bill.Event{{}}}, {Parts: []bill.Part{{}}}}}), 360, 740, "dark")
	b.wantPart("an empty bill", b.text("#b0"), "This bill is empty")
	b.click(`[role=tab]:nth-child(2)`)
	b.click(`[role=tab]:nth-child(3)`)
	b.drawn()
}
