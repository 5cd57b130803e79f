// Where the parts of a part go in a rectangle, and how they are called. What is here touches no element.

const tileLimit = 120; // tiles of one part

// divide returns what a part consists of: its parts, what of it is in none of them, and small ones as one.
function divide(part, area) {
  const all = (part.parts ?? []).filter((p) => p.bytes > 0 || p.error).map((p) => ({ part: p, bytes: Math.max(p.bytes, 1) }));
  const rest = part.bytes - all.reduce((sum, p) => sum + p.bytes, 0);
  if (all.length > 0 && rest > 0) all.push({ part: { name: "(itself)", bytes: rest, note: "what is in none of its parts" }, bytes: rest });
  all.sort((a, b) => b.bytes - a.bytes);
  const total = all.reduce((sum, p) => sum + p.bytes, 0);
  let fits = all.findIndex((p, i) => i >= tileLimit || (p.bytes / total) * area < 60);
  if (fits < 0 || all.length - fits < 2) return all;
  if (all[fits].part.error) fits++;
  const small = all.slice(fits);
  const sum = small.reduce((n, p) => n + p.bytes, 0);
  const error = small.find((p) => p.part.error)?.part.error;
  return [...all.slice(0, fits), { part: { name: `(${number(small.length)} smaller)`, bytes: sum, error }, bytes: sum }];
}

// squarify lays out pieces, the largest first, in rows that keep them close to squares: Bruls, Huizing and van Wijk,
// "Squarified Treemaps", 2000. It returns a rectangle for each.
function squarify(pieces, x, y, width, height) {
  const total = pieces.reduce((sum, p) => sum + p.bytes, 0);
  const scale = total > 0 ? (width * height) / total : 0;
  const out = [];
  for (let at = 0; at < pieces.length;) {
    const side = Math.min(width, height);
    let row = 1, sum = pieces[at].bytes * scale;
    let worst = ratio(sum, sum, sum, side);
    while (at + row < pieces.length) {
      const next = pieces[at + row].bytes * scale;
      const r = ratio(pieces[at].bytes * scale, next, sum + next, side);
      if (r > worst) break;
      worst = r;
      sum += next;
      row++;
    }
    const depth = side > 0 ? sum / side : 0;
    let along = 0;
    for (const p of pieces.slice(at, at + row)) {
      const length = depth > 0 ? (p.bytes * scale) / depth : 0;
      out.push(width >= height
        ? { ...p, x, y: y + along, width: depth, height: length }
        : { ...p, x: x + along, y, width: length, height: depth });
      along += length;
    }
    if (width >= height) { x += depth; width -= depth; } else { y += depth; height -= depth; }
    at += row;
  }
  return out;
}

// ratio returns how far the longest and the shortest of a row are from squares.
function ratio(largest, smallest, sum, side) {
  const s2 = sum * sum, w2 = side * side;
  return Math.max((w2 * largest) / s2, s2 / (w2 * smallest));
}

// neighbour returns the tile next to one in a direction: near, and not far to the side.
function neighbour(tiles, from, key) {
  const centre = (t) => [t.x + t.width / 2, t.y + t.height / 2];
  const [x, y] = centre(from);
  let best, least = Infinity;
  for (const t of tiles) {
    const [dx, dy] = [centre(t)[0] - x, centre(t)[1] - y];
    const [ahead, aside] = { ArrowRight: [dx, dy], ArrowLeft: [-dx, dy], ArrowDown: [dy, dx], ArrowUp: [-dy, dx] }[key];
    const cost = ahead + 2 * Math.abs(aside);
    if (t !== from && ahead > 1 && cost < least) [best, least] = [t, cost];
  }
  return best;
}

// about returns what there is to say about a part: path, type, entries, bytes and its share.
function about(path, part, total) {
  return [
    path, part.type, part.entries && plural(part.entries, "entry", "entries"),
    part.count > 1 && plural(part.count, "value"), bytes(part.bytes), share(part.bytes, total) + " of all",
    part.mapped && bytes(part.mapped) + " in shared memory", part.note, part.error && "can’t be sent: " + part.error,
  ].filter(Boolean);
}
