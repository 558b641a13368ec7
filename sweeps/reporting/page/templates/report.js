"use strict";

// Sort a table by the column whose head is pressed; cells without a value stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = Array.from(table.tHead.rows[0].cells);
  const body = table.tBodies[0];
  const { compare } = new Intl.Collator("en");
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const keyed = Array.from(body.rows, (row) => ({ row, key: row.cells[column].dataset.value }));
    const present = keyed.filter(({ key }) => key !== undefined);
    const numeric = present.every(({ key }) => key !== "" && !Number.isNaN(Number(key)));
    present.sort((a, b) => sign * (numeric ? a.key - b.key : compare(a.key, b.key)));
    const missing = keyed.filter(({ key }) => key === undefined);
    body.append(...present.concat(missing).map(({ row }) => row));
  }));
}

// Show the rows that have the chosen levels and, in any column, every one of the words; say how many they are.
for (const form of document.querySelectorAll("form.filter")) {
  const table = document.getElementById(form.dataset.table);
  const lines = Array.from(table.tBodies[0].rows, (row) => {
    const cells = Array.from(row.cells, (cell) => `${cell.textContent} ${cell.dataset.value ?? ""}`);
    return { row, text: cells.join("\n").toLowerCase() };
  });
  const [words] = form.querySelectorAll("input");
  const levels = Array.from(form.querySelectorAll("select"));
  const said = form.querySelector("[role=status]");
  const filter = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    const chosen = levels.filter((select) => select.value !== "");
    let shown = 0;
    for (const { row, text } of lines) {
      row.hidden = !wanted.every((word) => text.includes(word))
        || !chosen.every((select) => row.cells[select.dataset.column].dataset.value === select.value);
      shown += row.hidden ? 0 : 1;
    }
    said.textContent = `${shown} of ${lines.length} rows shown`;
  };
  form.addEventListener("input", filter);
  form.querySelector("button").addEventListener("click", () => {
    form.reset();
    filter();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  filter();
}

// Show the lines of one step of a gallery, which a slider and arrows choose; those of every step stay.
for (const form of document.querySelectorAll("form.steps")) {
  const lines = Array.from(document.getElementById(form.dataset.table).querySelectorAll("[data-step]"));
  const slider = form.querySelector("input");
  const go = (step) => {
    slider.value = step;
    for (const line of lines) line.hidden = line.dataset.step !== slider.value;
    const words = lines.find((line) => !line.hidden).querySelector(".spread").textContent;
    form.querySelector("strong").textContent = words;
    slider.setAttribute("aria-valuetext", words);
  };
  slider.addEventListener("input", () => go(slider.value));
  for (const button of form.querySelectorAll("button")) {
    button.addEventListener("click", () => go(Number(slider.value) + Number(button.value)));
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  go(slider.value);
}

// A link to a section shows what is folded there.
const unfold = () => {
  document.getElementById(location.hash.slice(1))?.querySelector(":scope > details")?.setAttribute("open", "");
};
addEventListener("hashchange", unfold);
unfold();

// Paper has nothing to press: all is printed unfolded but what is for the screen, and then folded again.
let folded = [];
addEventListener("beforeprint", () => {
  folded = Array.from(document.querySelectorAll("details:not([open], .screen, .screen *)"));
  for (const each of folded) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of folded) each.open = false;
});
