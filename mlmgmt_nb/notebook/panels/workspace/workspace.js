// The front end of WorkspacePanel. It draws `shown` and sends user actions; the kernel does the rest.
// Server text is set as text, never as HTML. Unchanged parts are not redrawn, to avoid flicker and keep the focus.

const TYPING_MS = 400;
const BUSY_MS = 1000;

function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** `modelId` -> `model id` */
function words(name) {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function badge(state) {
  return state ? h("span", { class: "mlmgmt-badge", "data-state": state }, state) : "";
}

/** A text with the searched part marked. */
function marked(text, search) {
  const place = search ? text.toLowerCase().indexOf(search.toLowerCase()) : -1;
  if (place < 0) return [text];
  const end = place + search.length;
  return [text.slice(0, place), h("mark", {}, text.slice(place, end)), text.slice(end)];
}

class View {
  constructor(model, root) {
    this.model = model;
    this.report = inOrder(model);
    this.seen = {};
    this.busy = null;
    const tabs = { class: "mlmgmt-tabs", role: "tablist", "aria-label": "kinds of resources" };
    this.tabs = h("div", { ...tabs, onkeydown: (event) => this.moveTab(event) });
    this.filters = h("div", { class: "mlmgmt-filters", role: "search" });
    this.head = h("tr");
    this.body = h("tbody", { onkeydown: (event) => this.moveRow(event) });
    this.table = h("table", { role: "grid" }, h("thead", {}, this.head), this.body);
    this.status = h("span", { role: "status", class: "mlmgmt-faint" });
    this.columns = h("details", { class: "mlmgmt-columns" });
    this.pages = h("span", { class: "mlmgmt-pages", role: "group", "aria-label": "pages" });
    this.previous = this.button("Previous", () => this.send({ do: "previous" }));
    this.next = this.button("Next", () => this.send({ do: "next" }));
    this.refresh = this.button("Refresh", () => this.send({ do: "refresh" }));
    this.details = h("div", { class: "mlmgmt-details", role: "region", "aria-label": "selected" });
    this.empty = h("p", {});
    const list = h("div", { class: "mlmgmt-list", role: "tabpanel" }, this.table, this.empty);
    const pager = h("div", { class: "mlmgmt-row" }, this.previous, this.pages, this.next, this.refresh, this.columns, this.status);
    // Otherwise JupyterLab uses the arrow keys to move between cells.
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.classList.add("mlmgmt-workspace");
    root.append(this.tabs, this.filters, list, pager, this.details);
  }

  button(title, onClick) {
    return h("button", { type: "button", onclick: onClick }, title);
  }

  send(message) {
    this.report(message);
    clearTimeout(this.busy);
    this.busy = setTimeout(() => setText(this.status, "The kernel is busy. This runs when the current cell has ended."), BUSY_MS);
  }

  /** Redraw a part if its content has changed. */
  part(name, shown, draw) {
    const key = JSON.stringify(shown);
    if (this.seen[name] === key) return;
    this.seen[name] = key;
    draw();
  }

  draw() {
    const shown = this.model.get("shown");
    clearTimeout(this.busy);
    this.part("tabs", [shown.tabs, shown.tab], () => this.drawTabs(shown));
    this.part("filters", [shown.tab, shown.filters.map((filter) => filter.name)], () => this.drawFilters(shown));
    this.part("columns", [shown.tab, shown.columns], () => this.drawColumns(shown));
    this.part("choices", [shown.tab, shown.choices], () => this.drawChoices(shown.choices));
    this.part("pages", [shown.page, shown.pages], () => this.drawPages(shown));
    this.part("rows", [shown.tab, shown.rows, shown.columns, shown.search], () => this.drawRows(shown));
    this.part("empty", shown.empty, () => this.drawEmpty(shown.empty));
    this.part("selected", [shown.selected, shown.opened], () => this.drawDetails(shown.selected, shown.opened));
    setText(this.status, shown.working ? `${shown.status} \u2026` : shown.status);
    setAttribute(this.table, "aria-busy", shown.working);
    setAttribute(this.table, "aria-label", shown.tab);
    // A disabled button loses the focus; these are only marked as disabled.
    setAttribute(this.previous, "aria-disabled", !shown.previous);
    setAttribute(this.next, "aria-disabled", !shown.next);
  }

  /** How to begin, instead of a table without rows. */
  drawEmpty([text, command]) {
    this.table.hidden = text !== "";
    this.empty.hidden = text === "";
    this.empty.replaceChildren(text, " ", ...(command ? [h("code", {}, command), " ", copyButton("Copy", () => command)] : []));
  }

  drawTabs(shown) {
    if (this.tabs.childElementCount !== shown.tabs.length) {
      this.tabs.replaceChildren(
        ...shown.tabs.map((tab) =>
          h(
            "button",
            { type: "button", role: "tab", "data-id": tab.id, onclick: () => this.send({ do: "tab", value: tab.id }) },
            tab.title
          )
        )
      );
    }
    for (const tab of this.tabs.children) {
      const isChosen = tab.dataset.id === shown.tab;
      tab.setAttribute("aria-selected", isChosen);
      tab.tabIndex = isChosen ? 0 : -1;
    }
  }

  moveTab(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...this.tabs.children];
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    event.preventDefault();
    next.focus();
    next.click();
  }

  drawFilters(shown) {
    const make = (filter) => {
      const onChange = (value) => this.send({ do: "filter", name: filter.name, value });
      if (filter.choices.length) return this.choice(filter, onChange);
      return this.field(words(filter.name), filter.help, filter.value, onChange);
    };
    const help = "Text in any column; searched page by page.";
    const search = this.field("search", help, shown.search, (value) => this.send({ do: "search", value }));
    const folded = shown.filters.filter((filter) => !filter.first);
    const isUsed = folded.some((filter) => filter.value);
    const more = h("details", { open: isUsed }, h("summary", {}, "More filters"), h("div", { class: "mlmgmt-filters" }, ...folded.map(make)));
    const first = shown.filters.filter((filter) => filter.first).map(make);
    this.filters.replaceChildren(...first, search, ...(folded.length ? [more] : []));
  }

  /** The columns that are shown, to choose from. */
  drawChoices(choices) {
    const make = ({ id, title, shown }) => {
      const box = h("input", { type: "checkbox", checked: shown, "data-key": id, onchange: () => this.send({ do: "column", value: id }) });
      return h("label", { class: "mlmgmt-choice" }, box, title);
    };
    const list = h("div", { class: "mlmgmt-row", role: "group", "aria-label": "columns" }, ...choices.map(make));
    this.columns.replaceChildren(h("summary", {}, "Columns"), list);
  }

  /** The numbers of the first, the last and the near pages. */
  drawPages({ page, pages }) {
    const near = (number) => number === 1 || number === pages || Math.abs(number - page) <= 1;
    const numbers = Array.from({ length: pages }, (_, place) => place + 1).filter(near);
    const parts = numbers.flatMap((number, place) => {
      const button = this.button(number.toLocaleString("en"), () => this.send({ do: "page", value: String(number) }));
      button.dataset.key = `page ${number}`;
      button.setAttribute("aria-label", `page ${number}`);
      if (number === page) button.setAttribute("aria-current", "page");
      return place && number - numbers[place - 1] > 1 ? ["\u2026", button] : [button];
    });
    this.pages.hidden = pages < 2;
    this.pages.replaceChildren(...parts);
  }

  /** A filter that is on or off. */
  choice({ name, help, value, choices }, onChange) {
    const attributes = { type: "checkbox", checked: value !== "", title: help, "data-key": name };
    const box = h("input", { ...attributes, onchange: () => onChange(box.checked ? choices[0] : "") });
    return h("label", { class: "mlmgmt-choice", title: help }, box, words(name));
  }

  field(label, help, value, onChange) {
    let timer = null;
    let sent = value;
    const input = h("input", { type: "search", value, title: help, spellcheck: "false", autocomplete: "off" });
    const tell = () => {
      clearTimeout(timer);
      if (input.value !== sent) onChange((sent = input.value));
    };
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(tell, TYPING_MS);
    });
    input.addEventListener("change", tell);
    return h("label", { class: "mlmgmt-field", title: help }, h("span", {}, label), input);
  }

  drawColumns(shown) {
    this.head.replaceChildren(
      ...shown.columns.map((column) => {
        const mark = { ascending: " \u25b2", descending: " \u25bc", none: "" }[column.sorted];
        const attributes = { type: "button", title: "Sort this page", onclick: () => this.sort(column.id) };
        const sort = h("button", attributes, column.title + mark);
        return h("th", { scope: "col", "aria-sort": column.sorted, "data-id": column.id }, sort);
      })
    );
  }

  sort(id) {
    this.send({ do: "sort", value: id });
    this.focusAfter = () => this.head.querySelector(`[data-id="${CSS.escape(id)}"] button`);
  }

  drawRows(shown) {
    const known = new Map([...this.body.children].map((row) => [row.dataset.id, row]));
    const rows = shown.rows.map((row) => this.row(known.get(row.id), row, shown));
    if (rows.length !== this.body.childElementCount || rows.some((row, place) => row !== this.body.children[place])) {
      const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
      this.body.replaceChildren(...rows);
      if (focused && this.body.contains(focused)) focused.focus();
    }
    if (!rows.some((row) => row.tabIndex === 0) && rows.length) rows[0].tabIndex = 0;
  }

  row(row, { id, cells, why, selected }, { columns, states, search }) {
    const layout = columns.map((column) => column.id).join(" ");
    if (!row || row.dataset.layout !== layout) {
      row = h("tr", { "data-id": id, "data-layout": layout, onclick: () => this.select(row) });
      row.append(...columns.map((column) => h("td", { "data-column": column.id })));
      row.tabIndex = -1;
    }
    setAttribute(row, "aria-selected", selected);
    cells.forEach(([text, exact], place) => {
      const cell = row.children[place];
      const reason = place === 0 && why ? ` (${why})` : "";
      const key = JSON.stringify([text, reason, search]);
      if (cell.shownText === key) return;
      cell.shownText = key;
      setAttribute(cell, "title", exact);
      if (states[place]) cell.replaceChildren(badge(text));
      else cell.replaceChildren(...marked(text + reason, search));
    });
    return row;
  }

  select(row) {
    for (const other of this.body.children) other.tabIndex = other === row ? 0 : -1;
    row.focus();
    this.send({ do: "select", value: row.dataset.id });
  }

  moveRow(event) {
    const row = event.target.closest("tr");
    const rows = [...this.body.children];
    const place = rows.indexOf(row);
    const next = {
      ArrowDown: rows[place + 1],
      ArrowUp: rows[place - 1],
      Home: rows[0],
      End: rows[rows.length - 1],
    }[event.key];
    if (next) {
      row.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      this.select(row);
    } else {
      return;
    }
    event.preventDefault();
  }

  /** Buttons that open panels of the selected resource below, copy its id, or show the code that gets it. */
  drawActions({ id, actions, code }, isOpen) {
    const line = h("pre", { class: "mlmgmt-code", tabindex: 0, role: "region", "aria-label": "code", hidden: !this.showsCode }, code);
    const show = h("button", { type: "button", "aria-expanded": String(Boolean(this.showsCode)) }, "Code");
    show.addEventListener("click", () => {
      this.showsCode = line.hidden;
      line.hidden = !line.hidden;
      show.setAttribute("aria-expanded", String(!line.hidden));
    });
    const buttons = actions.map(([value, title]) => this.button(title, () => this.send({ do: "act", value })));
    const close = isOpen ? [this.button("Close the panel below", () => this.send({ do: "close" }))] : [];
    return [h("div", { class: "mlmgmt-row" }, ...buttons, copyButton("Copy id", () => id), show, ...close), line];
  }

  drawDetails(selected, isOpen) {
    if (!selected) {
      const hint = "Select a row to see its details. After panel = %mlmgmt, it is panel.selected.";
      this.details.replaceChildren(h("p", { class: "mlmgmt-faint" }, hint));
      return;
    }
    const title = h("p", {}, h("b", {}, selected.title), " ", badge(selected.state));
    const rows = selected.rows.flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, this.value(value))]);
    const facts = h("dl", {}, ...rows);
    this.details.replaceChildren(title, ...this.drawActions(selected, isOpen), facts, ...this.lineage(selected.lineage));
  }

  value(text) {
    if (!/^https?:\/\//.test(text)) return text;
    return h("a", { href: text, target: "_blank", rel: "noopener" }, text);
  }

  /** The graph as drawn by the kernel, with event handlers on its nodes. */
  lineage(markup) {
    if (!markup) return [];
    const svg = new DOMParser().parseFromString(markup, "image/svg+xml").documentElement;
    if (svg.nodeName !== "svg") return [];
    for (const node of svg.querySelectorAll("[data-id]")) {
      const follow = () => this.send({ do: "follow", kind: node.dataset.kind, value: node.dataset.id });
      node.addEventListener("click", follow);
      node.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        follow();
      });
    }
    return [svg];
  }
}

export default {
  render({ model, el }) {
    const view = new View(model, el);
    const draw = keepingFocus(el, () => {
      view.draw();
      view.focusAfter?.()?.focus();
      view.focusAfter = null;
    });
    model.on("change:shown", draw);
    draw();
    return () => {
      clearTimeout(view.busy);
      model.off("change:shown", draw);
    };
  },
};
