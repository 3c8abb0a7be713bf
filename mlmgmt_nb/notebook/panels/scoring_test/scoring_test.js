// The progress and results of a scoring test, and a button that stops it.

function render({ model, el }) {
  const title = h("b", { class: "mlmgmt-title" });
  const state = h("span", { role: "status" });
  const completed = h("span", { class: "mlmgmt-faint mlmgmt-test-completed" });
  const stop = h("button", { type: "button", title: "Stop sending requests and keep the results so far" }, "Stop");
  const filled = h("div", {});
  const bar = h(
    "div",
    { role: "progressbar", "aria-label": "requests sent", "aria-valuemin": 0, "aria-valuemax": 100, class: "mlmgmt-test-bar" },
    filled,
  );
  const report = inOrder(model);
  const body = h("div", {});
  const answers = h("div", {});
  const failures = h("div", {});
  const root = h("div", {}, h("div", { class: "mlmgmt-row" }, title, state, completed, stop), bar, body, answers, failures);
  keepKeys(root);
  el.append(root);

  stop.addEventListener("click", () => {
    stop.disabled = true;
    report({ do: "stop" });
    // A kernel that waits in the cell reads no messages until the cell ends; an interrupt stops the test too. It is
    // sent only if the cell waits for this test, so that no other work is interrupted.
    if (model.get("shown").waiting) model.widget_manager?.kernel?.interrupt?.();
  });

  const draw = keepingFocus(root, () => {
    const shown = model.get("shown");
    setText(title, shown.title);
    setMarkup(state, shown.state);
    setText(completed, shown.completed);
    stop.hidden = bar.hidden = !shown.running;
    const percent = Math.round(shown.part * 100);
    bar.setAttribute("aria-valuenow", percent);
    bar.setAttribute("aria-valuetext", shown.completed);
    filled.style.width = `${percent}%`;
    setMarkup(body, shown.body);
    setMarkup(answers, shown.answers);
    setMarkup(failures, shown.failures);
  });
  model.on("change:shown", draw);
  draw();
  return () => model.off("change:shown", draw);
}

export default { render };
