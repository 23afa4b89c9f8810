"use strict";

// A header's button sorts its table's rows, a second press the other way; no value comes last.
function sortBy(header) {
  const table = header.closest("table");
  const column = header.cellIndex;
  const text = header.classList.contains("name");
  const first = text ? "ascending" : "descending";
  const second = text ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const key = (row) => row.cells[column].dataset.value;
  const rows = Array.from(table.tBodies[0].rows);
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (text ? x.localeCompare(y) : Number(x) - Number(y));
  });
  table.tBodies[0].append(...rows);
  table.dataset.sorted = "";
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
