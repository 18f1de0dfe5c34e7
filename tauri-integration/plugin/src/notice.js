// A notice over the app's page, for a failed service that is not the page: see notice.rs. No style sheet and no markup,
// which the app's content security policy might forbid.
(({ origin, service, message }) => {
  // First, and by what no page can replace: another page learns nothing.
  if (location.origin !== origin) return;
  // The plugin's own page says what failed.
  if (window.__SIDECAR_PAGE__) return;
  const id = "sidecar-notices";
  let host = document.getElementById(id);
  if (host === null) {
    host = document.createElement("div");
    host.id = id;
    Object.assign(host.style, {
      position: "fixed", insetBlockEnd: "1rem", insetInlineEnd: "1rem", zIndex: "2147483647",
      display: "grid", gap: ".5rem", maxWidth: "min(28rem, calc(100vw - 2rem))",
    });
    host.attachShadow({ mode: "open" });
    document.documentElement.append(host);
  }
  const { shadowRoot: root } = host;
  const make = (tag, text, style) => {
    const made = document.createElement(tag);
    made.textContent = text;
    Object.assign(made.style, style);
    return made;
  };
  for (const old of [...root.children]) if (old.dataset.service === service) old.remove();
  if (message === null) return;
  const notice = make("div", "", {
    display: "flex", gap: ".75rem", alignItems: "start", padding: ".75rem 1rem", borderRadius: ".5rem",
    font: "0.875rem/1.4 system-ui, sans-serif", color: "#fff", background: "#7f1d1d",
    boxShadow: "0 .25rem 1rem rgb(0 0 0 / .35)", marginBlockStart: ".5rem",
  });
  notice.dataset.service = service;
  notice.setAttribute("role", "alert");
  const text = make("span", message, { flex: "1", overflowWrap: "anywhere", whiteSpace: "pre-line", maxHeight: "30vh", overflow: "auto" });
  const close = make("button", "×", {
    font: "inherit", color: "inherit", background: "none", border: "0", cursor: "pointer", padding: "0 .25rem",
  });
  close.setAttribute("aria-label", "Dismiss");
  close.onclick = () => notice.remove();
  notice.append(text, close);
  root.append(notice);
})
