// Layered drawing (Sugiyama, Tagawa and Toda 1981): ranks by longest path, order by barycentres, places by averages.
function layered(boxes, edges) {
  const nodes = boxes.map((box, i) => ({...box, i, up: [], down: [], rank: 0}));
  for (const [a, b] of edges) { nodes[a].down.push(b); nodes[b].up.push(a); }
  // Boxes come in an order in which each stands after what it reads.
  for (const node of nodes) node.rank = Math.max(0, ...node.up.map(a => nodes[a].rank + 1));
  const paths = [];
  for (const [a, b] of edges) {
    const path = [a];
    let from = a;
    for (let rank = nodes[a].rank + 1; rank < nodes[b].rank; rank++) {
      const bend = {i: nodes.length, width: 14, height: 0, rank, up: [from], down: []};
      nodes[from].down = nodes[from].down.map(x => x === b ? bend.i : x);
      nodes.push(bend); path.push(bend.i); from = bend.i;
    }
    if (from !== a) { nodes[from].down = [b]; nodes[b].up = nodes[b].up.map(x => x === a ? from : x); }
    path.push(b); paths.push(path);
  }
  const ranks = [];
  for (const node of nodes) (ranks[node.rank] ||= []).push(node);
  ranks.forEach(rank => rank.forEach((node, i) => { node.at = i; }));
  const mean = (list, value) => list.reduce((sum, i) => sum + value(nodes[i]), 0) / list.length;
  for (let sweep = 0; sweep < 6; sweep++) {
    const side = sweep % 2 ? "down" : "up";
    for (const rank of sweep % 2 ? [...ranks].reverse() : ranks) {
      for (const node of rank) node.weight = node[side].length ? mean(node[side], other => other.at / (ranks[other.rank].length || 1)) * rank.length : node.at;
      rank.sort((a, b) => a.weight - b.weight || a.at - b.at).forEach((node, i) => { node.at = i; });
    }
  }
  const GAP = 22;
  for (const rank of ranks) { let x = 0; for (const node of rank) { node.x = x + node.width / 2; x += node.width + GAP; } const shift = -x / 2; for (const node of rank) node.x += shift; }
  for (let sweep = 0; sweep < 10; sweep++) {
    for (const rank of sweep % 2 ? [...ranks].reverse() : ranks) {
      for (const node of rank) { const near = sweep % 2 ? node.down : node.up; if (near.length) node.x = mean(near, other => other.x); }
      for (let i = 1; i < rank.length; i++) { const least = rank[i - 1].x + (rank[i - 1].width + rank[i].width) / 2 + GAP; if (rank[i].x < least) { const push = (least - rank[i].x) / 2; rank[i].x = least; rank.slice(0, i + 1).forEach(node => { node.x -= push; }); } }
    }
  }
  let y = 0;
  for (const rank of ranks) { const height = Math.max(...rank.map(node => node.height)); for (const node of rank) node.y = y + height / 2; y += height + 26; }
  const left = Math.min(...nodes.map(node => node.x - node.width / 2)), right = Math.max(...nodes.map(node => node.x + node.width / 2));
  for (const node of nodes) node.x -= left;
  return {nodes, paths, width: right - left, height: Math.max(0, y - 26)};
}
