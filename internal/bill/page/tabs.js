// With several bills, one is shown at a time.

function tabs(list, sections, shown) {
  const buttons = sections.map((section, i) => {
    section.setAttribute("role", "tabpanel");
    return make("button", {
      type: "button", role: "tab", id: section.id + "-tab", "aria-controls": section.id,
      onclick: () => choose(i), onkeydown: (e) => move(e, i),
    }, section.querySelector(".title").textContent);
  });

  function choose(at) {
    for (const [i, button] of buttons.entries()) {
      button.setAttribute("aria-selected", i === at);
      button.tabIndex = i === at ? 0 : -1;
      sections[i].hidden = i !== at;
    }
    shown(sections[at]);
  }

  function move(event, at) {
    const to = {
      ArrowRight: (at + 1) % buttons.length, ArrowLeft: (at + buttons.length - 1) % buttons.length, Home: 0, End: buttons.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(to);
    buttons[to].focus();
  }

  list.setAttribute("role", "tablist");
  list.setAttribute("aria-label", "Bills");
  list.append(...buttons);
  list.hidden = false;
  document.body.classList.add("tabbed");
  choose(0);
}
