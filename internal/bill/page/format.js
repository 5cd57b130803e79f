// Figures in the same form as the tables have them, and elements.

const group = new Intl.NumberFormat("en-US");

function number(n) { return group.format(n); }

function bytes(n) {
  if (n < 1e4) return number(n) + " B";
  if (n < 1e6) return (n / 1e3).toFixed(1) + " kB";
  if (n < 1e9) return (n / 1e6).toFixed(1) + " MB";
  return (n / 1e9).toFixed(2) + " GB";
}

function duration(ns) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (Math.abs(ns) >= size) return Number((ns / size).toPrecision(3)) + " " + unit;
  }
  return Math.round(ns) + " ns";
}

function share(part, whole) { return whole > 0 ? (100 * part / whole).toFixed(1) + " %" : ""; }

function plural(n, one, many = one + "s") { return number(n) + " " + (n === 1 ? one : many); }

// shortName leaves the folders of a Go package out of a function's name.
function shortName(name) {
  const base = name.split("[", 1)[0];
  return name.slice(base.lastIndexOf("/") + 1);
}

// make returns a new element. What is put in it as text stays text, whatever it looks like.
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) e.setAttribute(name, value);
  }
  e.append(...children);
  return e;
}

// statement puts facts, of which the first matters most, in a line of their own.
function statement(line, facts) {
  const [first, ...rest] = facts.filter(Boolean);
  line.replaceChildren(make("b", {}, first ?? ""), ...rest.map((f) => " · " + f));
}

function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim(); }
