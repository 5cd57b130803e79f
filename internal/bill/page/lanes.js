// What happened when, by process. What is here touches no element.

const phases = [
  ["encode", "encode", "parent"], ["send", "send", "worker"], ["decode", "decode", "worker"], ["run", "run", "worker"],
  ["reencode", "encode results", "worker"], ["back", "back", "worker"],
];
const onTheWay = new Set(["send", "back"]);
const rowLimit = 4; // of what overlaps in one lane

// lanesOf returns a lane for each process, the parent first, and the time from the first to the last of them.
function lanesOf(bill) {
  const lanes = new Map();
  const lane = (pid) => {
    if (!lanes.has(pid)) lanes.set(pid, { pid, name: pid ? "process " + pid : "unknown", body: [], send: [], back: [], events: [], rows: 1 });
    return lanes.get(pid);
  };
  for (const p of bill.processes ?? []) {
    if (!p.pid) continue;
    const l = lane(p.pid);
    l.kind = p.name;
    l.name = p.name + " " + p.pid;
    add(l.body, "starting", { begin_ns: p.began_ns, ns: p.starting_ns });
    add(l.body, "initialising", { begin_ns: p.began_ns + p.starting_ns, ns: p.initialising_ns });
  }
  for (const chunk of bill.chunks ?? []) {
    for (const [kind, , side] of phases) {
      const l = lane(chunk[side]);
      add(onTheWay.has(kind) ? l[kind] : l.body, kind, chunk[kind], chunk);
    }
    if (chunk.lost) lane(chunk.worker).events.push({ at_ns: lastMoment(chunk), kind: "lost", text: chunk.lost, chunk });
  }
  for (const e of bill.events ?? []) lane(e.pid).events.push(e);
  let from = Infinity, to = -Infinity;
  for (const l of lanes.values()) {
    for (const list of [l.body, l.send, l.back]) {
      arrange(list, list === l.body ? rowLimit : 1);
      for (const s of list) [from, to] = [Math.min(from, s.begin), Math.max(to, s.end)];
    }
    l.rows = l.body.reduce((n, s) => Math.max(n, s.row + 1), 1);
    l.events.sort((a, b) => a.at_ns - b.at_ns);
    for (const e of l.events) [from, to] = [Math.min(from, e.at_ns), Math.max(to, e.at_ns)];
    l.items = itemsOf(l);
  }
  if (from > to) [from, to] = [0, 1];
  if (from > 0 && from < to / 4) from = 0;
  return { lanes: [...lanes.values()], from, to: Math.max(to, from + 1000) };
}

function add(list, kind, span, chunk) {
  if (span?.ns > 0) list.push({ kind, begin: span.begin_ns, end: span.begin_ns + span.ns, chunk, row: 0 });
}

function lastMoment(chunk) {
  return Math.max(...phases.map(([kind]) => chunk[kind]).filter((s) => s && (s.ns || s.begin_ns)).map((s) => s.begin_ns + s.ns), chunk.encode.begin_ns);
}

// arrange sorts spans and gives each a row that is free, as far as there are rows; latest is the end of all before it.
function arrange(spans, rows) {
  spans.sort((a, b) => a.begin - b.begin);
  const free = [];
  let latest = -Infinity;
  for (const s of spans) {
    let row = free.findIndex((end) => end <= s.begin);
    if (row < 0) row = free.length < rows ? free.length : free.indexOf(Math.min(...free));
    free[row] = s.end;
    s.row = row;
    s.latest = latest = Math.max(latest, s.end);
  }
}

// itemsOf returns what one can step through in a lane: each chunk once, and each event.
function itemsOf(lane) {
  const seen = new Set();
  const chunks = [...lane.body, ...lane.send].filter((s) => s.chunk && !seen.has(s.chunk) && seen.add(s.chunk));
  return [
    ...chunks.map((s) => ({ at: s.begin, chunk: s.chunk })), ...lane.events.map((event) => ({ at: event.at_ns, event })),
  ].sort((a, b) => a.at - b.at);
}

// firstVisible returns the place of the first span that isn't over at a time.
function firstVisible(spans, time) {
  let low = 0, high = spans.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (spans[middle].latest > time) high = middle; else low = middle + 1;
  }
  return low;
}

// find returns the span of a lane at a time, or near it: what the process did comes before what was on the way to it.
function find(lane, time, near) {
  for (const list of [lane.body, lane.send, lane.back]) {
    for (let i = firstVisible(list, time - near); i < list.length && list[i].begin <= time + near; i++) {
      if (list[i].end >= time - near) return list[i];
    }
  }
  return undefined;
}

// tell returns the facts of a chunk, of an event, or of what a worker did before it had chunks.
function tell(lane, item) {
  const { event, chunk, span } = item;
  if (event) return [`${lane.name} ${event.kind === "lost" ? "lost a chunk" : event.kind}`, "at " + duration(event.at_ns), event.text];
  if (!chunk) return [`${lane.name} was ${span.kind}`, "for " + duration(span.end - span.begin)];
  return [
    `chunk ${chunk.id} of ${shortName(chunk.function)}`, lane.name, plural(chunk.tasks, "task"),
    `${bytes(chunk.bytes)} there, ${bytes(chunk.result_bytes)} back`,
    ...phases.filter(([kind]) => chunk[kind]?.ns > 0).map(([kind, name]) => `${name} ${duration(chunk[kind].ns)}`),
    chunk.site, chunk.estimated && "places inferred", chunk.lost && "lost: " + chunk.lost,
  ];
}
