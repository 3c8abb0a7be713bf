function render({ model, el }) {
  const view = freshId();
  const report = inOrder(model);
  const send = (act, more = {}) => report({ act, view, ...more });
  const rows = keys(send);
  const note = h("div", { role: "status", class: "mlmgmt-note" });
  const root = h("div", { class: "mlmgmt-service" }, note, rows.element);
  keepKeys(root);
  el.append(root);
  const draw = () => {
    setText(note, model.get("shown").note);
    rows.draw(model.get("shown"));
  };
  const heard = (message) => message.view === view && rows.heard(message);
  model.on("change:shown", draw);
  model.on("msg:custom", heard);
  draw();
  return () => {
    model.off("change:shown", draw);
    model.off("msg:custom", heard);
    rows.forget();
  };
}

export default { render };
