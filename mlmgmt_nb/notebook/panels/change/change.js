// A proposed change: its differences, and forms to try, promote or discard it.

function render({ model, el }) {
  const report = inOrder(model);
  const send = (act, more = {}) => report({ act, ...more });
  const head = header();
  const parts = {
    Differences: markup("differences"),
    Try: single(send),
    Replay: replay(send),
    Mirror: mirror(send),
    Canary: canary(send),
    Promote: promotion(send),
    Discard: discarding(send),
  };
  const sections = tabs("Parts of the change", Object.entries(parts).map(([title, part]) => [title, part.element]));
  const note = h("div", { role: "status", class: "mlmgmt-note" });
  const root = h("div", { class: "mlmgmt-change" }, head.element, note, sections);
  keepKeys(root);
  el.append(root);

  const draw = keepingFocus(root, () => {
    const shown = model.get("shown");
    head.draw(shown);
    setText(note, shown.note);
    root.setAttribute("aria-busy", shown.working);
    for (const part of Object.values(parts)) part.draw(shown);
    const ended = shown.over || shown.open;
    for (const button of root.querySelectorAll("form.mlmgmt-act button:not([type=button])")) button.disabled = ended || shown.working;
  });
  model.on("change:shown", draw);
  draw();
  return () => model.off("change:shown", draw);
}

function header() {
  const title = h("b", { class: "mlmgmt-title" });
  const state = h("span", {});
  const share = h("span", { role: "status" });
  const about = h("div", { class: "mlmgmt-faint" });
  const url = h("code", { class: "mlmgmt-url" });
  const link = h("div", { class: "mlmgmt-row" }, url, copyButton("Copy URL", () => url.textContent));
  const error = h("div", { role: "alert", class: "mlmgmt-alert" });
  const progress = h("div", {});
  const element = h("div", {}, h("div", { class: "mlmgmt-row" }, title, state, share), about, link, error, progress);
  const draw = (shown) => {
    setText(title, `Change of ${shown.name}`);
    setMarkup(state, shown.state);
    setText(share, shown.share);
    setText(about, shown.about);
    setText(url, shown.url);
    link.hidden = !shown.url || shown.over;
    setText(error, shown.error);
    error.hidden = !shown.error;
    setMarkup(progress, shown.progress);
  };
  return { element, draw };
}

/** A place for markup that Python generated. */
function markup(key) {
  const element = h("div", {});
  return { element, draw: (shown) => setMarkup(element, shown[key]) };
}

function labeled(label, input, more = {}) {
  input.id = freshId();
  return h("div", { class: "mlmgmt-field", ...more }, h("label", { for: input.id }, label), input);
}

function form(act, ...children) {
  const element = h("form", { class: "mlmgmt-act" }, ...children);
  element.noValidate = true;
  element.addEventListener("submit", (event) => (event.preventDefault(), act()));
  return element;
}

function single(send) {
  const input = h("textarea", { rows: 3, spellcheck: "false", placeholder: "[[5.1, 3.5, 1.4, 0.2]]" });
  const answer = h("pre", { class: "mlmgmt-code", tabindex: 0, role: "region", "aria-label": "answer" });
  const button = h("button", { class: "mlmgmt-primary" }, "Try");
  const element = h("div", {}, form(() => send("try", { request: input.value }), labeled("Request, as JSON", input, { style: "display:flex" }), h("div", { class: "mlmgmt-row" }, button)), answer);
  const draw = (shown) => {
    setText(answer, shown.answer);
    answer.hidden = !shown.answer;
  };
  return { element, draw };
}

function replay(send) {
  const last = h("input", { type: "text", inputmode: "numeric", size: 8, value: "1000" });
  const cases = h("textarea", { rows: 3, spellcheck: "false", placeholder: "empty: the requests that the service recorded" });
  const report = markup("report");
  const act = () => send("replay", { last: last.value, cases: cases.value });
  const button = h("button", { class: "mlmgmt-primary" }, "Replay");
  const fields = form(act, labeled("Newest recorded requests", last), labeled("Or cases, as a JSON list", cases, { style: "display:flex" }), h("div", { class: "mlmgmt-row" }, button));
  return { element: h("div", {}, fields, report.element), draw: report.draw };
}

function mirror(send) {
  const minutes = h("input", { type: "text", inputmode: "decimal", size: 6, value: "10" });
  const share = h("input", { type: "text", inputmode: "decimal", size: 6, value: "100" });
  const start = h("button", { class: "mlmgmt-primary" }, "Mirror");
  const stop = h("button", { type: "button", onclick: () => send("stop-mirror") }, "Stop the mirror");
  const compare = h("button", { type: "button", onclick: () => send("compare") }, "Compare the answers");
  const counts = h("div", {});
  const report = markup("mirrored");
  const row = h("div", { class: "mlmgmt-row" }, labeled("Minutes", minutes), labeled("Share of the requests, %", share));
  const about = h("p", { class: "mlmgmt-faint" }, "The candidate answers copies of requests. Callers get answers of the current deployment only.");
  const fields = form(() => send("mirror", { share: share.value, minutes: minutes.value }), row, h("div", { class: "mlmgmt-row" }, start, stop, compare));
  const draw = (shown) => {
    setText(counts, shown.mirror);
    report.draw(shown);
    stop.hidden = !shown.mirrors || shown.over || shown.open;
    compare.hidden = !shown.mirror || shown.over || shown.open;
    compare.disabled = shown.working;
  };
  return { element: h("div", {}, about, fields, counts, report.element), draw };
}

function canary(send) {
  const share = h("input", { type: "text", size: 14, value: "5, 25, 100", spellcheck: "false" });
  const minutes = h("input", { type: "text", inputmode: "decimal", size: 6, value: "10" });
  const agree = h("input", { type: "text", inputmode: "decimal", size: 6, placeholder: "any" });
  const start = h("button", { class: "mlmgmt-primary" }, "Canary");
  const stop = h("button", { type: "button", onclick: () => send("stop") }, "Stop");
  const counts = markup("canary");
  const row = h("div", { class: "mlmgmt-row" }, labeled("Share of each step, %", share), labeled("Minutes of each step", minutes), labeled("Least share of equal answers, %", agree));
  const about = h("p", { class: "mlmgmt-faint" }, "The candidate is taken back by itself if its errors or latencies are worse, or if too few of its answers are equal to those of the current deployment.");
  const fields = form(() => send("canary", { share: share.value, minutes: minutes.value, agree: agree.value }), row, h("div", { class: "mlmgmt-row" }, start, stop));
  const draw = (shown) => {
    counts.draw(shown);
    stop.hidden = !shown.active || shown.over || shown.open;
  };
  return { element: h("div", {}, about, fields, counts.element), draw };
}

function promotion(send) {
  const reason = h("input", { type: "text", size: 40, placeholder: "that of the proposal" });
  const gate = h("input", { type: "text", size: 40, placeholder: "agree >= 0.99 and lost == 0", spellcheck: "false" });
  const warm = h("input", { type: "text", inputmode: "decimal", size: 6, placeholder: "none" });
  const button = h("button", { class: "mlmgmt-primary" }, "Promote");
  const asking = h("div", {});
  let name = "";
  const back = () => (asking.replaceChildren(), button.focus());
  const ask = () => {
    const { element, focus } = question({
      text: `The change will serve all callers of ${name}, under the same URL and keys.`,
      name,
      yes: `Promote the change of ${name}`,
      no: "Not yet",
      act: (typed) => send("promote", { name: typed, reason: reason.value, gate: gate.value, warm: warm.value }),
      back,
    });
    asking.replaceChildren(element);
    focus();
  };
  const row = h("div", { class: "mlmgmt-row" }, labeled("Reason", reason), labeled("Gate on the last report, or empty", gate), labeled("Minutes to keep the current replicas warm", warm));
  const draw = (shown) => {
    name = shown.name;
    if (shown.over || shown.open) asking.replaceChildren();
  };
  return { element: h("div", {}, form(ask, row, h("div", { class: "mlmgmt-row" }, button)), asking), draw };
}

function discarding(send) {
  let name = "";
  const button = confirmed("Discard the change", () => ({
    text: `The candidate of ${name} and its replicas are removed. Callers notice nothing.`,
    yes: "Discard",
    no: "Keep it",
    act: () => send("discard"),
  }));
  const draw = (shown) => {
    name = shown.name;
    for (const one of button.querySelectorAll("button")) one.disabled = shown.over || shown.open;
  };
  return { element: h("div", {}, button), draw };
}

export default { render };
