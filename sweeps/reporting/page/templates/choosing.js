
// Draw a metric along the axis that is chosen, in panels and lines of others, of the levels that are chosen.
const marks = ["M4 0A4 4 0 1 1-4 0A4 4 0 1 1 4 0Z", "M-3.5-3.5h7v7h-7Z", "M0-4.5L4.2 3.2H-4.2Z",
  "M0-4.8L4.8 0 0 4.8-4.8 0Z", "M0 4.5L4.2-3.2H-4.2Z", "M-1.5-4.2h3v2.7h2.7v3h-2.7v2.7h-3v-2.7h-2.7v-3h2.7Z",
  "M0-2L2.4-4.4 4.4-2.4 2 0 4.4 2.4 2.4 4.4 0 2-2.4 4.4-4.4 2.4-2 0-4.4-2.4-2.4-4.4Z",
  "M0-4.5L4.3-1.4 2.6 3.6H-2.6L-4.3-1.4Z"];
const MOST_DOTS = 20000;
const [WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM] = [300, 220, 48, 12, 10, 32];

const made = (name, attributes, ...inside) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
};
const html = (name, attributes, ...inside) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...inside);
  return element;
};
const brief = (number) => Math.abs(number) >= 1e4
  ? new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(number)
  : String(Number(number.toPrecision(4)));
const worded = (level) => typeof level === "number" ? brief(level) : String(level);
const called = ({ short, name, levels }, place) => typeof levels[place] === "string" && !name.includes(".")
  ? levels[place] : `${short}=${worded(levels[place])}`;
const listed = (words) => words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join("");

// Round numbers from low to high, about five of them, both ends within.
const ticks = (low, high) => {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
  return Array.from({ length: Math.floor(high / step + 1e-9) - Math.ceil(low / step - 1e-9) + 1 },
    (_, place) => (Math.ceil(low / step - 1e-9) + place) * step);
};

// Where levels of an axis are drawn, and those that are named below.
const scaled = ({ levels, wide }) => {
  const numeric = levels.every((level) => typeof level === "number");
  const values = levels.map((level, place) => !numeric ? place : wide ? Math.log10(level) : level);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [from, to] = [LEFT + 14, WIDE - RIGHT - 14];
  const at = (value) => high > low ? from + (to - from) * (value - low) / (high - low) : (from + to) / 2;
  const room = numeric ? 30 : 0;
  const few = levels.length <= 12;
  const round = few ? [] : wide
    ? Array.from({ length: Math.floor(high) - Math.ceil(low) + 1 }, (_, place) => Math.ceil(low) + place)
    : ticks(low, high);
  const named = numeric && round.length > 1 ? round.map((value) => [at(value), brief(wide ? 10 ** value : value)])
    : values.map((value, place) => [at(value), worded(levels[place])]);
  const kept = [];
  for (const each of named) if (!kept.length || each[0] - kept.at(-1)[0] >= room) kept.push(each);
  const letters = numeric ? 99 : Math.max(3, Math.floor((to - from) / levels.length / 5.5));
  return { places: values.map(at), named: kept.map(([x, text]) => [x, text, letters]) };
};

for (const form of document.querySelectorAll("form.chooser")) {
  const { axes, metrics, rows, colours, dashes } = JSON.parse(form.dataset.drawn);
  const figure = form.nextElementSibling;
  const [panelled, legend, caption, table] = figure.children;
  const [metric, along, panels, lines] = ["metric", "along", "panels", "lines"].map((name) => form.elements[name]);
  const filters = Array.from(form.querySelectorAll("[data-axis]"));
  const drawn = axes.filter((axis) => axis.drawn);

  // What tells the line at a place from others, in colour and without.
  const look = (place) => {
    const colour = colours[place % colours.length];
    const dash = dashes[place % dashes.length].map((each) => each * 1.4).join(" ");
    return { line: { class: "line", stroke: colour, "stroke-dasharray": dash },
      mark: { class: "mark", fill: colour, d: marks[place % marks.length] } };
  };

  // Points of every line of every panel; a row that stands for several cells counts once in each point.
  const gathered = () => {
    const { values } = metrics[metric.value];
    const wanted = filters.filter(({ value }) => value !== "")
      .map(({ dataset, value }) => [axes[dataset.axis].at, Number(value)]);
    const kept = rows.map((_, row) => row)
      .filter((row) => values[row] !== null && wanted.every(([at, place]) => at[row] === place));
    const x = axes[along.value];
    const panel = axes[panels.value];
    const varied = axes.filter((axis) => new Set(kept.map((row) => axis.at[row])).size > 1);
    const free = varied.filter((axis) => axis !== x && axis !== panel);
    const told = lines.value === "" ? free.filter((axis) => !axis.repeated && !axis.drawn) : [axes[lines.value]];
    const found = new Map();
    const at = (map, key, start) => map.get(key) ?? map.set(key, start()).get(key);
    for (const row of kept) {
      if (x.at[row] < 0) continue;
      const line = at(at(found, panel ? panel.at[row] : 0, () => new Map()), told.map((axis) => axis.at[row]).join(),
        () => new Map());
      // A draw is a point of its own along what was drawn.
      const key = [x.at[row], ...(x.drawn ? drawn.map((axis) => axis.at[row]) : [])].join();
      const point = at(line, key, () => ({ place: x.at[row], rows: new Map() }));
      point.rows.set(rows[row], values[row]);
    }
    for (const line of [...found.values()].flatMap((each) => [...each.values()])) {
      for (const point of line.values()) {
        const all = [...point.rows.values()];
        point.n = all.length;
        point.mean = all.reduce((sum, value) => sum + value, 0) / point.n;
        point.sd = point.n > 1
          ? Math.sqrt(all.reduce((sum, value) => sum + (value - point.mean) ** 2, 0) / (point.n - 1)) : 0;
      }
    }
    const over = free.filter((axis) => !told.includes(axis) && !(x.drawn && axis.drawn));
    return { x, panel, told, found, kept, over };
  };

  const panelOf = (title, points, { x, names, order, low, high, dotted }) => {
    const up = (value) => TOP + (HIGH - TOP - BOTTOM) * (high - value) / (high - low);
    const { places, named } = scaled(x);
    const svg = made("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title });
    for (const value of ticks(low, high)) {
      svg.append(made("path", { d: `M${LEFT} ${up(value)}H${WIDE - RIGHT}`, class: "grid" }));
      svg.append(made("text", { x: LEFT - 6, y: up(value) + 3.5, "text-anchor": "end" }, brief(value)));
    }
    svg.append(made("path", { d: `M${LEFT} ${TOP}V${HIGH - BOTTOM}H${WIDE - RIGHT}`, class: "axis" }));
    for (const [left, text, letters] of named) {
      const label = text.length > letters ? `${text.slice(0, letters - 1)}…` : text;
      const below = { x: left, y: HIGH - BOTTOM + 13, "text-anchor": "middle" };
      svg.append(made("text", below, label, made("title", {}, text)));
    }
    svg.append(made("text", { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 4, "text-anchor": "middle" }, x.name));
    for (const [key, line] of points) {
      const { line: stroke, mark } = look(order.indexOf(key));
      const rising = [...line.values()].sort((a, b) => a.place - b.place);
      if (!x.drawn) {
        const through = rising.map((point) => `${places[point.place]} ${up(point.mean)}`).join("L");
        svg.append(made("path", { ...stroke, d: `M${through}` }));
      }
      for (const { place: level, mean, sd, n, rows: each } of rising) {
        const left = places[level];
        if (!x.drawn) {
          const bar = `M${left} ${up(mean - sd)}V${up(mean + sd)}`;
          const dots = dotted ? Array.from(each.values(), (value) => `M${left} ${up(value)}h0`).join("") : "";
          svg.append(made("path", { d: dots, class: "dots", stroke: mark.fill, "stroke-opacity": 0.35 }));
          svg.append(made("path", { d: bar, class: "line", stroke: mark.fill }));
        }
        const said = `${names.get(key)}, ${x.name} ${worded(x.levels[level])}: ${brief(mean)}`
          + (n > 1 ? ` ± ${brief(sd)}, ${n} rows` : "");
        svg.append(made("path", { ...mark, transform: `translate(${left} ${up(mean)})` },
          made("title", {}, said)));
      }
    }
    return html("div", {}, html("p", {}, title), svg);
  };

  const tabulate = ({ x, panel, found, names, titles }) => {
    const heads = [...(panel ? [panel.name] : []), "line", x.name, "mean", "sd", "rows"];
    const head = html("tr", {}, ...heads.map((text) => html("th", { scope: "col" }, text)));
    const told = [];
    for (const at of titles.keys()) {
      for (const [key, name] of names) {
        const line = found.get(at).get(key)?.values() ?? [];
        for (const { place, mean, sd, n } of [...line].sort((a, b) => a.place - b.place)) {
          const first = panel ? [worded(panel.levels[at])] : [];
          const cells = [...first, name, worded(x.levels[place]), brief(mean), n > 1 ? brief(sd) : "–", n];
          told.push(html("tr", {}, ...cells.map((text) => html("td", {}, text))));
        }
      }
    }
    const lined = html("table", {}, html("thead", {}, head), html("tbody", {}, ...told));
    const label = { class: "scroll", tabindex: 0, role: "region", "aria-label": "The means drawn" };
    table.replaceChildren(table.firstElementChild, html("div", label, lined));
  };

  const draw = () => {
    // What runs along cannot have panels or lines too, nor panels be lines.
    const taken = { panels: [along], lines: [along, panels] };
    for (const [name, by] of Object.entries(taken)) {
      for (const option of form.elements[name].options) {
        option.disabled = option.value !== "" && by.some(({ value }) => value === option.value);
        if (option.disabled && option.selected) form.elements[name].value = "";
      }
    }
    const chosen = gathered();
    const { x, panel, told, found, kept, over } = chosen;
    const points = [...found.values()].flatMap((inside) => [...inside.values()].flatMap((line) => [...line.values()]));
    const sorted = (keys) => [...new Set(keys)].sort((a, b) => {
      const [one, other] = [a, b].map((key) => String(key).split(",").map(Number));
      const differs = one.findIndex((value, place) => value !== other[place]);
      return differs < 0 ? 0 : one[differs] - other[differs];
    });
    const order = sorted([...found.values()].flatMap((inside) => [...inside.keys()]));
    const names = new Map(order.map((key) => [key, told.length
      ? key.split(",").map((place, each) => called(told[each], place)).join(" · ") : "all"]));
    const title = (at) => panel ? `${panel.name} ${worded(panel.levels[at])}` : "";
    const titles = new Map(sorted(found.keys()).map((at) => [at, title(at)]));
    const heights = points.flatMap(({ mean, sd, rows: each }) => [mean - sd, mean + sd, ...each.values()]);
    const range = (values, start) => values.reduce(([low, high], each) => [Math.min(low, each), Math.max(high, each)], start);
    const [lowest, highest] = range(heights, [0, 0]);
    const spread = highest - lowest || 1;
    const [low, high] = [lowest < 0 ? lowest - 0.02 * spread : 0, highest + 0.04 * spread];
    const scale = { x, names, order, low, high, dotted: kept.length <= MOST_DOTS };
    const label = metrics[metric.value].label;
    panelled.replaceChildren(...[...titles].map(([at, title]) => panelOf(title || label, found.get(at), scale)));
    legend.replaceChildren(...order.map((key, place) => {
      const full = told.map((axis, each) => `${axis.name} ${worded(axis.levels[key.split(",")[each]])}`).join(", ");
      const { line, mark } = look(place);
      const sample = made("svg", { viewBox: "0 0 36 12", width: 36, height: 12, "aria-hidden": "true" },
        made("path", { ...line, d: x.drawn ? "" : "M0 6H36" }),
        made("path", { ...mark, transform: "translate(18 6)" }));
      return html("li", { title: full }, sample, ` ${names.get(key)}`);
    }));
    legend.hidden = !told.length;
    const used = new Set(kept.map((row) => rows[row])).size;
    const means = over.length ? `means over ${listed(over.map((axis) => axis.name))}` : "single rows";
    const counts = points.map(({ n }) => n);
    const [least, most] = range(counts, [Infinity, 0]);
    const each = least === most ? `${most}` : `${least} to ${most}`;
    const parts = `${order.length} line${order.length > 1 ? "s" : ""}${panel ? `, ${titles.size} panels` : ""}`;
    caption.textContent = points.length
      ? `${label} along ${x.name}: ${parts}; `
        + `${means}${over.length && !x.drawn ? " with standard deviations" : ""}, ${each} in each point, `
        + `${used} of ${new Set(rows).size} rows.`
      : "No row has these levels.";
    const state = { ...chosen, names, titles };
    table.ontoggle = () => table.open && tabulate(state);
    table.ontoggle();
  };
  form.addEventListener("input", draw);
  form.querySelector("button").addEventListener("click", () => {
    form.reset();
    draw();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = figure.hidden = false;
  // What is drawn here need not be seen twice.
  for (const fixed of document.querySelectorAll("details.fixed")) fixed.open = false;
  draw();
}
