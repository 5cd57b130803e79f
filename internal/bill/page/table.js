// Tables that are sorted by the column whose head is pressed: first the largest, then the smallest, then as they were.

function sortable(table) {
  const heads = [...table.tHead.rows].at(-1).cells;
  const rows = [...table.tBodies[0].rows];
  for (const [i, head] of [...heads].entries()) {
    if (head.tagName !== "TH") continue;
    const button = make("button", { type: "button", onclick: () => sortBy(table, rows, heads, i) });
    button.append(...head.childNodes);
    head.append(button);
  }
}

function sortBy(table, rows, heads, column) {
  const head = heads[column];
  const value = (row) => row.cells[column].dataset.v;
  const figures = rows.every((row) => value(row) !== undefined);
  const orders = figures ? ["descending", "ascending"] : ["ascending", "descending"];
  const order = orders[orders.indexOf(head.getAttribute("aria-sort")) + 1];
  for (const h of heads) h.removeAttribute("aria-sort");
  const sorted = [...rows];
  if (order) {
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    sorted.sort((a, b) => sign * (figures
      ? Number(value(a)) - Number(value(b))
      : a.cells[column].textContent.localeCompare(b.cells[column].textContent, "en", { numeric: true })));
  }
  table.tBodies[0].append(...sorted);
}
