let gallery = [], lasso = false, names = null;

function hover(row) {
  const tip = find("tip");
  hovered = row;
  tip.hidden = row < 0;
  if (row >= 0) {
    tip.replaceChildren(thumbnail(row), element("strong", textOf("label", row)), element("br"), fileName(row));
    if (aboutPicture(row)) tip.append(element("div", aboutPicture(row), { className: "soft" }));
    tip.style.left = `${Math.max(0, Math.min(x(row) + 14, width - tip.offsetWidth - 4))}px`;
    tip.style.top = `${Math.max(0, Math.min(y(row) + 14, height - tip.offsetHeight - 4))}px`;
  }
  mark();
}

function pin(row) {
  pinned = row;
  hover(-1);
  if (row < 0) return;
  const facts = element("dl"), found = neighbours(row), pictures = element("div", "", { className: "thumbnails" });
  const frame = columns.frame[row] < 0 ? "unknown" : columns.frame[row];
  const rows = { File: paths[row], Frame: frame };
  for (const name in FIELDS) rows[FIELDS[name]] = textOf(name, row);
  for (const name in rows) facts.append(element("dt", name), element("dd", rows[name]));
  pictures.append(...found.map(button));
  find("image").replaceChildren(element("h2", textOf("label", row)), thumbnail(row));
  if (aboutPicture(row)) find("image").append(element("p", aboutPicture(row), { className: "soft" }));
  find("image").append(facts);
  if (found.length) find("image").append(element("h2", "Nearest neighbours"), pictures);
}

function button(row) {
  const made = element("button", thumbnail(row), { type: "button", title: `${paths[row]} ${aboutPicture(row)}` });
  made.append(textOf("label", row));
  made.classList.toggle("near", !isOwn(row));
  made.setAttribute("aria-label", `${textOf("label", row)}, ${fileName(row)}`);
  made.addEventListener("click", () => pin(row));
  return made;
}

function select(rows, how) {
  selection = rows;
  chosen.fill(0);
  for (const row of rows) chosen[row] = 1;
  find("status").textContent = how ? `${number(rows.length)} ${rows.length === 1 ? "image" : "images"} ${how}.` : "Nothing is selected. Use the lasso or the search.";
  find("export").disabled = !rows.length;
  find("clear").disabled = !how;
  // Evenly from the whole selection: neighbouring rows are neighbouring frames.
  const step = Math.ceil(rows.length / AT_ONCE) || 1;
  gallery = [];
  for (let first = 0; first < step; first++) for (let place = first; place < rows.length; place += step) gallery.push(rows[place]);
  find("gallery").replaceChildren();
  list();
  redraw();
}

function list() {
  find("gallery").append(...gallery.splice(0, AT_ONCE).map(button));
  find("more").hidden = !gallery.length;
}

function visible(test) {
  const rows = [];
  for (let row = 0; row < count; row++) if (shown[row] && test(row)) rows.push(row);
  return rows;
}

function encloses(polygon, px, py) {
  let within = false;
  polygon.forEach(([ax, ay], place) => {
    const [bx, by] = polygon.at(place - 1);
    if (ay > py !== by > py && px < ax + ((bx - ax) * (py - ay)) / (by - ay)) within = !within;
  });
  return within;
}

function search(text) {
  const sought = text.trim().toLowerCase();
  if (!sought) return select([], "");
  names ??= paths.map((path, row) => `${textOf("label", row)} ${path}`.toLowerCase());
  const found = visible((row) => names[row].includes(sought));
  return select(found, `found for “${text.trim()}”`);
}

function exportRows() {
  const cell = (value) => `"${String(value).replaceAll('"', '""')}"`;
  const lines = selection.map((row) => [paths[row], columns.frame[row], ...Object.keys(FIELDS).map((name) => textOf(name, row))]);
  const text = [["path", "frame", ...Object.keys(FIELDS)], ...lines].map((line) => line.map(cell).join(",")).join("\r\n");
  const link = element("a", "", { href: URL.createObjectURL(new Blob([text, "\r\n"], { type: "text/csv" })), download: "selection.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function colourBy(name) {
  field = name;
  const names = texts[name], sizes = new Array(names.length).fill(0);
  for (const code of columns[name]) sizes[code]++;
  const hue = (code) => `hsl(${(code * 137.508) % 360} ${[70, 55, 80][code % 3]}% ${[45, 64, 54][code % 3]}%)`;
  colours = names.map((text, code) => (text === "unknown" ? GREY : names.length > PALETTE.length ? hue(code) : PALETTE[code]));
  paint = colours.map(rgb);
  // In an order that mixes classes; the rarest of a few values lies on top.
  order = Int32Array.from({ length: count }, (_, row) => row);
  for (let row = count - 1, seed = 1; row > 0; row--) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    const other = seed % (row + 1);
    [order[row], order[other]] = [order[other], order[row]];
  }
  if (names.length <= PALETTE.length) order.sort((a, b) => sizes[columns[name][b]] - sizes[columns[name][a]]);
  find("legend-title").textContent = FIELDS[name];
  find("legend").replaceChildren(...names.map((text, code) => entry(text, code, sizes[code])));
  redraw();
}

function entry(text, code, size) {
  const made = element("button", element("i"), { type: "button" }), item = element("li", made);
  made.append(element("span", text), element("small", number(size)));
  made.firstChild.style.background = made.firstChild.style.borderColor = colours[code];
  made.setAttribute("aria-pressed", !off[field].has(code));
  made.addEventListener("click", () => switchOff([code], !off[field].has(code)));
  return item;
}

function switchOff(codes, away) {
  for (const code of codes) off[field][away ? "add" : "delete"](code);
  [...find("legend").children].forEach((item, code) => item.firstChild.setAttribute("aria-pressed", !off[field].has(code)));
  for (let row = 0; row < count; row++) shown[row] = Object.keys(FIELDS).every((name) => !off[name].has(columns[name][row]));
  describe();
  redraw();
}

function describe() {
  const seen = shown.reduce((a, b) => a + b, 0), part = seen < count ? `${number(seen)} of ${number(count)}` : number(count);
  find("summary").textContent = `${part} images. Each point is an image, placed by two numbers of many; its neighbours by more are shown with it.`;
}

function setLasso(on) {
  lasso = on;
  find("lasso").setAttribute("aria-pressed", on);
}

function follow() {
  const pointers = new Map();
  let moved = 0;
  const place = (event) => [event.offsetX, event.offsetY];
  marks.addEventListener("pointerdown", (event) => {
    marks.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, place(event));
    moved = 0;
    path = pointers.size === 1 && (lasso || event.shiftKey) ? [place(event)] : null;
  });
  marks.addEventListener("pointermove", (event) => {
    const [px, py] = place(event), before = pointers.get(event.pointerId);
    if (!before) return hover(nearest(px, py, REACH));
    moved += Math.hypot(px - before[0], py - before[1]);
    pointers.set(event.pointerId, [px, py]);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (path) path.push([px, py]);
    else {
      const share = other ? 0.5 : 1;
      left += (px - before[0]) * share;
      top += (py - before[1]) * share;
      const apart = (from) => Math.hypot(from[0] - other[0], from[1] - other[1]) || 1;
      if (other) zoom(apart([px, py]) / apart(before), (px + other[0]) / 2, (py + other[1]) / 2);
    }
    return path ? mark() : redraw();
  });
  marks.addEventListener("pointerup", (event) => {
    if (path?.length > 2) select(visible((row) => encloses(path, x(row), y(row))), "inside the lasso");
    else if (moved < 6 && pointers.size === 1) {
      pin(nearest(...place(event), event.pointerType === "mouse" ? REACH : 24));
      if (event.pointerType !== "mouse") hover(pinned);
    }
    if (path) setLasso(false);
  });
  for (const name of ["pointerup", "pointercancel"]) marks.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    path = null;
    mark();
  });
  marks.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hover(-1); });
  marks.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)), ...place(event));
  }, { passive: false });
}

function step(by) {
  for (let row = pinned + by; pinned >= 0 && row >= 0 && row < count; row += by) {
    if (shown[row] && ["label", "group"].every((name) => columns[name][row] === columns[name][pinned])) return pin(row);
  }
}

function press(event) {
  const pan = (dx, dy) => () => { left += dx; top += dy; redraw(); };
  const act = {
    ArrowLeft: pan(60, 0), ArrowRight: pan(-60, 0), ArrowUp: pan(0, 60), ArrowDown: pan(0, -60), 0: fit,
    "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3), n: () => step(1), p: () => step(-1),
    Enter: () => pin(nearest(width / 2, height / 2, Infinity)), Escape: () => clear(),
  }[event.key];
  if (!act || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}

function clear() {
  find("search").value = "";
  path = null;
  setLasso(false);
  select([], "");
}

function listen() {
  const click = (id, act) => find(id).addEventListener("click", act);
  const all = () => texts[field].map((_, code) => code);
  find("view").append(...Object.keys(VIEWS).filter((name) => `${name}x` in columns).map((name) => element("option", VIEWS[name], { value: name })));
  find("view").parentElement.hidden = find("view").options.length < 2;
  find("field").append(...Object.keys(FIELDS).filter((name) => name === "label" || new Set(columns[name]).size > 1)
    .map((name) => element("option", FIELDS[name], { value: name })));
  find("view").addEventListener("change", ({ target }) => {
    [xs, ys] = [columns[`${target.value}x`], columns[`${target.value}y`]];
    fit();
  });
  find("field").addEventListener("change", ({ target }) => colourBy(target.value));
  find("search").addEventListener("input", ({ target }) => search(target.value));
  marks.addEventListener("keydown", press);
  click("lasso", () => setLasso(!lasso));
  click("inside", () => select(visible((row) => x(row) >= 0 && y(row) >= 0 && x(row) <= width && y(row) <= height), "in view"));
  click("closer", () => zoom(1.5));
  click("farther", () => zoom(1 / 1.5));
  click("fit", fit);
  click("all", () => switchOff(all(), false));
  click("none", () => switchOff(all(), true));
  click("export", exportRows);
  click("clear", clear);
  click("more", list);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => {
    if (!marks.clientWidth || !marks.clientHeight) return;
    const first = width === 1;
    [width, height, ratio] = [marks.clientWidth, marks.clientHeight, devicePixelRatio];
    for (const canvas of [points, marks]) [canvas.width, canvas.height] = [width * ratio, height * ratio].map(Math.round);
    if (first) {
      fit();
      requestAnimationFrame(() => { document.body.dataset.ready = Math.round(performance.now()); });
    } else redraw();
  }).observe(marks);
}

colourBy("label");
describe();
listen();
follow();
