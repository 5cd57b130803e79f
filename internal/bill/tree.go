package bill

import (
	"strings"
)

// textLevels bounds how deep a tree is written.
const textLevels = 200

// Text writes the part and its parts as a tree, a line each, the largest first, with what share of the whole each takes:
//
//	bound method Converter.convert, 26.9 MB
//	  .__self__ __main__.Converter, 26.9 MB, 100.0 % (the bound object, sent with its method)
//	    .cache dict, 1,048,576 entries, 26.9 MB, 99.9 %
func (p Part) Text() string {
	var b strings.Builder
	p.text(&b, 0, p.Bytes)
	return b.String()
}

func (p Part) text(b *strings.Builder, level int, whole int64) {
	b.WriteString(strings.Repeat("  ", level))
	b.WriteString(p.Line(whole, level > 0))
	b.WriteByte('\n')
	if level >= textLevels {
		return
	}
	for _, q := range p.Parts {
		q.text(b, level+1, whole)
	}
}

// Line writes the part without its parts. share is whether to say what share of the whole it takes.
func (p Part) Line(whole int64, share bool) string {
	var columns []string
	if title := plain(strings.TrimSpace(p.Name + " " + p.Type)); title != "" {
		columns = append(columns, title)
	}
	if p.Entries > 0 {
		columns = append(columns, p.entries())
	}
	if p.Error != "" && p.Bytes == 0 {
		return strings.Join(columns, ", ") + ": can't be sent: " + plain(p.Error)
	}
	columns = append(columns, Size(p.Bytes))
	if share && whole > 0 {
		columns = append(columns, percent(p.Bytes, whole))
	}
	if p.Mapped > 0 {
		columns = append(columns, Size(p.Mapped)+" in shared memory")
	}
	line := strings.Join(columns, ", ")
	if p.Note != "" {
		line += " (" + plain(p.Note) + ")"
	}
	if p.Error != "" {
		line += ": can't be sent: " + plain(p.Error)
	}
	return line
}

// entries writes how many elements a part has.
func (p Part) entries() string {
	unit := p.unit()
	if unit == "entry" && p.Entries != 1 {
		return Number(p.Entries) + " entries"
	}
	return plural(p.Entries, unit)
}

// unit is what the elements of a part are called, in the singular.
func (p Part) unit() string {
	switch p.Type {
	case "str", "string":
		return "character"
	case "bytes", "bytearray", "[]byte", "[]uint8":
		return "byte"
	case "list", "tuple", "set", "frozenset", "numpy.ndarray":
		return "element"
	}
	if strings.HasPrefix(p.Type, "[") || strings.HasPrefix(p.Type, "*[") {
		return "element"
	}
	return "entry"
}

// plain makes a text one line: types and reasons come from other processes.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
