package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// series is one line of the plot.
type series struct {
	label  string
	kind   string
	color  color.Color
	dashes []vg.Length
	glyph  draw.GlyphDrawer
	value  func(*trial) time.Duration
}

var (
	blue   = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	orange = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	dashed = []vg.Length{vg.Points(5), vg.Points(3)}
)

func setupOf(t *trial) time.Duration { return t.setup }
func roundOf(t *trial) time.Duration { return t.round }

var allSeries = []series{
	{"hand-made pool, set-up", "custom", orange, nil, draw.CircleGlyph{}, setupOf},
	{"Brine, set-up", "brine", blue, nil, draw.CircleGlyph{}, setupOf},
	{"hand-made pool, one round", "custom", orange, dashed, draw.PyramidGlyph{}, roundOf},
	{"Brine, one round", "brine", blue, dashed, draw.PyramidGlyph{}, roundOf},
}

// drawPlot draws set-up and rounds against the size of the fixed data, both logarithmic, into an SVG file.
func drawPlot(trials []*trial, file string) error {
	p := plot.New()
	sans := func(f *font.Font, size float64) {
		f.Variant = "Sans"
		f.Size = vg.Points(size)
	}
	sans(&p.Title.TextStyle.Font, 13)
	sans(&p.Legend.TextStyle.Font, 11)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		sans(&a.Label.TextStyle.Font, 11)
		sans(&a.Tick.Label.Font, 10)
		a.Scale = plot.LogScale{}
		a.Label.Padding = vg.Points(5)
		a.Padding = 0
	}
	p.Title.Text = fmt.Sprintf("%d worker processes with fixed data", workers)
	p.Title.Padding = vg.Points(10)
	p.X.Label.Text = "integers of 8 bytes"
	p.Y.Label.Text = "time" // for a longer one plot leaves room at the top, as if the axis were linear
	p.X.Tick.Marker = decades(func(x float64) string {
		if x < 1e6 {
			return grouped(int(x))
		}
		return grouped(int(x/1e6)) + " million"
	})
	p.Y.Tick.Marker = decades(func(y float64) string {
		s := time.Duration(math.Round(y * 1e9)).String()
		unit := strings.TrimLeft(s, "0123456789")
		return strings.TrimSuffix(s, unit) + " " + unit
	})
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs = vg.Points(10), vg.Points(-8)
	p.Legend.ThumbnailWidth = vg.Points(34)
	p.Legend.Padding = vg.Points(2)

	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xdd}, color.Gray{0xdd}
	p.Add(grid)
	for _, s := range allSeries {
		var points plotter.XYs
		for _, t := range trials {
			if t.kind.name == s.kind {
				points = append(points, plotter.XY{X: float64(t.size), Y: s.value(t).Seconds()})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, glyphs, err := plotter.NewLinePoints(points)
		if err != nil {
			return err
		}
		line.Color, line.Width, line.Dashes = s.color, vg.Points(1.8), s.dashes
		glyphs.Color, glyphs.Radius, glyphs.Shape = s.color, vg.Points(3.5), s.glyph
		p.Add(line, glyphs)
		p.Legend.Add(s.label, line, glyphs)
	}
	// Whole decades above and below.
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	p.X.Min /= 1.5
	p.X.Max *= 1.5
	return save(p, file)
}

// save writes a plot with a margin around it, and with fonts that stand in where the plot's is not installed.
func save(p *plot.Plot, file string) error {
	const width, height, margin = 7.5 * vg.Inch, 5 * vg.Inch, vg.Length(10)
	svg := vgsvg.New(width, height)
	page := draw.New(svg)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	page.Translate(vg.Point{X: margin, Y: margin})
	p.Draw(draw.NewCanvas(svg, width-2*margin, height-2*margin))
	var b bytes.Buffer
	if _, err := svg.WriteTo(&b); err != nil {
		return err
	}
	const family = "font-family:Liberation Sans"
	text := bytes.ReplaceAll(b.Bytes(), []byte(family+";"), []byte(family+",Arial,Helvetica,sans-serif;"))
	return os.WriteFile(file, text, 0o644)
}

// decades marks powers of ten with labels, and their multiples without.
type decades func(float64) string

// Ticks implements plot.Ticker.
func (label decades) Ticks(lowest, highest float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(lowest)); e <= math.Ceil(math.Log10(highest)); e++ {
		power := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: power, Label: label(power)})
		for n := 2.0; n < 10; n++ {
			ticks = append(ticks, plot.Tick{Value: n * power})
		}
	}
	return ticks
}
