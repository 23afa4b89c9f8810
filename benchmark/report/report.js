"use strict";

// Sorting: a header's button orders its table's rows; a second press turns the order round.
// Cells without a value stay at the end either way.
function sortBy(header) {
  const table = header.closest("table");
  const body = table.tBodies[0];
  const column = header.cellIndex;
  const before = header.getAttribute("aria-sort");
  const numeric = !header.classList.contains("name");
  const first = numeric ? "descending" : "ascending";
  const second = numeric ? "ascending" : "descending";
  const order = before === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => row.cells[column].dataset.value ?? "";
  const rows = Array.from(body.rows);
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y));
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
}

// Of a task's models one is shown at a time; without this script all are.
function showModel(select) {
  for (const panel of select.closest(".inside").querySelectorAll("[data-panel]")) {
    panel.hidden = panel.dataset.panel !== select.value;
  }
}

// A link to a task opens it.
function openTarget() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}

document.addEventListener("click", (event) => {
  const header = event.target.closest("th.sorts");
  if (header) sortBy(header);
});
for (const select of document.querySelectorAll("select[data-models]")) {
  select.addEventListener("change", () => showModel(select));
  showModel(select);
}
window.addEventListener("hashchange", openTarget);
openTarget();
