package bill

import (
	"fmt"
	"slices"
)

const (
	worthBytes = 1 << 20    // less is not worth a sentence
	worthTime  = 50_000_000 // nanoseconds
	tinyTask   = 20_000     // nanoseconds: a task that is shorter costs more to send than to run
	manyTasks  = 1000
	// manyRepeats is how many values that were sent again and again there are sentences for.
	manyRepeats = 5
)

// Finish fills in what follows from the rest: the advice, and what of all bytes each part stands for. To do it again
// changes nothing.
func (l *Bill) Finish() {
	l.addUp()
	l.Advise()
}

// Advise fills in the advice: whole sentences, each with the figure that it rests on and the change to make.
func (l *Bill) Advise() {
	l.Advice = []string{}
	for _, rule := range []func(*Bill) []string{
		(*Bill).changed, (*Bill).repeated, (*Bill).functions, (*Bill).initializers, (*Bill).results, (*Bill).tiny, (*Bill).starts, (*Bill).waits, (*Bill).deaths, (*Bill).unread,
	} {
		l.Advice = append(l.Advice, rule(l)...)
	}
	if len(l.Advice) == 0 {
		l.Advice = append(l.Advice, l.well())
	}
}

// well is said when there is nothing else to say.
func (l *Bill) well() string {
	var run, all int64
	for _, p := range l.Processes {
		run += p.Running
		all += p.Starting + p.Initialising + p.Working + p.Waiting
	}
	if all == 0 {
		return fmt.Sprintf("Nothing stands out: %s crossed.", Size(l.Sent()))
	}
	return fmt.Sprintf("Nothing stands out: %s crossed, and the functions of tasks ran for %s of the workers' time.", Size(l.Sent()), percent(run, all))
}

func (l *Bill) changed() []string {
	var out []string
	for _, c := range l.Changes {
		what := c.Class
		if c.Path != "" {
			what = c.Path + " in the " + c.Class
		}
		s := fmt.Sprintf("The %s of %s%s changed between two sendings: there were %s of it in %s, and tasks ran with different ones.",
			what, ShortName(c.Function), at(c.Site), plural(c.Versions, "version"), plural(c.Count, "sending"))
		if c.Text != "" {
			s += " It was " + c.Text + "."
		}
		out = append(out, s+" Send a copy that nobody changes, or what each task needs as its argument.")
	}
	return out
}

func at(site string) string {
	if site == "" {
		return ""
	}
	return " at " + site
}

func (l *Bill) repeated() []string {
	var out []string
	said, more := "", int64(0)
	for _, r := range l.Repeats {
		if r.Bytes*r.Count < worthBytes {
			continue
		}
		if len(out) == manyRepeats {
			more++
			continue
		}
		what := l.called(r.Class)
		if r.Path != "" {
			what = r.Path + " in the " + what
		}
		remedy := r.Remedy
		if remedy == "" {
			remedy = l.once()
		}
		if said == remedy {
			remedy = "As above."
		} else {
			said = remedy
		}
		out = append(out, fmt.Sprintf("The same %s of %s%s (%s) went out %s: %s. %s",
			what, ShortName(r.Function), at(r.Site), Size(r.Bytes), Times(r.Count), Size(r.Bytes*r.Count), remedy))
	}
	switch more {
	case 0:
	case 1:
		out = append(out, "There is 1 more value like this.")
	default:
		out = append(out, "There are "+Number(more)+" more values like this.")
	}
	return out
}

// called returns what values of a class are called.
func (l *Bill) called(class string) string {
	if class == Function && l.Language == "go" {
		return "bound argument"
	}
	return class
}

// once says how to send something once.
func (l *Bill) once() string {
	if l.Language == "python" {
		return "Give it to the workers once, by an initializer that returns it (expect_initret=True), or bind it to the function with functools.partial: then it crosses once."
	}
	return "Make it worker state, by way of the kind's config, or bind it (MethodBound, Bind): then it crosses once per worker."
}

// functions finds functions that drag something along. In Go they can't but by what is bound, which goes out once.
func (l *Bill) functions() []string {
	if l.Language != "python" {
		return nil
	}
	var out []string
	total := l.Sent()
	for _, x := range l.Lines {
		n := x.Encode
		if x.Class != Function || n.Bytes < worthBytes || n.Bytes*10 < total || l.repeats(x) {
			continue
		}
		what := ""
		if n.MaxPath != "" {
			what = ", for the most part " + n.MaxPath
		}
		then := "then it crosses once per pool, and with the start method fork not at all."
		if n.Count == 1 {
			then = "then, with the start method fork, it needn't cross at all."
		}
		out = append(out, fmt.Sprintf("%s%s was pickled %s with what hangs on it, %s%s: %s of all that crossed. "+
			"Have an initializer return the object (expect_initret=True) and take it as initret=: %s",
			ShortName(x.Function), at(x.Site), Times(n.Count), Size(n.Bytes), what, percent(n.Bytes, total), then))
	}
	return out
}

// repeats says whether there is a repeat of a line, which says the same and more.
func (l *Bill) repeats(x Line) bool {
	return slices.ContainsFunc(l.Repeats, func(r Repeat) bool {
		return r.Function == x.Function && r.Class == x.Class && r.Site == x.Site && r.Bytes*r.Count >= worthBytes
	})
}

func (l *Bill) initializers() []string {
	var out []string
	for _, x := range l.Lines {
		if x.Class != Initializer || x.Decode.Count < 2 || x.Decode.Bytes < worthBytes || x.Decode.Time < worthTime {
			continue
		}
		change := "What is fixed and made of numbers or strings crosses without being decoded as a *brine.Shared (Share) or a *brine.FrozenMap (Freeze)."
		if l.Language == "python" {
			change = "Numbers in a numpy array are mapped and not loaded; with the fork start method, nothing of it crosses."
		}
		out = append(out, fmt.Sprintf("Each of %s loaded the initial data, %s, which took %s in all. %s",
			plural(x.Decode.Count, "worker"), Size(x.Decode.Max), short(x.Decode.Time), change))
	}
	return out
}

func (l *Bill) results() []string {
	total := l.Sent()
	var out []string
	for _, x := range l.Lines {
		n, spent := x.sent(), x.Encode.Time+x.Decode.Time
		if x.Class != Result || n < 64*worthBytes || n*2 < total || spent < 4*worthTime {
			continue
		}
		change := "return less, or read them in place with Each."
		if l.Language == "python" {
			change = "return less; an array of numpy crosses without a copy, a list of numbers doesn't."
		}
		out = append(out, fmt.Sprintf("The results of %s are %s of all bytes, %s, and took %s to encode and decode: %s",
			ShortName(x.Function), percent(n, total), Size(n), short(spent), change))
	}
	return out
}

// tiny finds tasks that cost more to send than to run.
func (l *Bill) tiny() []string {
	var tasks, run, coding int64
	for _, p := range l.Processes {
		tasks += p.Tasks
		run += p.Running
	}
	for _, x := range l.Lines {
		if x.Class == Argument || x.Class == Result {
			coding += x.Encode.Time + x.Decode.Time
		}
	}
	if tasks < manyTasks || run/tasks >= tinyTask || coding < run || coding < worthTime {
		return nil
	}
	return []string{fmt.Sprintf("A task ran for %s on average and cost %s to encode and decode, over %s: give each more to do, a range or a batch in place of one element.",
		short(run/tasks), short(coding/tasks), plural(tasks, "task"))}
}

// starts finds pools that take longer to start than they are used.
func (l *Bill) starts() []string {
	var start, all, n int64
	for _, p := range l.Processes {
		if p.Starting > 0 && p.PID != 0 { // a row without one is of several
			start += p.Starting + p.Initialising
			all += p.Starting + p.Initialising + p.Working + p.Waiting
			n++
		}
	}
	if n == 0 || start/n < worthTime || start*2 < all {
		return nil
	}
	return []string{fmt.Sprintf("A worker took %s on average to start and initialise, %s of its time: keep the pool for more work, or do less in the initializer.",
		short(start/n), percent(start, all))}
}

// waits finds workers that had little to do while the parent was busy.
func (l *Bill) waits() []string {
	if len(l.Processes) < 2 || l.Language != "python" { // in Go several goroutines of the parent encode at once
		return nil
	}
	var wait, all, n int64
	for _, p := range l.Processes[1:] {
		wait += p.Waiting
		all += p.Starting + p.Initialising + p.Working + p.Waiting
		n++
	}
	parent := l.Processes[0].Encode.Time + l.Processes[0].Decode.Time
	if all == 0 || wait*2 < all || parent*2 < l.Elapsed || parent < worthTime {
		return nil
	}
	return []string{fmt.Sprintf("The workers waited for %s of their time, while the parent spent %s of %s encoding and decoding: it is the parent that can't keep up. Send less, or let the workers read the data themselves.",
		percent(wait, all), short(parent), short(l.Elapsed))}
}

func (l *Bill) deaths() []string {
	if l.Counts.Deaths == 0 {
		return nil
	}
	if l.Stock {
		return []string{plural(l.Counts.Deaths, "worker") + " died. The result of a task that it had never comes, and who waits for it waits for ever; with `brine run`, a death is the error of that task."}
	}
	again := ""
	switch l.Counts.Retried {
	case 0:
	case 1:
		again = "1 task was run again; "
	default:
		again = Number(l.Counts.Retried) + " tasks were run again; "
	}
	return []string{fmt.Sprintf("%s died: %sthe errors of their tasks say what of. What dies now and then can be tried again (retries).", plural(l.Counts.Deaths, "worker"), again)}
}

func (l *Bill) unread() []string {
	if l.Unread == 0 {
		return nil
	}
	return []string{plural(l.Unread, "stream") + " could not be looked into, being too large or not understood: the bytes are counted, but not divided."}
}
