// The page is whole without what is done here: tables get sorted, pictures drawn, and one bill shown at a time.

const { bills } = JSON.parse(document.getElementById("document").textContent);
const sections = [...document.querySelectorAll("[data-bill]")];
const pictured = new Set();

// picture draws the pictures of a bill, when it is shown for the first time.
function picture(section) {
  if (pictured.has(section)) return;
  pictured.add(section);
  const bill = bills[sections.indexOf(section)];
  for (const box of section.querySelectorAll("[data-treemap]")) treemap(box, bill.parts ?? []);
  for (const box of section.querySelectorAll("[data-timeline]")) timeline(box, bill);
}

for (const table of document.querySelectorAll("table[data-sortable]")) sortable(table);
const list = document.querySelector("[data-tabs]");
if (list) tabs(list, sections, picture);
else sections.forEach(picture);
