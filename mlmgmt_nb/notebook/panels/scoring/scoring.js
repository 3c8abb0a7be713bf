// The input of a service as a form and as JSON, code that sends it, and the answers.

// What the inputs of browsers take; other texts, such as a time with a zone, are edited as text.
const PICKERS = {
  date: ["date", /^(\d{4}-\d\d-\d\d)?$/],
  datetime: ["datetime-local", /^(\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?)?$/],
  time: ["time", /^(\d\d:\d\d(:\d\d)?)?$/],
};

function render({ model, el }) {
  const report = inOrder(model);
  // Typed input is sent with a short delay, and before any other message.
  const typed = new Map();
  let timer = null;
  const tell = () => {
    clearTimeout(timer);
    for (const message of typed.values()) report(message);
    typed.clear();
  };
  const type = (key, message) => {
    typed.set(key, message);
    clearTimeout(timer);
    timer = setTimeout(tell, 150);
  };
  const send = (message) => {
    tell();
    report(message);
  };

  const title = h("b", { class: "mlmgmt-title" });
  const uri = h("code", {});
  const form = inputForm(type, send);
  const editor = bodyEditor(type);
  const code = codePages();
  const hasForm = model.get("shown").fields.length > 0;
  const pages = [["JSON", editor.element], ["Code", code.element]];
  if (hasForm) pages.unshift(["Form", form.element]);
  else pages[0][0] = "Body";
  const input = tabs("Input", pages);
  const button = h("button", { type: "button", class: "mlmgmt-primary", title: "Ctrl+Enter", onclick: () => send({ do: "send" }) }, "Send");
  const sending = h("span", { class: "mlmgmt-faint", role: "status" });
  const answer = answerView();
  const history = historyView((number) => send({ do: "choose", row: number }));
  const left = h("div", { class: "mlmgmt-scoring-input" }, input, h("div", { class: "mlmgmt-row" }, button, sending));
  const right = h("div", { class: "mlmgmt-scoring-answer" }, answer.element, history.element);
  const root = h("div", {}, h("div", { class: "mlmgmt-row" }, title, uri), h("div", { class: "mlmgmt-scoring" }, left, right));
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      event.stopPropagation();
      send({ do: "send" });
    }
  });
  keepKeys(root);
  el.append(root);

  let refusals = model.get("shown").refused;
  const draw = keepingFocus(root, () => {
    const shown = model.get("shown");
    setText(title, shown.title);
    setText(uri, shown.uri);
    if (hasForm) form.draw(shown);
    editor.draw(shown, hasForm);
    code.draw(shown);
    const refused = shown.refused ? "Not sent: correct the marked field." : "";
    setText(sending, shown.sending ? "Waiting for the answer…" : refused);
    sending.classList.toggle("mlmgmt-bad", !shown.sending && Boolean(refused));
    root.setAttribute("aria-busy", shown.sending);
    if (shown.refused > refusals) form.element.querySelector("[aria-invalid=true]")?.focus();
    refusals = shown.refused;
    answer.draw(shown.answer);
    history.draw(shown.history);
  });
  model.on("change:shown", draw);
  draw();
  return () => {
    tell();
    model.off("change:shown", draw);
  };
}

// The form is rebuilt when the kernel changes it; while the user types, only problems are redrawn.
function inputForm(type, send) {
  const element = h("div", {});
  let changes = -1;
  let marks = [];
  const draw = (shown) => {
    if (shown.formChanges !== changes) {
      const focused = element.contains(document.activeElement) ? document.activeElement.dataset.key : null;
      changes = shown.formChanges;
      marks = [];
      element.replaceChildren(...shown.fields.map((field) => fieldset(field, type, send, marks)));
      const again = focused && [...element.querySelectorAll("[data-key]")].find((one) => one.dataset.key === focused);
      if (again) again.focus();
    }
    for (const mark of marks) mark(shown);
  };
  return { element, draw };
}

function fieldset(field, type, send, marks) {
  const legend = h("legend", {}, field.name, h("span", { class: "mlmgmt-faint" }, field.required ? "" : " (optional)"));
  const trouble = h("div", { class: "mlmgmt-problem", id: freshId(), role: "status" });
  const content = field.kind === "table" ? cells(field, type, send, marks) : scalar(field, type, marks, trouble.id);
  marks.push((shown) => {
    const problems = problemsOf(shown, field.name);
    const [place, problem] = Object.entries(problems)[0] ?? ["", ""];
    if (!place) return setText(trouble, problem);
    const [row, column] = place.split(",").map(Number);
    return setText(trouble, `row ${row + 1}, ${field.columns[column].name}: ${problem}`);
  });
  return h("fieldset", {}, legend, content, trouble);
}

function problemsOf(shown, name) {
  return shown.fields.find((field) => field.name === name)?.problems ?? {};
}

function scalar(field, type, marks, described) {
  const tellText = (text) => type(field.name, { do: "set", field: field.name, text });
  const labels = { "aria-label": field.name, "aria-describedby": described, "data-key": field.name };
  let input;
  if (field.kind === "boolean" && field.required) {
    input = h("input", { ...labels, type: "checkbox", role: "switch", class: "mlmgmt-switch", checked: field.text === "true" });
    input.addEventListener("change", () => tellText(String(input.checked)));
  } else if (field.kind === "boolean" || field.kind === "choice") {
    input = selection(field, field.text ?? "", labels, tellText);
  } else if (field.kind === "json") {
    const rows = Math.min(14, Math.max(3, field.text.split("\n").length));
    input = h("textarea", { ...labels, rows, spellcheck: "false", value: field.text });
    input.addEventListener("input", () => tellText(input.value));
  } else {
    input = textInput(field.kind, field.text, { ...labels, placeholder: field.hint }, tellText);
  }
  marks.push((shown) => input.setAttribute("aria-invalid", "" in problemsOf(shown, field.name)));
  return input;
}

/** An input for a text, or for null, which is sent until something is typed. */
function textInput(kind, text, attributes, tellText) {
  const input = h("input", { ...attributes, ...typeOf(kind, text ?? ""), value: text ?? "" });
  if (text === null) input.placeholder = "null";
  input.addEventListener("input", () => {
    if (text === null) input.placeholder = attributes.placeholder ?? "";
    tellText(input.value);
  });
  return input;
}

/** A list of choices, with an empty one, and with a text that is none of them. */
function selection({ kind, choices }, text, labels, tellText) {
  const known = ["", ...(kind === "boolean" ? ["true", "false"] : choices)];
  const texts = known.includes(text) ? known : [...known, text];
  const select = h("select", labels, ...texts.map((one) => h("option", { value: one }, one)));
  select.value = text;
  select.addEventListener("change", () => tellText(select.value));
  return select;
}

function typeOf(kind, text) {
  const [type, format] = PICKERS[kind] ?? [];
  if (type && format.test(text)) return { type, step: kind === "date" ? null : "1" };
  return kind === "integer" || kind === "number" ? { type: "text", inputmode: kind === "integer" ? "numeric" : "decimal" } : { type: "text" };
}

function cells(field, type, send, marks) {
  const inputs = [];
  const cell = (text, row, column) => {
    const { name, kind, hasZone } = field.columns[column];
    const key = `${field.name}/${row}/${column}`;
    const labels = { "aria-label": field.isOneColumn ? `row ${row + 1}` : `${name}, row ${row + 1}`, "data-key": key, class: `mlmgmt-cell mlmgmt-cell-${kind}` };
    const tellText = (value) => type(key, { do: "cell", field: field.name, row, column, text: value });
    let input;
    if (kind === "boolean" || kind === "choice") {
      input = selection(field.columns[column], text ?? "", labels, tellText);
    } else {
      input = textInput(hasZone ? "text" : kind, text, labels, tellText); // no picker takes a zone
      input.addEventListener("paste", (event) => {
        const pasted = event.clipboardData.getData("text");
        if (!/[\t\n]/.test(pasted.trimEnd())) return;
        event.preventDefault();
        send({ do: "paste", field: field.name, row, column, text: pasted });
      });
    }
    input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const next = step && input.type === "text" && inputs[row + step]?.[column];
      if (next) {
        event.preventDefault();
        next.focus();
      }
    });
    (inputs[row] ??= [])[column] = input;
    return h("td", {}, input);
  };
  const rows = field.rows.map((values, row) => {
    const remove = h("button", { type: "button", class: "mlmgmt-remove", title: `Remove row ${row + 1}`, "aria-label": `Remove row ${row + 1}` }, "×");
    remove.addEventListener("click", () => send({ do: "remove", field: field.name, row }));
    return h("tr", {}, ...values.map((text, column) => cell(text, row, column)), h("td", {}, remove));
  });
  const heads = field.columns.map(({ name, hint }) => h("th", { scope: "col" }, name, h("div", { class: "mlmgmt-hint" }, hint)));
  marks.push((shown) => {
    const problems = problemsOf(shown, field.name);
    inputs.forEach((row, y) => row.forEach((input, x) => input.setAttribute("aria-invalid", `${y},${x}` in problems)));
  });
  const table = h("table", { "aria-label": field.name }, h("thead", {}, h("tr", {}, ...heads, h("th", { scope: "col" }, h("span", { class: "mlmgmt-spoken" }, "remove")))), h("tbody", {}, ...rows));
  const add = h("button", { type: "button", onclick: () => send({ do: "add", field: field.name }) }, "Add a row");
  return h("div", {}, h("div", { class: "mlmgmt-cells" }, table), add);
}

function bodyEditor(type) {
  const trouble = h("div", { class: "mlmgmt-problem", id: freshId(), role: "status" });
  const area = h("textarea", { class: "mlmgmt-body", rows: 12, spellcheck: "false", "aria-label": "body of the request", "aria-describedby": trouble.id });
  area.addEventListener("input", () => type("body", { do: "body", text: area.value }));
  let changes = -1;
  const draw = (shown, hasForm) => {
    if (!hasForm) area.placeholder = "Input for the driver: JSON or text";
    if (shown.bodyChanges !== changes) {
      changes = shown.bodyChanges;
      area.value = shown.body;
    }
    area.setAttribute("aria-invalid", shown.problem !== "");
    setText(trouble, shown.problem);
  };
  return { element: h("div", {}, area, trouble), draw };
}

function codePages() {
  const curl = h("pre", { class: "mlmgmt-code", tabindex: 0, role: "region", "aria-label": "curl" });
  const python = h("pre", { class: "mlmgmt-code", tabindex: 0, role: "region", "aria-label": "Python" });
  const part = (name, pre) => h("div", {}, h("div", { class: "mlmgmt-row" }, h("b", {}, name), copyButton(`Copy ${name}`, () => pre.textContent)), pre);
  const note = h("div", { class: "mlmgmt-faint" }, "The shell reads the key into MLMGMT_KEY, which Python reads there; no key is shown.");
  const draw = (shown) => {
    setMarkup(curl, shown.code.curl);
    setMarkup(python, shown.code.python);
  };
  return { element: h("div", {}, note, part("curl", curl), part("Python", python)), draw };
}

function answerView() {
  const words = h("b", { role: "status" });
  const facts = h("span", { class: "mlmgmt-faint" });
  const id = h("code", {});
  const copyId = copyButton("Copy id", () => id.textContent);
  const trouble = h("div", { role: "alert", class: "mlmgmt-alert" });
  const head = h("tr", {});
  const body = h("tbody", {});
  const table = h("table", { "aria-label": "answer" }, h("thead", {}, head), body);
  const more = h("div", { class: "mlmgmt-faint" });
  const stale = h("div", { class: "mlmgmt-faint" }, "The input has changed since.");
  const text = h("pre", { class: "mlmgmt-code", tabindex: 0, role: "region", "aria-label": "answer as JSON" });
  const raw = h("details", {}, h("summary", {}, "JSON"), text);
  const empty = h("div", { class: "mlmgmt-faint" }, "The answer appears here.");
  const full = h("div", {}, h("div", { class: "mlmgmt-row" }, words, facts), stale, h("div", { class: "mlmgmt-row" }, id, copyId), trouble, h("div", { class: "mlmgmt-cells" }, table), more, raw);
  const element = h("section", { "aria-label": "answer" }, empty, full);
  let number = 0;
  const draw = (shown) => {
    empty.hidden = Boolean(shown);
    full.hidden = !shown;
    if (!shown) return;
    stale.hidden = !shown.stale;
    full.classList.toggle("mlmgmt-stale", shown.stale);
    setText(words, shown.words);
    words.classList.toggle("mlmgmt-good", shown.ok);
    words.classList.toggle("mlmgmt-bad", !shown.ok);
    setText(facts, `${shown.ms}, request ${shown.number} at ${shown.at}`);
    setText(id, shown.id);
    id.parentElement.hidden = !shown.id;
    trouble.hidden = !shown.error;
    if (shown.error) trouble.replaceChildren(h("b", {}, shown.error), h("br"), shown.fix);
    table.hidden = !shown.columns.length;
    setRows(head, shown.columns, (name) => h("th", { scope: "col" }, name));
    setRows(body, shown.rows, (row) => h("tr", {}, ...row.map((one) => h("td", {}, one))));
    const rest = [shown.more && `${shown.more} more rows`, shown.moreColumns && `${shown.moreColumns} more columns`];
    setText(more, shown.more || shown.moreColumns ? `and ${rest.filter(Boolean).join(" and ")}` : "");
    raw.hidden = Boolean(shown.error);
    if (shown.number !== number) raw.open = shown.columns.length === 0;
    number = shown.number;
    setMarkup(text, shown.markup);
  };
  return { element, draw };
}

function historyView(choose) {
  const list = h("ol", { class: "mlmgmt-history", reversed: true });
  const element = h("section", { "aria-label": "history" }, h("b", {}, "Requests"), list);
  const draw = (past) => {
    element.hidden = past.length === 0;
    setRows(list, past, (one) => {
      const mark = h("span", { class: one.ok ? "mlmgmt-good" : "mlmgmt-bad" }, one.words);
      const body = h("span", { class: "mlmgmt-faint" }, one.body);
      const button = h("button", { type: "button", "aria-current": one.chosen ? "true" : null }, h("span", {}, `${one.number}. ${one.at} `, mark, ` ${one.ms}`), body);
      button.addEventListener("click", () => choose(one.number));
      return h("li", {}, button);
    });
  };
  return { element, draw };
}

export default { render };
