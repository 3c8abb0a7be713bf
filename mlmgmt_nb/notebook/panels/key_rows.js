// The keys of a service, hidden until requested. They arrive in messages, which are not saved.

const SECONDS_SHOWN = 30;

function keys(send) {
  const rows = {};
  let service = "";
  const hide = (row) => {
    clearTimeout(row.timer);
    row.text.replaceChildren(h("span", { "aria-hidden": "true" }, "\u2022".repeat(16)), h("span", { class: "mlmgmt-spoken" }, "hidden"));
    row.reveal.textContent = "Reveal";
    row.isShown = false;
  };
  const show = (row, key) => {
    hide(row);
    row.text.textContent = key;
    row.reveal.textContent = "Hide";
    row.isShown = true;
    row.timer = setTimeout(() => hide(row), SECONDS_SHOWN * 1000);
  };
  const make = (which) => {
    const label = `${which} key`;
    const row = { waiting: null };
    row.text = h("code", { class: "mlmgmt-key" });
    row.reveal = h("button", { type: "button" }, "Reveal");
    row.reveal.addEventListener("click", () => (row.isShown ? hide(row) : send("key", { which, use: "reveal" })));
    const asked = () => new Promise((resolve) => ((row.waiting = resolve), send("key", { which, use: "copy" })));
    const again = confirmed("Regenerate", () => ({
      text: `Callers with the current ${which.toLowerCase()} key will be refused.`,
      name: service,
      yes: "Regenerate the key",
      no: "Keep it",
      act: (name) => (hide(row), send("regenerate", { which, name })),
    }));
    const copying = copyButton("Copy", asked);
    copying.setAttribute("aria-label", `Copy the ${label.toLowerCase()}`);
    hide(row);
    rows[which] = row;
    return h("div", { class: "mlmgmt-row", role: "group", "aria-label": label }, h("span", { class: "mlmgmt-label" }, label), row.text, row.reveal, copying, again);
  };
  const about = `The scoring URL accepts either key. A revealed key is hidden again after ${SECONDS_SHOWN} seconds, and is not saved with the notebook.`;
  const element = h("div", {}, make("Primary"), make("Secondary"), h("p", { class: "mlmgmt-faint" }, about));
  const heard = (message) => {
    const row = rows[message.which];
    if (message.use === "reveal") show(row, message.key);
    else if (row.waiting) row.waiting(message.key);
    row.waiting = null;
  };
  return { element, draw: (shown) => (service = shown.name), heard, forget: () => Object.values(rows).forEach(hide) };
}

