"use strict";
// Draws the figures in the colors of the page, switches between light and dark, and filters cards.
(() => {
  const root = document.documentElement;
  const probe = document.body.appendChild(document.createElement("i"));
  const plots = [...document.querySelectorAll(".plot")];

  function color(name, alpha) {
    probe.style.color = `var(${name})`;
    const found = getComputedStyle(probe).color;
    return alpha ? found.replace("rgb(", "rgba(").replace(")", `, ${alpha})`) : found;
  }

  function draw(plot) {
    const text = plot.dataset.spec.replace(/var\((--\w+)(?:, ([\d.]+))?\)/g, (_, name, alpha) => color(name, alpha));
    const { data, layout } = JSON.parse(text);
    if (layout.height) plot.style.height = `${layout.height}px`;
    const axis = { gridcolor: color("--rule"), zeroline: false, automargin: true };
    const whole = {
      margin: { l: 48, r: 12, t: 8, b: 40 }, hovermode: "x unified", bargap: 0.25, dragmode: "zoom",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", legend: { orientation: "h", y: 1, yanchor: "bottom" },
      hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--rule"), font: { color: color("--ink") } },
      ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
    };
    Plotly.react(plot, data, whole, { responsive: true, displaylogo: false, displayModeBar: false });
    plot.classList.add("drawn");
  }

  if (plots.length) {
    const seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }, { rootMargin: "600px" });
    for (const plot of plots) {
      plot.dataset.spec = plot.firstElementChild.textContent;
      plot.replaceChildren();
      seen.observe(plot);
    }
  }

  const system = matchMedia("(prefers-color-scheme: dark)");
  const redraw = () => plots.filter((plot) => plot.classList.contains("drawn")).forEach(draw);
  system.addEventListener("change", redraw);
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
    root.dataset.theme = dark ? "light" : "dark";
    redraw();
  });

  for (const form of document.querySelectorAll("form.filter")) {
    const cards = [...form.parentElement.querySelectorAll(".card")];
    const apply = () => {
      const { words, task, verdict } = Object.fromEntries(new FormData(form));
      let shown = 0;
      for (const card of cards) {
        const answers = [...card.querySelectorAll("[data-verdict]")];
        for (const answer of answers) answer.hidden = Boolean(verdict) && answer.dataset.verdict !== verdict;
        const found = (!task || card.dataset.task === task) && (!verdict || answers.some((answer) => !answer.hidden))
          && card.textContent.toLowerCase().includes(words.toLowerCase());
        card.hidden = !found;
        shown += found;
      }
      form.querySelector("output").textContent = `${shown} of ${cards.length} prompts`;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    apply();
  }
})();
