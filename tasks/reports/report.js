"use strict";
(() => {
  const range = document.getElementById("opacity");
  const shown = document.querySelector("output[for=opacity]");
  const set = () => {
    document.documentElement.style.setProperty("--mask", range.value / 100);
    shown.textContent = range.value + " %";
  };
  range.addEventListener("input", set);
  set();

  const keyOf = (row, column, numeric) => {
    const cell = row.cells[column];
    const key = cell.dataset.key ?? cell.textContent;
    if (!numeric) return key;
    return key === "" ? null : Number(key);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const numeric = head.dataset.kind === "number";
      const before = head.getAttribute("aria-sort");
      // Numbers start with the largest, but for the first column, which counts.
      const down = before ? before === "ascending" : numeric && column > 0;
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [keyOf(row, column, numeric), row]);
      rows.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        const order = numeric ? a - b : a.localeCompare(b);
        return down ? -order : order;
      });
      body.append(...rows.map(([, row]) => row));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
    }));
  }
})();
