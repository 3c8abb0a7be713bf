const TYPING_MS = 120;
const SUGGESTED = 6;
const TEXTS = [
  {
    title: "Service",
    fields: [
      ["name", "Service name", { required: true }],
      ["driver", "Driver", { placeholder: "score.py", check: true }],
      ["models", "Models, one per line: files, folders, URLs, registered models; or one object, such as {clf}", { rows: 2, wide: true }],
      ["sample", "Sample for a model without a driver", { placeholder: "{X}" }],
      ["method", "Method that answers", { placeholder: "predict" }],
      ["schema", "Schema file", { placeholder: "none" }],
      ["dependencies", "Additional files for the driver, one per line", { rows: 2 }],
    ],
  },
  {
    title: "Packages",
    fields: [
      ["requirements", "pip requirements", { placeholder: "as in this notebook" }],
      ["conda", "conda environment", { placeholder: "none" }],
      ["runtime", "Runtime", { choices: { python: "Python", "spark-py": "Spark" } }],
    ],
  },
  {
    title: "Compute and scale",
    fields: [
      ["compute_resource_id", "Compute", {}],
      ["if_exists", "If the service exists", { choices: { update: "update it", fail: "fail" } }],
      ["autoscale", "Number of replicas", { choices: { "": "fixed", yes: "autoscaled" } }],
      ["num_replicas", "Replicas", { when: (values) => !values.autoscale }],
      ["min_replicas", "Minimum replicas", { when: (values) => values.autoscale, placeholder: "1" }],
      ["max_replicas", "Maximum replicas", { when: (values) => values.autoscale, placeholder: "10" }],
      ["target_utilization", "Target utilization, %", { when: (values) => values.autoscale, placeholder: "70" }],
      ["refresh_period_in_seconds", "Refresh period, seconds", { when: (values) => values.autoscale, placeholder: "1" }],
      ["cpu", "CPUs reserved per replica", { placeholder: "none, or 500m" }],
      ["memory", "Memory reserved per replica", { placeholder: "none, or 300Mi" }],
      ["max_concurrent_requests", "Concurrent requests per replica", { placeholder: "10" }],
      ["collect_model_data", "Collect model inputs and outputs", { box: true }],
    ],
  },
];

function render({ model, el }) {
  const view = freshId();
  const report = inOrder(model);
  const send = (act, more = {}) => report({ act, view, ...more });
  const fields = new Map();
  let changed = {};
  let timer = null;
  const flush = () => {
    clearTimeout(timer);
    const values = changed;
    changed = {};
    return values;
  };
  const typed = (name, value) => {
    changed[name] = value;
    clearTimeout(timer);
    timer = setTimeout(() => send("set", { values: flush() }), TYPING_MS);
    arrange();
  };
  const values = () => Object.fromEntries([...fields].map(([name, field]) => [name, field.value()]));
  const arrange = () => {
    const now = values();
    for (const field of fields.values()) field.arrange(now, model.get("shown"));
  };

  const check = h("button", { type: "button" }, "Check");
  check.addEventListener("click", () => (send("set", { values: flush() }), send("check")));
  check.setAttribute("aria-label", "Check the driver");
  const sections = TEXTS.map(({ title, fields: described }) => {
    const made = described.map(([name, label, options]) => {
      const field = makeField(name, label, options, model.get("shown").limits[name], typed);
      fields.set(name, field);
      if (options.check) field.beside(check);
      return field.element;
    });
    return h("fieldset", {}, h("legend", {}, title), h("div", { class: "mlmgmt-fields" }, ...made));
  });
  const form = h("form", { novalidate: true }, ...sections);
  const checked = h("pre", { class: "mlmgmt-code", role: "status" });
  form.querySelector("fieldset").append(checked);

  const deploy = h("button", { class: "mlmgmt-primary" }, "Deploy");
  const cancel = h("button", { type: "button", onclick: () => send("cancel") }, "Cancel");
  const id = freshId();
  const show = h("button", { type: "button", "aria-expanded": "false", "aria-controls": id }, "Show code");
  const wrong = h("div", { role: "alert", class: "mlmgmt-alert" });
  form.append(h("div", { class: "mlmgmt-row" }, deploy, cancel, show), wrong);
  const code = makeCode(id);
  show.addEventListener("click", () => {
    code.element.hidden = !code.element.hidden;
    show.setAttribute("aria-expanded", !code.element.hidden);
    setText(show, code.element.hidden ? "Show code" : "Hide code");
  });
  let tried = false;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tried = true;
    for (const field of fields.values()) field.touch();
    arrange();
    const first = [...fields.values()].find((field) => field.isWrong());
    if (first) first.focus();
    else send("deploy", { values: flush() }); // other problems are found by the kernel
    draw();
  });

  const steps = h("div", { role: "status" });
  const failure = h("div", {});
  const made = makeResult();
  const root = h("div", { class: "mlmgmt-deploy" }, form, steps, failure, made.element, code.element);
  keepKeys(root);
  el.append(root);

  let isFirst = true;
  const draw = keepingFocus(root, () => {
    const shown = model.get("shown");
    // Input in this view is newer than the state of the kernel; input in another view is not.
    const isElsewhere = shown.typedIn && shown.typedIn !== view;
    if (isFirst || isElsewhere) for (const [name, field] of fields) field.set(shown.values[name]);
    isFirst = false;
    for (const [name, field] of fields) field.suggest(shown.suggestions[name] || []);
    arrange();
    for (const fieldset of form.querySelectorAll("fieldset")) fieldset.disabled = shown.deploying;
    setText(checked, shown.checked);
    checked.hidden = !shown.checked;
    check.disabled = shown.working;
    deploy.disabled = shown.deploying;
    cancel.hidden = !shown.deploying;
    const number = [...fields.values()].filter((field) => field.isWrong()).length;
    wrong.hidden = !tried || !number;
    setText(wrong, number === 1 ? "1 field needs correction." : `${number} fields need correction.`);
    code.draw(shown);
    setMarkup(steps, shown.steps);
    setMarkup(failure, shown.failure);
    made.draw(shown.service);
    root.setAttribute("aria-busy", shown.working || shown.deploying);
  });
  model.on("change:shown", draw);
  draw();
  return () => {
    model.off("change:shown", draw);
    clearTimeout(timer);
  };
}

/** A field with its label, and its problem below. */
function makeField(name, label, options, limit, typed) {
  const id = freshId();
  const input = makeInput(options, id, limit);
  const problem = h("div", { id: `${id}-problem`, class: "mlmgmt-problem" });
  const list = options.rows ? h("div", { class: "mlmgmt-row" }) : h("datalist", { id: `${id}-list` });
  const row = h("div", { class: "mlmgmt-input" }, input);
  const text = h("label", { for: id }, label);
  const parts = options.box ? [h("div", { class: "mlmgmt-box" }, input, text)] : [text, row];
  const element = h("div", { class: options.wide ? "mlmgmt-wide" : "" }, ...parts, problem, list);
  input.setAttribute("aria-describedby", problem.id);
  input.setAttribute("spellcheck", "false");
  input.setAttribute("autocapitalize", "off");
  if (input.type === "text") input.setAttribute("list", list.id);
  const value = () => (options.box ? input.checked : name === "autoscale" ? input.value !== "" : input.value);
  let isTouched = false;
  let isWrong = false;
  input.addEventListener("input", () => {
    isTouched = true;
    typed(name, value());
  });
  const set = (given) => {
    if (options.box) input.checked = given;
    else if (document.activeElement !== input) input.value = name === "autoscale" ? (given ? "yes" : "") : given;
    isTouched = isTouched || (given !== "" && given !== false);
  };
  const arrange = (values, shown) => {
    element.hidden = options.when ? !options.when(values) : false;
    // Limits are checked here, so that problems show at once, even while the kernel is busy.
    const told = shown.values[name] === masked(value()) ? shown.problems[name] || "" : "";
    const found = element.hidden ? "" : limitProblem(limit, input.value) || told;
    isWrong = found !== "";
    setText(problem, isTouched ? found : "");
    input.setAttribute("aria-invalid", isTouched && isWrong);
  };
  const add = (line) => {
    input.value = [...linesOf(input.value), line].join("\n");
    input.dispatchEvent(new Event("input"));
    input.focus();
  };
  const suggest = (texts) => {
    if (!options.rows) return setRows(list, texts, (given) => h("option", { value: given }));
    const present = linesOf(input.value);
    const rest = texts.filter((text) => !present.includes(text)).slice(0, SUGGESTED);
    return setRows(list, rest, (text) => h("button", { type: "button", onclick: () => add(text) }, `Add ${text}`));
  };
  return {
    element,
    value,
    set,
    arrange,
    suggest,
    focus: () => input.focus(),
    touch: () => (isTouched = true),
    isWrong: () => isWrong,
    beside: (other) => row.append(other),
  };
}

function makeInput({ choices, rows, box, placeholder, required }, id, limit) {
  if (choices) return h("select", { id }, ...Object.entries(choices).map(([value, text]) => h("option", { value }, text)));
  if (rows) return h("textarea", { id, rows });
  if (box) return h("input", { id, type: "checkbox" });
  // Numbers are text inputs too: a browser does not reveal invalid text in a number input.
  const { maxLength, title, type } = limit?.attributes ?? {};
  const inputmode = type === "number" ? "numeric" : null;
  return h("input", { id, type: "text", placeholder, "aria-required": required ? "true" : null, maxlength: maxLength, title, inputmode });
}

/** A value as the kernel shows it, with keys in URLs masked. */
function masked(value) {
  return typeof value === "string" ? value.replace(/(\w+:\/\/[^\s?]+)\?[^\s'"]+/g, "$1?***") : value;
}

function linesOf(text) {
  return text.split("\n").filter((line) => line.trim() !== "");
}

/** Return why a text breaks a limit of the contract, or "". */
function limitProblem(limit, text) {
  if (!limit || text.trim() === "") return "";
  const { min, max, type } = limit.attributes;
  const number = Number(text);
  const isNoNumber = type === "number" && !(Number.isInteger(number) && number >= (min ?? -Infinity) && number <= (max ?? Infinity));
  const isNoMatch = limit.pattern && !new RegExp(`^(?:${limit.pattern})$`).test(text.trim());
  return isNoNumber || isNoMatch ? `Enter ${limit.words}.` : "";
}

function makeCode(id) {
  const none = h("p", { class: "mlmgmt-faint" }, "The code appears when all fields are valid.");
  const part = (title) => {
    const text = h("pre", { class: "mlmgmt-code", tabindex: 0, role: "region", "aria-label": title });
    const copying = copyButton("Copy", () => text.textContent);
    copying.setAttribute("aria-label", `Copy: ${title}`);
    return { text, element: h("div", {}, h("div", { class: "mlmgmt-row" }, h("b", {}, title), copying), text) };
  };
  const [line, code] = [part("Notebook cell"), part("Python")];
  const left = h("p", { class: "mlmgmt-faint" }, "*** replaces the query string of a URL, which may contain a key.");
  const element = h("div", { id, hidden: true }, none, left, line.element, code.element);
  const draw = (shown) => {
    none.hidden = shown.code !== "";
    line.element.hidden = code.element.hidden = !none.hidden;
    left.hidden = !shown.code.includes("?***");
    setText(line.text, shown.line);
    setText(code.text, shown.code);
  };
  return { element, draw };
}

function makeResult() {
  const name = h("b", {});
  const url = h("code", {});
  const line = h("code", {});
  const element = h(
    "div",
    { role: "status" },
    h("div", { class: "mlmgmt-row" }, name, " is running at ", url, copyButton("Copy URL", () => url.textContent)),
    h("div", { class: "mlmgmt-row" }, "Panel: ", line, copyButton("Copy", () => line.textContent)),
  );
  const draw = (service) => {
    element.hidden = !service;
    if (!service) return;
    setText(name, service.name);
    setText(url, service.uri);
    setText(line, service.panel);
  };
  return { element, draw };
}

export default { render };
