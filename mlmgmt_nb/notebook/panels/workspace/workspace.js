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

class View {
  constructor(model, root) {
    this.model = model;
    this.seen = {};
    this.busy = null;
    const tabs = { class: "mlmgmt-tabs", role: "tablist", "aria-label": "kinds of resources" };
    this.tabs = h("div", { ...tabs, onkeydown: (event) => this.moveTab(event) });
    this.filters = h("div", { class: "mlmgmt-filters", role: "search" });
    this.head = h("tr");
    this.body = h("tbody", { onkeydown: (event) => this.moveRow(event) });
    this.table = h("table", { role: "grid" }, h("thead", {}, this.head), this.body);
    this.status = h("span", { role: "status", class: "mlmgmt-faint" });
    this.previous = this.button("Previous", () => this.send({ do: "previous" }));
    this.next = this.button("Next", () => this.send({ do: "next" }));
    this.refresh = this.button("Refresh", () => this.send({ do: "refresh" }));
    this.details = h("div", { class: "mlmgmt-details", role: "region", "aria-label": "selected" });
    const list = h("div", { class: "mlmgmt-list", role: "tabpanel" }, this.table);
    const pager = h("div", { class: "mlmgmt-row" }, this.previous, this.next, this.refresh, this.status);
    // Otherwise JupyterLab uses the arrow keys to move between cells.
    root.setAttribute("data-lm-suppress-shortcuts", "true");
    root.classList.add("mlmgmt-workspace");
    root.append(this.tabs, this.filters, list, pager, this.details);
  }

  button(title, onClick) {
    return h("button", { type: "button", onclick: onClick }, title);
  }

  send(message) {
    this.model.send(message);
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
    this.part("rows", [shown.tab, shown.rows], () => this.drawRows(shown));
    this.part("selected", shown.selected, () => this.drawDetails(shown.selected));
    setText(this.status, shown.working ? `${shown.status} \u2026` : shown.status);
    setAttribute(this.table, "aria-busy", shown.working);
    setAttribute(this.table, "aria-label", shown.tab);
    // A disabled button loses the focus; these are only marked as disabled.
    setAttribute(this.previous, "aria-disabled", !shown.previous);
    setAttribute(this.next, "aria-disabled", !shown.next);
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
    const fields = shown.filters.map((filter) =>
      this.field(words(filter.name), filter.help, filter.value, (value) =>
        this.send({ do: "filter", name: filter.name, value })
      )
    );
    const help = "Text in any column; searched page by page.";
    fields.push(this.field("search", help, shown.search, (value) => this.send({ do: "search", value })));
    this.filters.replaceChildren(...fields);
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
    const rows = shown.rows.map((row) => this.row(known.get(row.id), row, shown.columns, shown.states));
    if (rows.length !== this.body.childElementCount || rows.some((row, place) => row !== this.body.children[place])) {
      const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
      this.body.replaceChildren(...rows);
      if (focused && this.body.contains(focused)) focused.focus();
    }
    if (!rows.some((row) => row.tabIndex === 0) && rows.length) rows[0].tabIndex = 0;
  }

  row(row, shown, columns, states) {
    if (!row || row.childElementCount !== shown.cells.length) {
      row = h("tr", { "data-id": shown.id, onclick: () => this.select(row) });
      row.append(...columns.map((column) => h("td", { "data-column": column.id })));
      row.tabIndex = -1;
    }
    setAttribute(row, "aria-selected", shown.selected);
    shown.cells.forEach((text, place) => {
      const cell = row.children[place];
      if (cell.textContent === text) return;
      setAttribute(cell, "title", text);
      if (states[place]) cell.replaceChildren(badge(text));
      else cell.textContent = text;
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

  drawDetails(selected) {
    // Remember the focused node: the facts of a resource are drawn before its lineage.
    const focused = document.activeElement;
    if (this.details.contains(focused)) this.wanted = focused.dataset.id;
    else if (focused && focused !== document.body) this.wanted = null;
    if (!selected) {
      const hint = "Select a row to see its details. After panel = %mlmgmt, it is panel.selected.";
      this.details.replaceChildren(h("p", { class: "mlmgmt-faint" }, hint));
      return;
    }
    const title = h("p", {}, h("b", {}, selected.title), " ", badge(selected.state));
    const rows = selected.rows.flatMap(([label, value]) => [h("dt", {}, label), h("dd", {}, this.value(value))]);
    const facts = h("dl", {}, ...rows);
    this.details.replaceChildren(title, facts, ...this.lineage(selected.lineage));
    if (this.wanted) this.details.querySelector(`[data-id="${CSS.escape(this.wanted)}"]`)?.focus();
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
    const draw = () => {
      view.draw();
      view.focusAfter?.()?.focus();
      view.focusAfter = null;
    };
    model.on("change:shown", draw);
    draw();
    return () => {
      clearTimeout(view.busy);
      model.off("change:shown", draw);
    };
  },
};
