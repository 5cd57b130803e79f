// The timeline on the page: zoomed and moved with the mouse, with fingers, and with the keyboard.

function timeline(box, bill) {
  const { lanes, from, to } = lanesOf(bill);
  const view = { from, to };
  const chosen = { lane: undefined, item: undefined };
  let due = false;
  const canvas = make("canvas", { "aria-hidden": "true", onwheel: wheel, onpointermove: hover, onpointerdown: press });
  const names = make("div", { class: "names", "aria-hidden": "true" }, ...lanes.map(nameOf));
  const detail = make("p", { class: "detail", "aria-live": "polite" });
  const field = make("div", {
    class: "lanes", role: "application", tabindex: 0, "aria-label": `Timeline of ${plural(lanes.length, "process", "processes")}`,
    "aria-roledescription": "timeline", onkeydown: key,
  }, names, canvas);
  const tool = (label, title, action) => make("button", { type: "button", "aria-label": title, title, onclick: action }, label);
  box.append(
    make("div", { class: "tools", role: "group", "aria-label": "Timeline" },
      tool("+", "Zoom in", () => zoom(2)), tool("−", "Zoom out", () => zoom(0.5)), tool("all", "Show all", all),
      tool("‹ chunk", "Previous chunk", () => step(-1)), tool("chunk ›", "Next chunk", () => step(1))),
    field, detail,
    make("p", { class: "keys" }, ...keys(["+", ""], ["−", "or wheel: zoom"], ["←", ""], ["→", "or drag: move"], ["↑", ""], ["↓", "process"],
      ["P", ""], ["N", "previous, next chunk"], ["Enter", "zoom to it"], ["0", "all"])),
  );
  box.hidden = false;
  statement(detail, [summary()]);
  new ResizeObserver(update).observe(canvas.parentElement);
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", () => draw(canvas, lanes, view, chosen));

  function summary() {
    const lost = lanes.flatMap((l) => l.events).filter((e) => e.kind === "died" || e.kind === "killed").length;
    return `${plural(bill.chunks?.length ?? 0, "chunk")} in ${duration(to - from)}` + (lost ? `, ${plural(lost, "death")}` : "");
  }

  // update draws once before the next frame, however often it is asked to.
  function update() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (canvas.clientWidth > 0) draw(canvas, lanes, view, chosen);
      for (const [i, name] of [...names.children].entries()) name.classList.toggle("chosen", lanes[i] === chosen.lane);
    });
  }

  // look shows a stretch of time, within what there is.
  function look(begin, length) {
    length = Math.min(Math.max(length, 100), to - from);
    view.from = Math.min(Math.max(begin, from), to - length);
    view.to = view.from + length;
    field.dataset.view = Math.round(view.from) + " " + Math.round(view.to);
    update();
  }

  function zoom(factor, around) {
    const item = chosen.item?.at;
    const centre = around ?? (item >= view.from && item <= view.to ? item : (view.from + view.to) / 2);
    const length = (view.to - view.from) / factor;
    look(centre - (centre - view.from) / factor, length);
  }

  function move(part) { look(view.from + part * (view.to - view.from), view.to - view.from); }

  function all() { look(from, to - from); }

  function choose(lane, item) {
    Object.assign(chosen, { lane, item });
    if (item) {
      statement(detail, tell(lane, item));
      if (item.at < view.from || item.at > view.to) look(item.at - (view.to - view.from) / 2, view.to - view.from);
    } else if (lane) {
      const sum = (kind) => lane.body.reduce((n, s) => n + (s.kind === kind ? s.end - s.begin : 0), 0);
      statement(detail, [lane.name, plural(lane.items.filter((i) => i.chunk).length, "chunk"),
        ...phases.filter(([kind]) => sum(kind) > 0).map(([kind, name]) => `${name} ${duration(sum(kind))}`),
        ...lane.events.filter((e) => e.kind === "died" || e.kind === "killed").map((e) => `${e.kind} at ${duration(e.at_ns)}: ${e.text ?? ""}`)]);
    } else statement(detail, [summary()]);
    update();
  }

  // step goes to the next thing in the lane, from the one that is chosen or else from where one looks.
  function step(by) {
    const lane = chosen.lane ?? lanes.find((l) => l.items.some((i) => i.chunk)) ?? lanes[0];
    if (!lane || lane.items.length === 0) return;
    let at = lane.items.indexOf(chosen.item);
    if (at < 0) at = lane.items.findIndex((i) => i.at >= view.from) - (by > 0 ? 1 : 0);
    choose(lane, lane.items[Math.min(Math.max(at + by, 0), lane.items.length - 1)]);
  }

  function zoomToChosen() {
    const chunk = chosen.item?.chunk;
    if (!chunk) return;
    const spans = phases.map(([kind]) => chunk[kind]).filter((s) => s?.ns > 0);
    const begin = Math.min(...spans.map((s) => s.begin_ns)), end = Math.max(...spans.map((s) => s.begin_ns + s.ns));
    look(begin - (end - begin) * 0.1, (end - begin) * 1.2);
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = lanes.indexOf(chosen.lane);
    const actions = {
      "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), "0": all,
      ArrowLeft: () => move(-0.15), ArrowRight: () => move(0.15), Home: () => move(-1e9), End: () => move(1e9),
      ArrowUp: () => choose(lanes[Math.max(at - 1, 0)]), ArrowDown: () => choose(lanes[Math.min(at + 1, lanes.length - 1)]),
      n: () => step(1), p: () => step(-1), Enter: zoomToChosen, Escape: () => choose(),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  const timeAt = (event) => view.from + ((event.clientX - canvas.getBoundingClientRect().left) / canvas.clientWidth) * (view.to - view.from);

  // wheel zooms once the timeline is in focus, or with Ctrl: else it scrolls the page. Sideways it always moves.
  function wheel(event) {
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) move(event.deltaX / canvas.clientWidth);
    else if (event.ctrlKey || document.activeElement === field) zoom(Math.exp(-event.deltaY / 300), timeAt(event));
    else return;
    event.preventDefault();
  }

  function under(event) {
    const lane = lanes[Math.floor((event.clientY - canvas.getBoundingClientRect().top - axisHeight) / laneHeight)];
    if (!lane) return {};
    const time = timeAt(event), pixel = (view.to - view.from) / canvas.clientWidth;
    const near = (e) => Math.abs(e.at_ns - time) < 6 * pixel;
    const happened = lane.events.find((e) => near(e) && e.kind !== "ready") ?? lane.events.find(near);
    if (happened) return { lane, item: lane.items.find((i) => i.event === happened) };
    const span = find(lane, time, 2 * pixel);
    return { lane, item: span && { at: span.begin, chunk: span.chunk, span, ...lane.items.find((i) => span.chunk && i.chunk === span.chunk) } };
  }

  function hover(event) {
    const { lane, item } = under(event);
    if (item && event.buttons === 0) statement(detail, tell(lane, item));
  }

  // press follows the pointers that are down: one drags, two pinch, and one that doesn't move chooses what is there.
  const down = new Map();
  function press(event) {
    field.focus({ preventScroll: true });
    down.set(event.pointerId, event);
    canvas.setPointerCapture(event.pointerId);
    if (down.size > 1) return;
    let moved = 0;
    const drag = (e) => {
      const before = down.get(e.pointerId), others = [...down.values()].filter((o) => o.pointerId !== e.pointerId);
      if (!before) return;
      moved += Math.abs(e.clientX - before.clientX);
      if (others.length > 0) {
        const apart = (a) => Math.max(Math.abs(a.clientX - others[0].clientX), 10);
        zoom(apart(e) / apart(before), timeAt(e));
      } else if (moved > 3) move((before.clientX - e.clientX) / canvas.clientWidth);
      down.set(e.pointerId, e);
    };
    const up = (e) => {
      down.delete(e.pointerId);
      if (down.size > 0) return;
      canvas.removeEventListener("pointermove", drag);
      for (const name of ["pointerup", "pointercancel"]) canvas.removeEventListener(name, up);
      if (moved <= 3 && e.type === "pointerup") {
        const { lane, item } = under(e);
        choose(lane, lane && (lane.items.find((i) => item?.chunk && i.chunk === item.chunk) ?? item));
      }
    };
    canvas.addEventListener("pointermove", drag);
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, up);
  }
}

// nameOf labels a lane. Where there is little room, a process number is enough for all but the parent.
function nameOf(lane) {
  if (!lane.kind || lane.kind === "parent") return make("div", { title: lane.name }, lane.kind || lane.name);
  return make("div", { title: lane.name }, make("span", { class: "known" }, lane.kind + " "), String(lane.pid));
}
