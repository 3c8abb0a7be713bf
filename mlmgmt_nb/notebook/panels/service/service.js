function render({ model, el }) {
  const view = freshId();
  const report = inOrder(model);
  const send = (act, more = {}) => report({ act, view, ...more });
  const head = header(send);
  const parts = {
    Traffic: traffic(),
    Log: log(send),
    Scale: scale(send),
    Deployments: deployments(send),
    Keys: keys(send),
    Delete: deletion(send),
  };
  const pages = Object.entries(parts).map(([title, part]) => [title, part.element]);
  const sections = tabs("Parts of the service", pages, model.get("shown").first.tab);
  const note = h("div", { role: "status", class: "mlmgmt-note" });
  const root = h("div", { class: "mlmgmt-service" }, head.element, note, sections);
  keepKeys(root);
  el.append(root);

  const draw = keepingFocus(root, () => {
    const shown = model.get("shown");
    head.draw(shown);
    setText(note, shown.note);
    root.toggleAttribute("data-gone", shown.gone);
    root.setAttribute("aria-busy", shown.working);
    sections.hidden = shown.gone;
    for (const part of Object.values(parts)) part.draw(shown);
  });
  const heard = (message) => message.view === view && parts.Keys.heard(message);
  model.on("change:shown", draw);
  model.on("msg:custom", heard);
  draw();
  return () => {
    model.off("change:shown", draw);
    model.off("msg:custom", heard);
    parts.Keys.forget();
  };
}

function header(send) {
  const title = h("b", { class: "mlmgmt-title" });
  const state = h("span", { role: "status" });
  const last = h("span", { class: "mlmgmt-faint", role: "status" });
  const replicas = h("span", { "aria-label": "replicas", role: "status" });
  const image = h("span", {});
  const url = h("code", { class: "mlmgmt-url" });
  const link = h("div", { class: "mlmgmt-row" }, url, copyButton("Copy URL", () => url.textContent));
  const versions = h("div", { class: "mlmgmt-faint", role: "status" });
  const error = h("div", { role: "alert", class: "mlmgmt-alert" });
  const progress = h("div", {});
  const cancel = h("button", { type: "button", onclick: () => send("cancel") }, "Cancel the operation");
  const candidate = h("span", {});
  const change = h("button", { type: "button", onclick: () => send("change") });
  const proposed = h("div", { class: "mlmgmt-row" }, candidate, change);
  const element = h("div", {}, h("div", { class: "mlmgmt-row" }, title, state, last, replicas, image), link, proposed, versions, error, progress, cancel);
  const draw = (shown) => {
    setText(title, shown.name);
    setMarkup(state, shown.state);
    setText(last, shown.lastOperation);
    setText(replicas, shown.replicas);
    setText(image, shown.image);
    setText(url, shown.uri);
    link.hidden = !shown.uri || shown.gone;
    setText(candidate, shown.candidate && `Proposed change: ${shown.candidate}`);
    setText(change, shown.changeShown ? "Hide the change" : "Show the change");
    proposed.hidden = shown.gone || !(shown.candidate || shown.changeShown);
    setText(versions, shown.versions);
    versions.hidden = !shown.versions;
    setText(error, shown.error);
    error.hidden = !shown.error;
    setMarkup(progress, shown.progress);
    cancel.hidden = !shown.open;
  };
  return { element, draw };
}

function traffic() {
  const charts = h("div", {});
  const totals = h("p", { class: "mlmgmt-faint" });
  const none = h("p", {}, "This server has no service metrics.");
  const element = h("div", {}, none, charts, totals);
  const draw = (shown) => {
    none.hidden = shown.hasMetrics;
    setMarkup(charts, shown.charts);
    setText(totals, shown.totals);
  };
  return { element, draw };
}

function log(send) {
  const id = freshId();
  const input = h("input", { id, type: "search", placeholder: "all requests", spellcheck: "false", size: 38 });
  const search = h("form", { class: "mlmgmt-row" }, h("label", { for: id }, "Request id"), input, h("button", {}, "Search"));
  search.addEventListener("submit", (event) => (event.preventDefault(), send("search", { request: input.value })));
  input.addEventListener("search", () => input.value === "" && send("search", { request: "" }));
  const lines = h("pre", { class: "mlmgmt-log", tabindex: 0, role: "log", "aria-label": "Log of the service" });
  const box = (label, onchange) => {
    const input = h("input", { type: "checkbox", checked: true, onchange });
    return { input, element: h("label", { class: "mlmgmt-choice" }, input, label) };
  };
  const toEnd = () => follow.input.checked && (lines.scrollTop = lines.scrollHeight);
  const follow = box("Follow", () => toEnd());
  const wrap = box("Wrap", () => lines.classList.toggle("mlmgmt-unwrapped", !wrap.input.checked));
  const level = h("select", { "aria-label": "Lines", onchange: () => write() }, ...["All lines", "Warnings and errors"].map((text) => h("option", {}, text)));
  let last = { log: "", request: "" };
  const write = () => {
    const { log, request } = last;
    const text = level.selectedIndex ? troubles(log) : log;
    const none = level.selectedIndex ? "No warnings or errors." : request ? "No log lines for this request." : "No log lines yet.";
    setText(lines, text || none);
    toEnd();
  };
  // Who scrolls up reads; at the end, new lines are followed again. A hidden log has no end to scroll to.
  lines.addEventListener("scroll", () => (follow.input.checked = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 30));
  new IntersectionObserver(toEnd).observe(lines);
  const draw = (shown) => {
    if (last.log === shown.log && last.request === shown.request) return;
    last = shown;
    write();
  };
  write();
  search.append(level, follow.element, wrap.element);
  return { element: h("div", {}, search, lines), draw };
}

const TROUBLE = /\b(WARN(ING)?|ERROR|CRITICAL|FATAL|Traceback|\w*(Error|Exception|Warning))\b|^[\d:.]+ {2}[45]\d\d /;

/** The lines about warnings, errors and failed requests, with the lines that belong to them. */
function troubles(log) {
  let isKept = false;
  const isWanted = (line) => (isKept = TROUBLE.test(line) || (isKept && /^\s/.test(line)));
  return log.split("\n").filter(isWanted).join("\n");
}

function scale(send) {
  const name = freshId();
  const radio = (value) => h("input", { type: "radio", name, value });
  const [fixed, auto] = [radio("fixed"), radio("auto")];
  const inputs = {};
  const field = (key, label) => {
    const input = (inputs[key] = h("input", { type: "number", size: 6 }));
    return h("label", { class: "mlmgmt-field" }, h("span", {}, label), input);
  };
  const first = h("div", { class: "mlmgmt-row" }, field("num_replicas", "Replicas"));
  const second = h(
    "div",
    { class: "mlmgmt-row" },
    field("min_replicas", "Minimum"),
    field("max_replicas", "Maximum"),
    field("target_utilization", "Target utilization, %"),
    field("refresh_period_in_seconds", "Refresh period, seconds"),
  );
  const button = h("button", { class: "mlmgmt-primary" }, "Apply");
  const choice = (input, text) => h("label", { class: "mlmgmt-choice" }, input, text);
  const form = h(
    "form",
    {},
    h("fieldset", {}, h("legend", {}, "Number of replicas"), choice(fixed, "fixed"), choice(auto, "autoscaled"), first, second),
    button,
  );
  const arrange = () => {
    first.hidden = auto.checked;
    second.hidden = !auto.checked;
  };
  const asking = h("div", {});
  const element = h("div", {}, form, asking);
  let dirty = false;
  let service = "";
  form.addEventListener("input", () => {
    dirty = true;
    arrange();
  });
  form.noValidate = true;
  const apply = (name) => {
    dirty = false;
    const values = Object.fromEntries(Object.entries(inputs).map(([key, input]) => [key, input.validity.badInput ? "?" : input.value]));
    send("scale", { auto: auto.checked, values, name });
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asking.replaceChildren();
    if (auto.checked || Number(inputs.num_replicas.value) !== 0 || inputs.num_replicas.value.trim() === "") return apply("");
    const { element: asked, focus } = question({
      text: `With 0 replicas, ${service} answers no requests.`,
      name: service,
      yes: "Scale to zero",
      no: "Keep it running",
      act: apply,
      back: () => (asking.replaceChildren(), button.focus()),
    });
    asking.replaceChildren(asked);
    focus();
  });
  let before = "";
  const draw = (shown) => {
    service = shown.name;
    button.disabled = shown.open;
    const now = JSON.stringify(shown.scale);
    // A field that is being edited would lose its selection; it is drawn when the focus has left.
    if (dirty || now === before || Object.values(inputs).includes(document.activeElement)) return;
    before = now;
    (shown.scale.auto ? auto : fixed).checked = true;
    for (const [key, input] of Object.entries(inputs)) {
      Object.assign(input, shown.limits[key]);
      input.value = shown.scale.values[key] ?? "";
    }
    arrange();
  };
  return { element, draw };
}

function deployments(send) {
  const id = freshId();
  const images = h("select", { id });
  const update = h("button", { class: "mlmgmt-primary" }, "Update");
  const form = h("form", { class: "mlmgmt-row" }, h("label", { for: id }, "Update to image"), images, update);
  const asking = h("div", {});
  let last = { images: [], name: "", serving: "" };
  let first = null;
  const back = () => {
    asking.replaceChildren();
    images.value = "";
    arrange();
    images.focus();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const image = last.images.find((one) => one.id === images.value);
    if (!image) return;
    const { name, serving } = last;
    const about = image.foreign ? " It shares neither the manifest nor a model with this service." : "";
    const { element, focus } = question({
      text: `${name} will run ${image.label} under the same URL and keys.${about}`,
      details: comparison(image.differences),
      name: image.foreign ? name : "",
      yes: `Update ${name}`,
      no: "Keep the current image",
      act: (typed) => send("update", { image: image.id, seen: serving, name: typed }),
      back,
    });
    asking.replaceChildren(element);
    focus();
  });
  const body = h("tbody", {});
  const titles = ["Image", "Status", "From", "Until", "Change", "Action"].map((title) => h("th", { scope: "col" }, title));
  const table = h("table", { "aria-label": "Deployments, newest first" }, h("thead", {}, h("tr", {}, ...titles)), body);
  const arrange = () => (update.disabled = last.open || !images.value);
  images.addEventListener("change", () => (asking.replaceChildren(), arrange()));
  const draw = (shown) => {
    const isKnown = shown.images.some(({ id }) => id === shown.first.image);
    const chosen = images.value || (first === null && isKnown ? (first = shown.first.image) : "");
    last = shown;
    const none = { id: "", label: shown.images.length ? "Choose an image" : "No other images" };
    const choices = [{ title: "", images: [none] }, ...grouped(shown.images)];
    setRows(images, choices, ({ title, images }) => {
      const options = images.map(({ id, label }) => h("option", { value: id }, label));
      return title ? h("optgroup", { label: title }, ...options) : options[0];
    });
    images.value = shown.images.some(({ id }) => id === chosen) ? chosen : "";
    arrange();
    setRows(body, shown.deployments, (row) => {
      const back = h("button", { type: "button", onclick: () => send("rollback", { deployment: row.id }) }, "Roll back");
      back.setAttribute("aria-label", `Roll back to ${row.image}`);
      const cells = [row.image, row.status, row.from, row.until, row.change].map((text) => h("td", {}, text));
      return h("tr", {}, ...cells, h("td", {}, row.back ? back : row.current ? "current" : ""));
    });
    for (const button of body.querySelectorAll("button")) button.disabled = shown.open;
  };
  return { element: h("div", {}, form, asking, table), draw };
}

/** The images by group, in order of appearance. */
function grouped(images) {
  const titles = [...new Set(images.map(({ group }) => group))];
  return titles.map((title) => ({ title, images: images.filter(({ group }) => group === title).map(({ id, label }) => ({ id, label })) }));
}

/** The differences of another image, as a table. */
function comparison(rows) {
  const head = h("tr", {}, ...["Property", "Current", "New"].map((title) => h("th", { scope: "col" }, title)));
  const body = rows.map(([label, now, then]) => h("tr", {}, h("th", { scope: "row" }, label), h("td", {}, now), h("td", {}, then)));
  return h("table", { "aria-label": "Differences" }, h("thead", {}, head), h("tbody", {}, ...body));
}

function deletion(send) {
  const id = freshId();
  const name = h("code", {});
  const input = h("input", { id, type: "text", autocomplete: "off", spellcheck: "false" });
  const button = h("button", { class: "mlmgmt-danger", disabled: true }, "Delete the service");
  const label = h("label", { for: id }, "Type ", name, " to confirm");
  const form = h("form", { class: "mlmgmt-row" }, label, input, button);
  const arrange = () => (button.disabled = input.value !== name.textContent);
  input.addEventListener("input", arrange);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!button.disabled) send("delete", { name: input.value });
  });
  const about = "Its URL stops answering and its keys are deleted. Images and models are kept.";
  const draw = (shown) => {
    setText(name, shown.name);
    arrange();
  };
  return { element: h("div", {}, h("p", {}, about), form), draw };
}

export default { render };
