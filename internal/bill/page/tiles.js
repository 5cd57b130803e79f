// The treemap on the page: tiles one can go into and come out of, with the mouse and with the keyboard.

function treemap(box, parts) {
  const root = { name: "all", parts, bytes: parts.reduce((sum, p) => sum + Math.max(p.bytes, 0), 0) };
  let way = [root]; // from the root to the part that is shown
  let tiles = [];
  const crumbs = make("ol", { class: "crumbs" });
  const area = make("div", { class: "tiles", role: "group", onkeydown: key, onclick: click, onpointerover: hover, onpointerleave: () => describe(current()) });
  const detail = make("p", { class: "detail", "aria-live": "polite" });
  box.append(
    make("nav", { "aria-label": "Path" }, crumbs), area, detail,
    make("p", { class: "keys" }, ...keys(["arrows", "choose"], ["Enter", "go in"], ["Esc", "go out"])),
  );
  box.hidden = false;
  new ResizeObserver(() => area.clientWidth > 0 && area.clientWidth !== area.drawn && show(current()?.part)).observe(area);

  function current() { return tiles.find((t) => t.button.tabIndex === 0); }

  // path is how one gets to a part of the one that is shown.
  function path(...names) {
    const [first, ...rest] = [...way.slice(1).map((p) => p.name), ...names];
    return shortName(first ?? "all") + (rest.length ? " › " + rest.join("") : "");
  }

  // show draws the part at the end of the way. The tile of a chosen part, or else the first, is the one in focus.
  function show(chosen) {
    const part = way.at(-1), focused = area.contains(document.activeElement);
    area.classList.toggle("low", divide(part, 1e9).length === 0);
    const width = area.clientWidth, height = area.clientHeight;
    area.drawn = width;
    const pieces = divide(part, width * height);
    tiles = squarify(pieces.length ? pieces : [{ part, bytes: 1 }], 0, 0, width, height);
    for (const t of tiles) tile(t);
    area.replaceChildren(...tiles.map((t) => t.element));
    area.setAttribute("aria-label", `Parts of ${path()}, ${bytes(part.bytes)}`);
    crumbs.replaceChildren(...way.map((p, i) => make("li", {}, i === way.length - 1
      ? make("span", { "aria-current": "location" }, shortName(p.name))
      : make("button", { type: "button", onclick: () => leave(i) }, shortName(p.name)))));
    const first = tiles.find((t) => t.part === chosen) ?? tiles[0];
    choose(first, focused);
  }

  function tile(t) {
    const named = way.at(-1) === t.part ? [] : [t.part.name];
    t.path = path(...named);
    const enter = enterable(t.part), [, ...facts] = about(t.path, t.part, root.bytes);
    const spoken = [shortName(t.part.name || "all") + " " + bytes(t.part.bytes), ...facts.filter((f) => f !== bytes(t.part.bytes))];
    t.button = make("button", { type: "button", tabindex: -1, "aria-label": spoken.join(", ") + (enter ? ". Enter goes in" : "") });
    t.element = make("div", {
      class: "tile" + (enter ? " enter" : "") + (t.part.error ? " unsendable" : ""), title: [t.path, ...facts].join("\n"),
    }, t.button);
    place(t.element, t, 1.5);
    label(t.button, t);
    fill(t.element, t, 1);
  }

  // fill draws the parts of a part in its tile, where there is room.
  function fill(e, t, depth) {
    const width = t.width - 9, height = t.height - 27;
    if (depth > 3 || width < 24 || height < 20) return;
    for (const inner of squarify(divide(t.part, width * height), 4, 21, width, height)) {
      const s = make("span", { class: "in" + depth + (inner.part.error ? " unsendable" : ""), "aria-hidden": "true" });
      inner.path = t.path + (way.length === 1 && depth === 1 ? " › " : "") + inner.part.name;
      s.title = about(inner.path, inner.part, root.bytes).join("\n");
      s.described = inner;
      place(s, inner, 1);
      label(s, inner);
      fill(s, inner, depth + 1);
      e.append(s);
    }
  }

  function place(e, t, gap) {
    const rectangle = { left: t.x, top: t.y, width: Math.max(t.width - gap, 1), height: Math.max(t.height - gap, 1) };
    for (const [name, value] of Object.entries(rectangle)) e.style[name] = value + "px";
  }

  function label(e, t) {
    if (t.width > 34 && t.height > 20) e.append(make("b", {}, shortName(t.part.name || "all") + " ", make("i", {}, bytes(t.part.bytes))));
  }

  function enterable(part) { return part !== way.at(-1) && (part.parts ?? []).length > 0; }

  function choose(t, focus) {
    if (!t) return;
    for (const other of tiles) other.button.tabIndex = other === t ? 0 : -1;
    if (focus) t.button.focus();
    describe(t);
  }

  function describe(t) { if (t) statement(detail, about(t.path, t.part, root.bytes)); }

  function enter(t) {
    if (!enterable(t.part)) return;
    way.push(t.part);
    show();
  }

  function leave(depth) {
    if (depth < 0 || depth >= way.length - 1) return;
    const from = way[depth + 1];
    way = way.slice(0, depth + 1);
    show(from);
    area.querySelector("[tabindex='0']")?.focus();
  }

  function key(event) {
    const at = current();
    if (!at || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) choose(neighbour(tiles, at, event.key), true);
    else if (event.key === "Home") choose(tiles[0], true);
    else if (event.key === "End") choose(tiles.at(-1), true);
    else if (event.key === "Escape" || event.key === "Backspace") leave(way.length - 2);
    else return; // Enter and the space bar press the tile
    event.preventDefault();
  }

  function click(event) {
    const t = tiles.find((t) => t.element.contains(event.target));
    if (!t) return;
    choose(t, true);
    enter(t);
  }

  function hover(event) {
    const t = tiles.find((t) => t.element.contains(event.target));
    if (t) describe(event.target.closest("span")?.described ?? t);
  }
}

// keys says which key does what.
function keys(...list) {
  return list.flatMap(([name, does]) => [make("kbd", {}, name), " " + does + "  "]);
}
