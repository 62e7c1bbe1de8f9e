"use strict";
// Tabs, theme, sortable tables, filters, and what links charts to tables.
const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
const byId = id => document.getElementById(id);
const escapeText = text => String(text).replace(/[&<>"']/g, c => "&#" + c.charCodeAt(0) + ";");
const shownHooks = {};
const tabs = all("[role=tab]");
function show(name, focus) {
  for (const tab of tabs) {
    const on = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
    byId(tab.getAttribute("aria-controls")).classList.toggle("shown", on);
    if (on && focus) tab.focus();
  }
  for (const hook of shownHooks[name] || []) hook();
}
function follow() {
  const target = byId(decodeURIComponent(location.hash.slice(1)));
  const section = target && target.closest("section");
  show(section ? section.id : tabs[0].getAttribute("aria-controls"), false);
  if (!target || target === section) { window.scrollTo(0, 0); return; }
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView({block: "start"});
  const summary = target.querySelector("summary");
  if (summary) summary.focus({preventScroll: true});
}
tabs.forEach((tab, i) => {
  tab.addEventListener("click", event => { event.preventDefault(); history.replaceState(null, "", tab.getAttribute("href")); show(tab.getAttribute("aria-controls"), false); window.scrollTo(0, 0); });
  tab.addEventListener("keydown", event => {
    const to = {ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    history.replaceState(null, "", next.getAttribute("href"));
    show(next.getAttribute("aria-controls"), true);
  });
});
window.addEventListener("hashchange", follow);

const themes = ["system", "light", "dark"];
const themeButton = byId("theme");
function setTheme(name) {
  if (name === "system") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  themeButton.textContent = "Theme: " + name;
  try { if (name === "system") localStorage.removeItem("graphcore-theme"); else localStorage.setItem("graphcore-theme", name); } catch (error) { /* a page without storage forgets */ }
}
themeButton.addEventListener("click", () => setTheme(themes[(themes.indexOf(document.documentElement.dataset.theme || "system") + 1) % 3]));
setTheme(document.documentElement.dataset.theme || "system");

for (const table of all("table.sortable")) {
  all("thead th", table).forEach((head, column) => {
    head.tabIndex = 0;
    const sort = () => {
      const rising = head.getAttribute("aria-sort") === "descending" || (!head.hasAttribute("aria-sort") && !head.classList.contains("n"));
      all("th", table).forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const key = row => { const cell = row.cells[column]; const text = cell.dataset.value ?? cell.textContent.trim(); const number = Number(text.replace(/,/g, "")); return text === "" ? -1 : Number.isNaN(number) ? text : number; };
      const rows = Array.from(table.tBodies[0].rows).map((row, i) => [key(row), i, row]);
      rows.sort((a, b) => ((typeof a[0] === typeof b[0] ? (a[0] > b[0]) - (a[0] < b[0]) : (typeof a[0] === "string") - (typeof b[0] === "string")) * (rising ? 1 : -1)) || a[1] - b[1]);
      table.tBodies[0].append(...rows.map(row => row[2]));
    };
    head.addEventListener("click", sort);
    head.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
  });
}
for (const input of all("[data-filter]")) {
  input.addEventListener("input", () => {
    const wanted = input.value.toLowerCase();
    for (const row of all("table.sortable tbody tr, .edges li", byId(input.dataset.filter))) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

const blockInfo = byId("block-info");
function pickBlock(number, row) {
  all("#memory .picked").forEach(one => one.classList.remove("picked"));
  const rectangle = byId("memory").querySelector(`rect[data-block="${number}"]`);
  if (rectangle) { rectangle.classList.add("picked"); const title = rectangle.querySelector("title"); blockInfo.textContent = `Block ${number}: ` + (title ? title.textContent : "one of the smallest"); }
  const own = row || byId("memory").querySelector(`tr[data-row-block="${number}"]`);
  if (own) own.classList.add("picked");
}
byId("memory").addEventListener("pointerover", event => {
  const found = event.target.closest("[data-block], [data-row-block]");
  if (found) pickBlock(found.dataset.block ?? found.dataset.rowBlock);
});
byId("kernels").addEventListener("click", event => {
  if (event.target.dataset && event.target.dataset.kernel !== undefined && event.target.tagName === "circle") location.hash = "kernel-" + event.target.dataset.kernel;
});

const zoom = byId("zoom");
if (zoom) {
  const line = document.querySelector(".timeline"), svg = line.querySelector("svg"), marks = all(".times span"), info = byId("call-info");
  const box = svg.viewBox.baseVal;
  const place = () => {
    const width = svg.getBoundingClientRect().width;
    for (const mark of marks) { const x = (Number(mark.dataset.x) + 4) / box.width * width - line.scrollLeft; mark.style.left = x + "px"; mark.hidden = x < 0 || x > line.clientWidth; }
  };
  const zoomed = () => {
    const before = svg.getBoundingClientRect().width || 1, middle = (line.scrollLeft + line.clientWidth / 2) / before;
    svg.style.width = 100 * 2 ** Number(zoom.value) + "%";
    svg.style.height = Math.min(box.height * 1.2, 320) + "px";
    line.scrollLeft = middle * svg.getBoundingClientRect().width - line.clientWidth / 2;
    place();
  };
  zoom.addEventListener("input", zoomed);
  line.addEventListener("scroll", place, {passive: true});
  window.addEventListener("resize", place);
  (shownHooks.profile ||= []).push(zoomed);
  const labels = new Map(all("#instructions tbody tr").map(row => [row.dataset.instruction, row]));
  line.addEventListener("pointerover", event => {
    const call = event.target.dataset.call;
    if (call === undefined) return;
    const [begin, seconds, items] = event.target.dataset.is.split(", ");
    const row = labels.get(call);
    all("#profile .picked").forEach(one => one.classList.remove("picked"));
    all(`rect[data-call="${call}"]`, line).forEach(one => one.classList.add("picked"));
    if (row) row.classList.add("picked");
    info.textContent = `Instruction ${call}${row ? ", " + row.cells[1].textContent : ""}: ${items} items in ${seconds}, from ${begin} on`;
  });
}
