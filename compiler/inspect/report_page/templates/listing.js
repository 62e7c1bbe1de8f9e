// A long text of which only the visible lines are in the page, and a graph's listing with its values marked.
const LINE = 19;
class Sheet {
  constructor(root, count, draw) {
    this.root = root; this.count = count; this.draw = draw; this.lines = new Map(); this.waiting = false; this.width = 0;
    this.sheet = document.createElement("div");
    this.sheet.className = "sheet";
    this.sheet.style.height = count * LINE + "px";
    root.replaceChildren(this.sheet);
    root.addEventListener("scroll", () => this.later(), {passive: true});
    new ResizeObserver(() => this.later()).observe(root);
  }
  later() { if (!this.waiting) { this.waiting = true; requestAnimationFrame(() => { this.waiting = false; this.update(false); }); } }
  update(again) {
    const height = this.root.clientHeight;
    if (!height) return;
    const first = Math.max(0, Math.floor(this.root.scrollTop / LINE) - 10), end = Math.min(this.count, Math.ceil((this.root.scrollTop + height) / LINE) + 10);
    for (const [i, line] of this.lines) if (again || i < first || i >= end) { line.remove(); this.lines.delete(i); }
    const fresh = document.createDocumentFragment();
    for (let i = first; i < end; i++) {
      if (this.lines.has(i)) continue;
      const line = document.createElement("div");
      line.className = "line"; line.style.top = i * LINE + "px"; line.dataset.line = i;
      this.draw(i, line);
      this.lines.set(i, line);
      fresh.append(line);
    }
    this.sheet.append(fresh);
    const width = this.sheet.scrollWidth;
    if (width > this.width) { this.width = width; this.sheet.style.width = width + "px"; }
  }
  reveal(i) {
    const top = i * LINE, height = this.root.clientHeight;
    if (top < this.root.scrollTop || top + LINE > this.root.scrollTop + height) this.root.scrollTop = Math.max(0, top - height / 3);
    this.update(true);
  }
}
const TOKEN = /(%\w+)|("(?:[^"\\]|\\.)*")|\b([a-z]+\d+\[[^\]]*\])|(\b[a-z_0-9]+)(?=\()|(\{[^{}]*\})/g;
class Listing {
  constructor(root) {
    this.root = root; this.id = root.id.replace("listing-", "");
    this.text = byId(root.dataset.text).textContent.replace(/^\n/, "").split("\n");
    if (this.text.at(-1) === "") this.text.pop();
    this.current = -1; this.value = null;
    this.sheet = new Sheet(root, this.text.length, (i, line) => this.draw(i, line));
    root.addEventListener("click", event => this.clicked(event));
    root.addEventListener("keydown", event => this.pressed(event));
    const input = document.querySelector(`[data-find="${this.id}"]`);
    this.status = document.querySelector(`[data-status="${this.id}"]`);
    input.addEventListener("keydown", event => { if (event.key === "Enter") { event.preventDefault(); this.find(input.value, event.shiftKey ? -1 : 1); } });
    input.addEventListener("input", () => { this.status.textContent = ""; });
    this.input = input;
    this.sheet.later();
  }
  // Values are numbered anew in each body: "scope" is the line that opened the body. Made when first needed.
  index() {
    if (this.scopes) return;
    this.scopes = []; this.defs = new Map(); this.uses = new Map();
    const open = [0];
    this.text.forEach((text, i) => {
      if (/^\s*\}/.test(text) && open.length > 1) open.pop();
      const scope = open.at(-1);
      this.scopes.push(scope);
      const equals = text.indexOf(" = "), head = /^\s*(input|variable) %/.test(text) ? text.length : /^\s*%/.test(text) ? equals : -1;
      for (const found of text.matchAll(/%\w+/g)) {
        const key = scope + found[0];
        if (found.index < head) this.defs.set(key, i);
        else { if (!this.uses.has(key)) this.uses.set(key, []); const list = this.uses.get(key); if (list.at(-1) !== i) list.push(i); }
      }
      if (/\{\s*$/.test(text)) open.push(i);
    });
  }
  draw(i, line) {
    const text = this.text[i];
    let html = `<span class="no">${i + 1}</span>`, at = 0;
    const active = this.value && this.scopes && this.scopes[i] === this.value.scope;
    for (const found of text.matchAll(TOKEN)) {
      html += escapeText(text.slice(at, found.index));
      const part = escapeText(found[0]);
      html += found[1] ? `<b${active && found[0] === this.value.name ? ' class="on"' : ""}>${part}</b>` : found[2] ? `<u>${part}</u>` : found[3] ? `<i>${part}</i>` : found[4] ? `<s>${part}</s>` : `<q>${part}</q>`;
      at = found.index + found[0].length;
    }
    line.innerHTML = html + escapeText(text.slice(at));
    if (i === this.current) line.classList.add("here");
    if (this.value) {
      const key = this.value.scope + this.value.name;
      if (this.defs.get(key) === i) line.classList.add("def");
      else if ((this.uses.get(key) || []).includes(i)) line.classList.add("use");
    }
  }
  clicked(event) {
    const line = event.target.closest(".line");
    if (!line) return;
    this.go(Number(line.dataset.line), event.target.tagName === "B" ? event.target.textContent : null);
  }
  go(i, name) {
    this.index();
    this.current = Math.max(0, Math.min(this.text.length - 1, i));
    const own = /^\s*(?:input |variable )?(%\w+)/.exec(this.text[this.current]);
    name = name || (own && own[1]);
    this.value = name ? {scope: this.scopes[this.current], name} : null;
    if (this.value) {
      const key = this.value.scope + name, made = this.defs.get(key), uses = this.uses.get(key) || [];
      this.status.textContent = `${name}: made in line ${made === undefined ? "?" : made + 1}, used in ${uses.length} line${uses.length === 1 ? "" : "s"}`;
    }
    this.sheet.reveal(this.current);
  }
  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20}[event.key];
    if (step) { event.preventDefault(); this.go(this.current < 0 ? Math.floor(this.root.scrollTop / LINE) : this.current + step); return; }
    if (event.key === "Home" || event.key === "End") { event.preventDefault(); this.go(event.key === "Home" ? 0 : this.text.length - 1); return; }
    if (event.key === "/") { event.preventDefault(); this.input.focus(); return; }
    if (this.current < 0 || (event.key !== "d" && event.key !== "u")) return;
    this.index();
    if (event.key === "u" && this.value) {
      const uses = this.uses.get(this.value.scope + this.value.name) || [], name = this.value.name;
      const next = uses.find(i => i > this.current) ?? uses[0];
      if (next !== undefined) this.go(next, name);
    }
    if (event.key === "d") {
      const text = this.text[this.current], read = /%\w+/.exec(text.slice(Math.max(0, text.indexOf("= "))));
      const made = read && this.defs.get(this.scopes[this.current] + read[0]);
      if (made !== undefined && made !== null) this.go(made);
    }
  }
  find(text, step) {
    const wanted = text.toLowerCase(), n = this.text.length;
    if (!wanted) return;
    for (let k = 1; k <= n; k++) {
      const i = (this.current + step * k + n * 2) % n;
      if (this.text[i].toLowerCase().includes(wanted)) { this.go(i); return; }
    }
    this.status.textContent = "not found";
  }
}
const listings = {};
for (const root of all(".listing")) {
  const open = () => { listings[root.id] ||= new Listing(root); };
  const details = root.closest("details");
  if (details.open) (shownHooks.model ||= []).push(open);
  details.addEventListener("toggle", () => { if (details.open) open(); });
}
