package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/brinepool/brine/internal/bill"
)

// browserPatience is how long a test may take with the browser before it is given up.
const browserPatience = 2 * time.Minute

// tab is a page in a real browser, and what it complained of or asked the network for.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string
}

// openBrowser starts Chromium without a network.
func openBrowser(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), browserPatience) // it is closed after the test
	t.Cleanup(cancel)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)), chromedp.UserDataDir(t.TempDir()), chromedp.DisableGPU, chromedp.NoSandbox,
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND"), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-sync", true))
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, _ = chromedp.NewContext(ctx)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Error(err)
		}
	})
	return ctx
}

// chromium returns the path of a browser. Where there must be one, BRINE_BROWSER says required.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("BRINE_BROWSER") == "required" {
		t.Fatal("there is no Chromium, which BRINE_BROWSER requires")
	}
	t.Skip("there is no Chromium")
	return ""
}

// writePage writes the page of a document, and returns its address.
func writePage(t *testing.T, d *bill.Document) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bill.html")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := bill.WritePage(f, d); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return "file://" + path
}

// openTab shows an address in a tab of so many pixels, in a colour scheme.
func openTab(t *testing.T, browser context.Context, url string, width, height int64, scheme string, more ...chromedp.Action[chromedp.Void]) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(browser)
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx}
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventConsoleAPICalled:
			b.fault("the console has: %s %+v", e.Type, e.Args[0])
		case *runtime.EventExceptionThrown:
			b.fault("an exception: %v", e.ExceptionDetails)
		case *log.EventEntryAdded:
			b.fault("the log has: %s %s", e.Entry.Text, e.Entry.URL)
		case *network.EventRequestWillBeSent:
			if e.Request.URL != url {
				b.fault("a request for %s", e.Request.URL)
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	b.do(command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(width, height),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}))
	b.do(more...)
	b.do(chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("footer")))
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, f := range b.faults {
			t.Error(f)
		}
	})
	return b
}

func (b *tab) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

// command makes an action of a command of the browser's protocol.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// value does what has a value.
func value[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

func (b *tab) focus(selector string) { b.t.Helper(); b.do(chromedp.Focus(chromedp.CSS(selector))) }

func (b *tab) click(selector string) { b.t.Helper(); b.do(chromedp.Click(chromedp.CSS(selector))) }

// eval returns what an expression is in the page, as text.
func (b *tab) eval(expression string) string {
	b.t.Helper()
	return value(b, chromedp.Evaluate[string]("String("+expression+")"))
}

// text returns the text of the first element that a selector finds, in one line.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return strings.Join(strings.Fields(b.eval(fmt.Sprintf("document.querySelector(%q)?.innerText", selector))), " ")
}

// press types keys, and waits until the page has drawn what they do.
func (b *tab) press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.do(chromedp.KeyEvent(key))
	}
	b.drawn()
}

// drawn waits for two frames: one that draws, and the one after it.
func (b *tab) drawn() {
	b.t.Helper()
	value(b, chromedp.Evaluate[bool]("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))", chromedp.EvalAwaitPromise))
}

// want compares what is in the page with what should be.
func (b *tab) want(what, got, want string) {
	b.t.Helper()
	if got != want {
		b.t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func (b *tab) wantPart(what, got, part string) {
	b.t.Helper()
	if !strings.Contains(got, part) {
		b.t.Errorf("%s: %q, want %q in it", what, got, part)
	}
}

// picture takes a screenshot, where BRINE_PICTURES names a directory for them.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("BRINE_PICTURES")
	if dir == "" {
		return
	}
	png := value(b, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, "page-"+name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}
