// The headings of a table become buttons that sort it. Without this the table is complete.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const text = (row, column) => row.cells[column].textContent.trim();
  const number = (shown) => parseFloat(shown.replaceAll(",", "").replace("\u2212", "-"));
  const compare = (a, b) => number(a) - number(b) || a.localeCompare(b);
  const sort = (column, sign) => {
    const rows = [...body.rows].sort((one, other) => {
      const [a, b] = [text(one, column), text(other, column)];
      if (a === "\u2013" || b === "\u2013") return (a === "\u2013") - (b === "\u2013"); // last
      return sign * compare(a, b);
    });
    body.append(...rows);
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(column, up ? 1 : -1);
    });
  });
}
