// The picture of lanes on a canvas. Spans that are too short to be seen are added up, and drawn as heights.

const laneHeight = 30, axisHeight = 22, stripHeight = 4;
const kinds = ["starting", "initialising", "encode", "send", "decode", "run", "reencode", "back"];

function draw(canvas, lanes, view, chosen) {
  const ratio = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = axisHeight + lanes.length * laneHeight;
  canvas.style.height = height + "px";
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  const paint = { g, view, width, x: (t) => ((t - view.from) / (view.to - view.from)) * width, colours: {} };
  for (const name of [...kinds, "lane", "line", "text", "dim", "bad", "panel", "accent", "strong"]) paint.colours[name] = colour(name);
  axis(paint, height);
  for (const [i, lane] of lanes.entries()) drawLane(paint, lane, axisHeight + i * laneHeight, lane === chosen?.lane);
  if (chosen?.item?.chunk) outline(paint, lanes, chosen.item.chunk);
}

// axis draws round times, some ninety pixels apart.
function axis({ g, view, width, x, colours }, height) {
  const least = ((view.to - view.from) * 90) / width;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
  const [unit, size] = [["s", 1e9], ["ms", 1e6], ["µs", 1e3], ["ns", 1]].find(([, size]) => view.to - view.from >= 2 * size) ?? ["ns", 1];
  g.font = "11px " + getComputedStyle(document.body).fontFamily;
  for (let t = Math.ceil(view.from / step) * step; t <= view.to; t += step) {
    g.fillStyle = colours.line;
    g.fillRect(Math.round(x(t)), 14, 1, height);
    g.fillStyle = colours.dim;
    const label = Number((t / size).toFixed(6)).toLocaleString("en-US", { maximumFractionDigits: 6 }) + " " + unit;
    const room = g.measureText(label).width;
    if (x(t) + room < width) g.fillText(label, x(t) + (x(t) < 2 ? 0 : 3), 11);
  }
}

function drawLane(p, lane, y, chosen) {
  const top = y + 2, bottom = y + laneHeight - 4;
  p.g.fillStyle = p.colours.lane;
  p.g.fillRect(0, top, p.width, bottom - top);
  const inner = lane.send.length + lane.back.length > 0 ? stripHeight + 1 : 0;
  strip(p, lane.send, top, stripHeight, 1);
  strip(p, lane.body, top + inner, bottom - top - 2 * inner, lane.rows);
  strip(p, lane.back, bottom - stripHeight, stripHeight, 1);
  for (const e of lane.events) mark(p, e, top, bottom);
  if (chosen) {
    p.g.strokeStyle = p.colours.accent;
    p.g.lineWidth = 1;
    p.g.strokeRect(0.5, top - 0.5, p.width - 1, bottom - top + 1);
  }
}

// strip draws spans in a band. Of those below a pixel and a half it adds up how much of each pixel they take.
function strip(p, spans, y, height, rows) {
  const { g, view, width, x, colours } = p;
  const columns = new Map();
  const pixel = (view.to - view.from) / width;
  for (let i = firstVisible(spans, view.from); i < spans.length && spans[i].begin < view.to; i++) {
    const s = spans[i];
    if (s.end <= view.from) continue;
    if (s.end - s.begin < 1.5 * pixel) {
      sumUp(columns, Math.floor(x(s.begin)), kinds.indexOf(s.kind), (s.end - s.begin) / pixel / rows);
      continue;
    }
    const from = Math.max(x(s.begin), -2), to = Math.min(x(s.end), width + 2);
    const gap = to - from > 4 ? 0.5 : 0;
    const [top, high] = [y + (s.row * height) / rows, Math.max(height / rows - (rows > 1 ? 0.5 : 0), 1)];
    g.fillStyle = colours[s.kind];
    g.fillRect(from, top, to - from - gap, high);
    if (s.chunk?.lost) hatch(p, from, top, to - from - gap, high);
  }
  for (const [column, sums] of columns) {
    let base = y + height;
    const all = sums.reduce((a, b) => a + b, 0), scale = height / Math.max(all, 1);
    for (const [k, sum] of sums.entries()) {
      if (sum === 0) continue;
      const high = all < 0.12 ? (sum / all) * 2 : sum * scale; // what is there at all is to be seen
      g.fillStyle = colours[kinds[k]];
      g.fillRect(column, base - high, 1, high);
      base -= high;
    }
  }
}

function sumUp(columns, column, kind, part) {
  if (!columns.has(column)) columns.set(column, new Float64Array(kinds.length));
  columns.get(column)[kind] += part;
}

function hatch({ g, colours }, x, y, width, height) {
  g.save();
  g.beginPath();
  g.rect(x, y, width, height);
  g.clip();
  g.strokeStyle = colours.bad;
  g.lineWidth = 2;
  for (let at = x - height; at < x + width; at += 6) {
    g.beginPath();
    g.moveTo(at, y + height);
    g.lineTo(at + height, y);
    g.stroke();
  }
  g.restore();
}

// mark draws an event: a cross where a process died, a triangle where one started, a stroke for all else.
function mark({ g, x, width, colours }, event, top, bottom) {
  const at = x(event.at_ns), middle = (top + bottom) / 2;
  if (at < -8 || at > width + 8) return;
  g.lineWidth = 1;
  if (event.kind === "died" || event.kind === "killed" || event.kind === "lost") {
    const r = event.kind === "lost" ? 3 : 6;
    for (const [ink, wide] of [[colours.panel, 6], [colours.bad, 2.5]]) {
      g.strokeStyle = ink;
      g.lineWidth = wide;
      g.beginPath();
      if (r === 6) { g.moveTo(at, top); g.lineTo(at, bottom); }
      g.moveTo(at - r, middle - r); g.lineTo(at + r, middle + r);
      g.moveTo(at - r, middle + r); g.lineTo(at + r, middle - r);
      g.stroke();
    }
  } else if (event.kind === "started") {
    g.fillStyle = colours.text;
    g.beginPath();
    g.moveTo(at, top); g.lineTo(at + 6, top); g.lineTo(at, top + 7);
    g.fill();
  } else {
    g.fillStyle = event.kind === "ready" ? colours.strong : colours.text;
    g.fillRect(at - 0.5, top, 1, bottom - top);
  }
}

// outline shows all of a chunk, and links the parent's part with the worker's.
function outline({ g, x, width, colours }, lanes, chunk) {
  const ends = [];
  for (const [i, lane] of lanes.entries()) {
    const own = [...lane.body, ...lane.send, ...lane.back].filter((s) => s.chunk === chunk);
    if (own.length === 0) continue;
    const y = axisHeight + i * laneHeight + 1;
    const body = own.filter((s) => !onTheWay.has(s.kind));
    for (const list of [own, body]) {
      if (list.length === 0) continue;
      const from = Math.max(x(Math.min(...list.map((s) => s.begin))), -9), to = Math.min(x(Math.max(...list.map((s) => s.end))), width + 9);
      g.strokeStyle = colours.text;
      g.lineWidth = list === body ? 2 : 1;
      g.strokeRect(from - 1, y, Math.max(to - from, 1) + 2, laneHeight - 4);
      if (list === body) ends.push([from, to, y + laneHeight / 2 - 2]);
    }
  }
  if (ends.length < 2) return;
  g.setLineDash([3, 3]);
  g.beginPath();
  g.moveTo(ends[0][1], ends[0][2]);
  g.lineTo(ends[1][0], ends[1][2]);
  g.stroke();
  g.setLineDash([]);
}
