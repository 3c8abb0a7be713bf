// Helpers shared by the front ends of panels, prepended to each: a front end is a single module.

/** Create an element. String children become text, never markup. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set a text only if it changed, so that a selection in it is kept. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set markup that Python generated (and escaped), only if it changed. */
function setMarkup(element, markup) {
  if (element.shownMarkup !== markup) element.innerHTML = element.shownMarkup = markup;
}

/** Fill a table body or a list with rows, only if they changed; `make` creates an element from a row. */
function setRows(body, rows, make) {
  const shown = JSON.stringify(rows);
  if (body.shownRows !== shown) {
    body.shownRows = shown;
    body.replaceChildren(...rows.map(make));
  }
}

let lastId = 0;
/** Return an id that is unique on the page. */
function freshId() {
  return `mlmgmt-${Math.random().toString(36).slice(2)}-${lastId++}`;
}

/** Return a function that sends messages to the kernel, numbered: it may get them in another order. */
function inOrder(model) {
  const sender = freshId();
  let number = 0;
  return (message) => model.send({ message, sender, number: number++ });
}

/** Copy a text; return whether it was possible. */
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = h("textarea", { value: text, style: "position:fixed;opacity:0" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

/** A button that copies a text and briefly shows the result. */
function copyButton(label, text) {
  const button = h("button", { type: "button" }, label);
  button.addEventListener("click", async () => {
    const done = await copy(await text());
    button.textContent = done ? "Copied" : "Copy failed: select the text";
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

/** Tabs with mouse and arrow keys. `pages` are pairs of a title and an element; `first` is the title in sight. */
function tabs(label, pages, first = pages[0][0]) {
  const panes = new Map();
  const list = h("div", { role: "tablist", "aria-label": label, class: "mlmgmt-tabs" });
  const select = (title, focus) => {
    for (const [name, { tab, pane }] of panes) {
      const on = name === title;
      tab.setAttribute("aria-selected", on);
      tab.tabIndex = on ? 0 : -1;
      pane.hidden = !on;
      if (on && focus) tab.focus();
    }
  };
  const titles = pages.map(([title]) => title);
  pages.forEach(([title, content], place) => {
    const id = freshId();
    const tab = h("button", { type: "button", role: "tab", id: `${id}-tab`, "aria-controls": id }, title);
    const pane = h("div", { role: "tabpanel", id, "aria-labelledby": `${id}-tab`, class: "mlmgmt-pane" }, content);
    panes.set(title, { tab, pane });
    tab.addEventListener("click", () => select(title, true));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -place, End: titles.length - 1 - place }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      select(titles[(place + step + titles.length) % titles.length], true);
    });
    list.append(tab);
  });
  select(first);
  return h("div", {}, list, ...[...panes.values()].map(({ pane }) => pane));
}

/**
 * Ask for confirmation of an irreversible action. The harmless answer has the focus, and Escape selects it.
 * With a `name`, it must be typed, and is passed to `act`. `details` is an element with more information.
 */
function question({ text, details = null, name = "", yes, no, act, back }) {
  const id = freshId();
  const input = h("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });
  const go = h("button", { class: "mlmgmt-danger", disabled: Boolean(name) }, yes);
  const keep = h("button", { type: "button", onclick: back }, no);
  const typed = name ? h("span", {}, h("label", { for: id }, "Type ", h("code", {}, name), " to confirm "), input, " ") : null;
  const group = h("div", { role: "group", "aria-label": text }, h("span", {}, text), " ", details, typed, go, " ", keep);
  const form = h("form", { class: "mlmgmt-confirm" }, group);
  input.addEventListener("input", () => (go.disabled = input.value !== name));
  form.addEventListener("keydown", (event) => event.key === "Escape" && (event.stopPropagation(), back()));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (go.disabled) return;
    act(input.value);
    back();
  });
  return { element: form, focus: () => keep.focus() };
}

/** A button that asks for confirmation in place. `asked` returns the options of `question`, without `back`. */
function confirmed(label, asked) {
  const place = h("span", {});
  const button = h("button", { type: "button" }, label);
  const back = () => {
    place.replaceChildren(button);
    button.focus();
  };
  button.addEventListener("click", () => {
    const { element, focus } = question({ ...asked(), back });
    place.replaceChildren(element);
    focus();
  });
  place.append(button);
  return place;
}

/** Whether an element can have the focus now; the Tab key need not lead to it. */
function canFocus(element) {
  return element.isConnected && !element.matches(":disabled") && element.getClientRects().length > 0;
}

/** The name of an element, by which it is found again after it was drawn anew. */
function nameOf(element) {
  const { key, id } = element.dataset;
  return `${element.tagName} ${key || id || element.getAttribute("aria-label") || element.textContent}`;
}

/**
 * Return a `draw` that never loses the focus within `root`. If the focused element is gone, hidden or disabled after it,
 * the one with the same name gets the focus, or else the one at its place until that with the name is there again.
 */
function keepingFocus(root, draw) {
  const candidates = () =>
    [...root.querySelectorAll("a[href], button, input, select, summary, textarea, [tabindex]")].filter((one) => one.tabIndex >= 0 && canFocus(one));
  let wanted = null;
  return () => {
    const active = root.getRootNode().activeElement;
    const focused = active && root.contains(active) ? active : null;
    if (!focused || focused !== wanted?.instead) wanted = null;
    const name = wanted?.name ?? (focused && nameOf(focused));
    const place = focused ? candidates().indexOf(focused) : -1;
    draw();
    if (!focused || (!wanted && canFocus(focused))) return;
    const now = candidates();
    const same = now.find((one) => nameOf(one) === name);
    const instead = same ?? (canFocus(focused) ? focused : now[Math.min(Math.max(place, 0), now.length - 1)]);
    instead?.focus();
    wanted = same || !instead ? null : { name, instead };
  };
}

/** Keep typed keys from the shortcuts of the notebook, and submit forms on Enter, which JupyterLab prevents. */
function keepKeys(element) {
  element.setAttribute("data-lm-suppress-shortcuts", "true");
  element.addEventListener("keydown", (event) => {
    const { form, tagName } = event.target;
    if (event.key !== "Enter" || event.isComposing || tagName !== "INPUT" || !form) return;
    event.preventDefault();
    const button = form.querySelector("button:not([type=button])");
    if (button && !button.disabled) form.requestSubmit(button);
  });
}
