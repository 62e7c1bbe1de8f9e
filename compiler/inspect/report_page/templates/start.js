document.documentElement.className = "js";
try { const kept = localStorage.getItem("graphcore-theme"); if (kept) document.documentElement.dataset.theme = kept; } catch (error) {}
