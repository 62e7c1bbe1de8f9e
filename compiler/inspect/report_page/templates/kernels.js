// A kernel's text, LLVM's IR and the processor's instructions side by side; lines that belong together are marked.
async function unpack(id) {
  const packed = Uint8Array.from(atob(byId(id).textContent), c => c.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}
async function openKernel(details) {
  const root = details.querySelector(".panes");
  if (root.dataset.state) return;
  root.dataset.state = "loading";
  const data = await unpack("code-" + details.dataset.kernel);
  const parts = [["source", "Text of the kernel"], ["llvm", "LLVM IR"], ["assembly", "Instructions"]].filter(([key]) => data[key]);
  const sheets = {};
  let chosen = 0;
  const lineOf = (key, i) => key === "source" ? i + 1 : data.links ? data.links[key][i] || 0 : 0;
  for (const [key, title] of parts) {
    const box = document.createElement("div");
    box.innerHTML = `<div class="pane-title">${title}, ${data[key].length.toLocaleString("en")} lines</div><div class="pane" tabindex="0" role="region" aria-label="${title}"></div>`;
    root.append(box);
    const pane = box.querySelector(".pane");
    sheets[key] = new Sheet(pane, data[key].length, (i, line) => {
      line.innerHTML = `<span class="no">${i + 1}</span>${data[key][i]}`;
      if (chosen && lineOf(key, i) === chosen) line.classList.add("linked");
    });
    pane.addEventListener("click", event => { const line = event.target.closest(".line"); if (line) choose(key, lineOf(key, Number(line.dataset.line))); });
    pane.addEventListener("keydown", event => {
      if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1, n = data[key].length;
      let i = Number(pane.dataset.at ?? (chosen && key === "source" ? chosen - 1 : -1));
      i = Math.max(0, Math.min(n - 1, i + step));
      pane.dataset.at = i;
      sheets[key].reveal(i);
      choose(key, lineOf(key, i));
    });
  }
  // Micro-kernels and the native part come first: begin at the kernel itself.
  const starts = {source: /^def kernel/, llvm: /^define .*@kernel_/, assembly: /^kernel_\w+:/};
  for (const [key] of parts) {
    const start = data[key].findIndex(line => starts[key].test(line.replace(/<[^>]*>/g, "")));
    if (start > 0) { sheets[key].root.scrollTop = (start - 1) * LINE; sheets[key].later(); }
  }
  function choose(from, line) {
    chosen = line;
    for (const [key] of parts) {
      const first = line && key !== from ? data[key].findIndex((_, i) => lineOf(key, i) === line) : -1;
      if (first >= 0) sheets[key].reveal(first); else sheets[key].update(true);
    }
  }
  root.dataset.state = "ready";
}
for (const details of all("details.kernel")) details.addEventListener("toggle", () => { if (details.open) openKernel(details); });
follow();
