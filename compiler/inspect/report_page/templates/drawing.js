// The model's layers as boxes; blocks fold and unfold, and no more than a given number is visible.
const drawing = byId("drawing");
const {rows: layerRows, tree: layerTree, limit: boxLimit} = JSON.parse(byId("model-data").textContent);
const blocks = [];
(function number(items, parent) { for (const item of items) if (typeof item === "object") { item.id = blocks.length; item.parent = parent; item.open = false; item.touched = 0; blocks.push(item); number(item.children, item); } })(layerTree, null);
let turn = 0;
const leavesOf = item => typeof item === "number" ? [item] : item.children.flatMap(leavesOf);
const visibleItems = items => items.flatMap(item => typeof item === "object" && item.open ? visibleItems(item.children) : [item]);
const visibleCount = () => visibleItems(layerTree).length;
function openBlock(block) {
  block.open = true; block.touched = ++turn;
  const related = other => { for (let up = block; up; up = up.parent) if (up === other) return true; for (let up = other; up; up = up.parent) if (up === block) return true; return false; };
  for (const other of [...blocks].filter(one => one.open && !related(one)).sort((a, b) => a.touched - b.touched)) { if (visibleCount() <= boxLimit) break; other.open = false; }
  if (visibleCount() > boxLimit) block.open = false;
}
function openWhatFits(most) {
  for (const block of blocks) block.open = false;
  const waiting = layerTree.filter(item => typeof item === "object");
  while (waiting.length) {
    const block = waiting.shift();
    block.open = true;
    if (visibleCount() > most) block.open = false;
    else waiting.push(...block.children.filter(item => typeof item === "object"));
  }
}
const size = n => { let i = 0; while (n >= 1024 && i < 4) { n /= 1024; i++; } return (n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(i ? 2 : 0)) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][i]; };
const short = (text, most) => text.length > most ? text.slice(0, most - 1) + "…" : text;
function draw(focusKey) {
  const items = visibleItems(layerTree), owner = new Map();
  items.forEach((item, i) => leavesOf(item).forEach(leaf => owner.set(leaf, i)));
  const edges = new Map();
  items.forEach((item, i) => { for (const leaf of leavesOf(item)) for (const source of layerRows[leaf].inputs) { const from = owner.get(source); if (from !== undefined && from !== i) edges.set(from + "," + i, [from, i]); } });
  const list = [...edges.values()];
  // Blocks may stand before what they read: sort so that no edge goes up.
  const order = [], state = new Array(items.length).fill(0), up = items.map(() => []);
  for (const [a, b] of list) up[b].push(a);
  const visit = i => { if (state[i]) return; state[i] = 1; up[i].forEach(visit); order.push(i); };
  items.forEach((_, i) => visit(i));
  const at = new Map(order.map((i, k) => [i, k]));
  const boxes = order.map(i => {
    const item = items[i], leaves = leavesOf(item), single = typeof item === "number" ? layerRows[item] : null;
    const title = short(single ? single.name.split("/").at(-1) : item.name, 34), sub = single ? short([single.kind, single.shape].filter(Boolean).join(" "), 40) : `${leaves.length} layers, ${leaves.reduce((n, leaf) => n + layerRows[leaf].parameters, 0).toLocaleString("en")} parameters`;
    return {item, leaves, title, sub, width: Math.max(110, 7 * Math.max(title.length, sub.length * 0.88) + 22), height: 40};
  });
  const {nodes, paths, width, height} = layered(boxes, list.map(([a, b]) => [at.get(a), at.get(b)]).filter(([a, b]) => a < b));
  const M = 24, parts = [];
  for (const path of paths) {
    const points = path.map(i => nodes[i]), first = points[0], last = points.at(-1);
    let d = `M${(first.x + M).toFixed(1)},${(first.y + first.height / 2 + M).toFixed(1)}`, px = first.x, py = first.y + first.height / 2;
    for (const point of points.slice(1)) { const y = point === last ? point.y - point.height / 2 : point.y, middle = (py + y) / 2; d += `C${(px + M).toFixed(1)},${(middle + M).toFixed(1)} ${(point.x + M).toFixed(1)},${(middle + M).toFixed(1)} ${(point.x + M).toFixed(1)},${(y + M).toFixed(1)}`; px = point.x; py = y; }
    parts.push(`<path class="edge" d="${d}"/>`);
  }
  for (const block of blocks) {
    let shown = block.open;
    for (let up = block.parent; up; up = up.parent) shown = shown && up.open;
    if (!shown) continue;
    const inside = nodes.filter(node => node.leaves && node.leaves.every(leaf => leavesOf(block).includes(leaf)));
    if (!inside.length) continue;
    let depth = 0;
    for (let up = block.parent; up; up = up.parent) depth++;
    const pad = Math.max(4, 11 - 3 * depth), left = Math.min(...inside.map(n => n.x - n.width / 2)) - pad + M, right = Math.max(...inside.map(n => n.x + n.width / 2)) + pad + M, top = Math.min(...inside.map(n => n.y - n.height / 2)) - pad + M, bottom = Math.max(...inside.map(n => n.y + n.height / 2)) + pad + M;
    parts.push(`<rect class="frame" x="${left.toFixed(1)}" y="${top.toFixed(1)}" width="${(right - left).toFixed(1)}" height="${(bottom - top).toFixed(1)}" rx="8"/><text class="frame-title" data-close="${block.id}" tabindex="0" role="button" aria-label="Close ${escapeText(block.name)}" x="${(right + 6).toFixed(1)}" y="${(top + 12).toFixed(1)}">− ${escapeText(short(block.name, 30))}</text>`);
  }
  for (const node of nodes) {
    if (!node.leaves) continue;
    const x = node.x - node.width / 2 + M, y = node.y - node.height / 2 + M, share = node.leaves.reduce((n, leaf) => n + layerRows[leaf].share, 0);
    const ports = node.leaves.flatMap(leaf => layerRows[leaf].ports), isBlock = typeof node.item === "object", key = isBlock ? "b" + node.item.id : "r" + node.item;
    const saved = ports.length ? `\nsaved for the backward sweep: ${ports.length === 1 ? ports[0][0] : ports.length + " values"}, ${size(ports.reduce((n, port) => n + port[1], 0))}` : "";
    const tip = (isBlock ? node.item.name : layerRows[node.item].name) + "\n" + node.sub + (share ? `\n${(share * 100).toFixed(1)} % of the time` : "") + saved;
    parts.push(`<g tabindex="0" role="${isBlock ? "button" : "img"}" data-key="${key}" ${isBlock ? `data-block="${node.item.id}"` : `data-row="${node.item}"`} aria-label="${escapeText(tip)}"><title>${escapeText(tip)}</title><rect class="box" x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${node.width.toFixed(1)}" height="${node.height}" rx="6"/>` +
      (share > 0.002 ? `<rect class="share" x="${(x + 1).toFixed(1)}" y="${y + 1}" width="${((node.width - 2) * share).toFixed(1)}" height="${node.height - 2}" rx="5"/>` : "") +
      `<text x="${node.x + M}" y="${y + 17}" text-anchor="middle">${isBlock ? "+ " : ""}${escapeText(node.title)}</text><text class="sub" x="${node.x + M}" y="${y + 32}" text-anchor="middle">${escapeText(node.sub)}</text>` +
      ports.slice(0, 5).map((port, k) => `<circle class="port" cx="${(x + node.width).toFixed(1)}" cy="${y + 6 + k * 7}" r="3"/>`).join("") + "</g>");
  }
  const extra = blocks.some(block => block.open) ? 190 : 0;
  drawing.innerHTML = `<svg width="${width + 2 * M + extra}" height="${height + 2 * M}">${parts.join("")}</svg>`;
  byId("drawing-count").textContent = `${items.length} of ${layerRows.length} boxes`;
  drawing.dataset.boxes = items.length;
  if (focusKey) { const own = drawing.querySelector(`[data-key="${focusKey}"]`) || drawing.querySelector("g"); if (own) own.focus({preventScroll: true}); }
}
function act(target) {
  const close = target.closest("[data-close]"), block = target.closest("[data-block]"), row = target.closest("[data-row]");
  if (close) { const one = blocks[Number(close.dataset.close)]; one.open = false; draw("b" + one.id); }
  else if (block) { const one = blocks[Number(block.dataset.block)]; openBlock(one); const first = leavesOf(one)[0], item = visibleItems(layerTree).find(each => leavesOf(each).includes(first)); draw(typeof item === "number" ? "r" + item : "b" + item.id); }
  else if (row) { all("#model tr.picked").forEach(one => one.classList.remove("picked")); const own = byId("layer-" + row.dataset.row); own.classList.add("picked"); own.scrollIntoView({block: "nearest"}); }
}
if (drawing) {
drawing.addEventListener("click", event => act(event.target));
drawing.addEventListener("keydown", event => {
  if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(event.target); return; }
  const move = {ArrowDown: [0, 1], ArrowUp: [0, -1], ArrowLeft: [-1, 0], ArrowRight: [1, 0]}[event.key];
  const here = event.target.closest("g");
  if (!move) return;
  event.preventDefault();
  const centre = g => { const box = g.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; };
  const boxes = all("g", drawing);
  if (!here) { if (boxes[0]) boxes[0].focus(); return; }
  const [x, y] = centre(here);
  const far = g => { const [a, b] = centre(g), along = (a - x) * move[0] + (b - y) * move[1], beside = Math.abs((a - x) * move[1]) + Math.abs((b - y) * move[0]); return along > 4 ? along + 2 * beside : Infinity; };
  const next = boxes.filter(g => g !== here).sort((a, b) => far(a) - far(b))[0];
  if (next && far(next) < Infinity) { next.focus({preventScroll: true}); next.scrollIntoView({block: "nearest", inline: "nearest"}); }
});
byId("fold-all").addEventListener("click", () => { for (const block of blocks) block.open = false; draw(); });
byId("unfold-all").addEventListener("click", () => { openWhatFits(boxLimit); draw(); });
let isDrawn = false;
(shownHooks.model ||= []).push(() => { if (!isDrawn) { isDrawn = true; openWhatFits(40); draw(); drawing.scrollLeft = (drawing.scrollWidth - drawing.clientWidth) / 2; } });
}
