// The column at the right: classes, tools, steps.

/** Radio buttons in a group, that arrow keys walk through. items: [{id, label: Node | string, title, key}]. */
export class Choice {
  constructor(group, onChoose) {
    this.group = group;
    this.onChoose = onChoose;
    group.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by) return;
      event.preventDefault();
      const buttons = [...group.children];
      const at = buttons.findIndex((button) => button.ariaChecked === "true");
      const next = buttons[(at + by + buttons.length) % buttons.length];
      this.choose(next.dataset.id);
      next.focus();
    });
  }

  set items(items) {
    this.group.replaceChildren(
      ...items.map(({ id, parts, title, key }) => {
        const button = document.createElement("button");
        button.setAttribute("role", "radio");
        button.dataset.id = id;
        if (title) button.title = title;
        if (key) button.setAttribute("aria-keyshortcuts", key);
        button.append(...parts);
        button.addEventListener("click", () => this.choose(id));
        return button;
      }),
    );
  }

  choose(id) {
    for (const button of this.group.children) {
      button.ariaChecked = String(button.dataset.id === String(id));
      button.tabIndex = button.ariaChecked === "true" ? 0 : -1;
    }
    this.onChoose(id);
  }
}

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** What was done, newest first, each with the time it took. */
export class Steps {
  constructor(list) {
    this.list = list;
    this.show([]);
  }

  /** steps: [{text, sign, color, took, seconds, waiting, undone}], oldest first. */
  show(steps) {
    if (!steps.length) {
      this.list.replaceChildren(element("li", "empty", "Nothing yet. The time of each step will stand here."));
      return;
    }
    this.list.replaceChildren(
      ...steps.toReversed().map(({ text, sign, color, took, seconds, waiting, undone }) => {
        const item = element("li", undone ? "undone" : "");
        const mark = element("span", `sign ${sign}`, { plus: "+", minus: "−", other: "•" }[sign]);
        const swatch = element("span", "swatch");
        swatch.style.background = color ?? "transparent";
        const time = element("span", "time", waiting ? "…" : formatSeconds(took));
        time.title = seconds === undefined ? "" : `${formatSeconds(seconds)} of it on the server`;
        item.append(mark, swatch, element("span", "what", text), time);
        return item;
      }),
    );
  }
}

export function formatSeconds(seconds) {
  if (seconds < 1) return `${Math.ceil(seconds * 1000)} ms`;
  return seconds < 10 ? `${seconds.toFixed(2)} s` : `${seconds.toFixed(0)} s`;
}
