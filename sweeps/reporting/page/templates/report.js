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
