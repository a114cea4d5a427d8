// Keys on the instrument's own screen, which has no keyboard: a field that is touched brings them up. With a plugged
// keyboard or a mouse they stay away, and phones have their own.
"use strict";

(() => {
  const panel = document.getElementById("keys");
  if (!panel) return;
  const LAYERS = {
    small: ["1234567890", "qwertyuiop", "asdfghjkl-", "zxcvbnm_"],
    large: ["1234567890", "QWERTYUIOP", "ASDFGHJKL-", "ZXCVBNM_"],
    signs: ["1234567890", "!\"#$%&'()*", "+,:;<=>?[]", "\\^`{|}~€"],
    digits: ["123", "456", "789", ".0"],
    whole: ["123", "456", "789", "0"], // a browser empties a field for numbers at a point that nothing follows
  };
  const TYPED = "input:not([type]), input[type=text], input[type=search], input[type=password], input[type=number], input[type=url], textarea";
  let field = null, layer = "large";

  function put(text) {
    if (field.type === "number") field.value += text; // it has no cursor that scripts could ask for
    else field.setRangeText(text, field.selectionStart, field.selectionEnd, "end");
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function erase() {
    if (field.type === "number") field.value = field.value.slice(0, -1);
    else {
      const end = field.selectionEnd, start = Math.min(field.selectionStart, end === field.selectionStart ? Math.max(0, end - 1) : end);
      field.setRangeText("", start, end, "end");
    }
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  function key(label, name, act, css = "") {
    const button = document.createElement("button");
    button.type = "button";
    button.tabIndex = -1;
    button.textContent = label;
    button.setAttribute("aria-label", name);
    if (css) button.className = css;
    button.addEventListener("click", act);
    return button;
  }

  function draw() {
    const words = panel.dataset, rows = LAYERS[layer].map((row) => [...row].map((sign) => key(sign, sign, () => put(sign))));
    const back = key("⌫", words.erase, erase, "wide"), done = key(words.done, words.done, hide, "wide primary");
    if (layer === "digits" || layer === "whole") {
      rows[3].unshift(back);
      rows[3].push(done);
    } else {
      const turn = (to) => () => { layer = to; draw(); };
      rows[3].unshift(key(layer === "large" ? "abc" : "ABC", words.letters, turn(layer === "large" ? "small" : "large"), "wide"));
      rows[3].push(back);
      rows.push([
        key(layer === "signs" ? "abc" : "#+=", words.signs, turn(layer === "signs" ? "small" : "signs"), "wide"),
        ...["@", "/", "."].map((sign) => key(sign, sign, () => put(sign))),
        key(words.space, words.space, () => put(" "), "space"),
        done,
      ]);
    }
    panel.replaceChildren(...rows.map((keys) => {
      const row = document.createElement("div");
      row.append(...keys);
      return row;
    }));
  }

  function show(touched) {
    field = touched;
    if (field.type === "number") layer = "whole";
    else if (field.inputMode === "decimal") layer = "digits";
    else layer = field.type === "text" && field.autocapitalize === "characters" ? "large" : "small";
    draw();
    panel.hidden = false;
    document.body.classList.add("typing");
    // What the keys cover can be scrolled past them, and the field stands above them.
    document.documentElement.style.setProperty("--keys", `${panel.offsetHeight}px`);
    field.focus();
    field.scrollIntoView({ block: "nearest" });
  }

  function hide() {
    panel.hidden = true;
    document.body.classList.remove("typing");
    field?.blur();
    field = null;
  }

  panel.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the cursor
  // At the click, a touch's last event: an earlier one would put a key under the finger that is still there.
  document.addEventListener("click", (event) => {
    if (!["touch", "pen"].includes(event.pointerType) || event.composedPath().includes(panel)) return;
    const touched = event.target.closest?.(TYPED);
    if (touched && !touched.readOnly && !touched.disabled) show(touched);
    else if (field) hide();
  });
  document.addEventListener("htmx:afterSwap", () => { if (field && !field.isConnected) hide(); });
})();
