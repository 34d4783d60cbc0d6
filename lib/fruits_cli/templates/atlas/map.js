const find = (id) => document.getElementById(id);
const FIELDS = { label: "Class", group: "Film", split: "Split", right: "Nearest neighbour", suspect: "Suspect" };
const VIEWS = { "": "PC1 and PC2", embedding_: "Neighbours (PaCMAP)" };
// Okabe and Ito's colours; more classes than these take hues far apart, at three levels of lightness.
const PALETTE = ["#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#f0e442"];
const GREY = "#8a9099";
const REACH = 14;
const AT_ONCE = 120;

const points = find("points"), marks = find("marks");
const pen = points.getContext("2d"), marker = marks.getContext("2d");
const probe = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const SIDE = Number(find("data").dataset.side), TILE = Number(find("data").dataset.thumbnail);
const { count, paths, texts, columns } = await unpack(find("data").textContent);
const sheets = [...document.querySelectorAll('script[type="image/webp"]')], bitmaps = [];
const filled = sheets.map(() => 0), tile = columns.sheet.map((sheet) => (sheet < 0 ? -1 : filled[sheet]++));
const off = Object.fromEntries(Object.keys(FIELDS).map((field) => [field, new Set()]));
const shown = new Uint8Array(count).fill(1), chosen = new Uint8Array(count), inside = new Int32Array(count);
let xs = columns.x, ys = columns.y, field = "label", colours = [], paint = [], order = [], near = 0;
let selection = [], pinned = -1, hovered = -1, path = null;
let width = 1, height = 1, ratio = 1, scale = 1, left = 0, top = 0, waiting = false;

function bytes(text) {
  const letters = atob(text), made = new Uint8Array(letters.length);
  for (let place = 0; place < letters.length; place++) made[place] = letters.charCodeAt(place);
  return made;
}

async function unpack(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  const content = await new Response(stream).arrayBuffer();
  const start = 4 + new DataView(content).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(content, 4, start - 4)));
  const read = (place) => {
    const column = new Int32Array(header.count), n = header.count, all = new Uint8Array(content, start + 4 * n * place, 4 * n);
    for (let row = 0, value = 0; row < n; row++) {
      const zigzag = all[row] | (all[n + row] << 8) | (all[2 * n + row] << 16) | (all[3 * n + row] << 24);
      column[row] = value += (zigzag >>> 1) ^ -(zigzag & 1);
    }
    return column;
  };
  return { ...header, columns: Object.fromEntries(header.columns.map((name, place) => [name, read(place)])) };
}

function element(name, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(name), attributes);
  made.append(text);
  return made;
}

const number = (value) => value.toLocaleString("en");
const textOf = (name, row) => texts[name][columns[name][row]];
const isOwn = (row) => columns.shows[row] === row;
const fileName = (row) => paths[row].split("/").pop();

function thumbnail(row) {
  const shows = columns.shows[row], made = element("canvas", "", { width: TILE, height: TILE });
  if (shows >= 0) bitmap(columns.sheet[shows]).then((sheet) => paste(made.getContext("2d"), sheet, shows, 0, 0, TILE));
  return made;
}

function bitmap(sheet) {
  return (bitmaps[sheet] ??= createImageBitmap(new Blob([bytes(sheets[sheet].textContent)], { type: "image/webp" })));
}

function paste(target, sheet, row, x, y, size) {
  target.drawImage(sheet, (tile[row] % SIDE) * TILE, Math.floor(tile[row] / SIDE) * TILE, TILE, TILE, x, y, size, size);
}

function aboutPicture(row) {
  if (columns.shows[row] < 0) return "This page holds no picture of this class, split and film.";
  return isOwn(row) ? "" : `Picture: nearest kept frame, ${fileName(columns.shows[row])}`;
}

const x = (row) => left + (xs[row] / 65535) * scale;
const y = (row) => top + (1 - ys[row] / 65535) * scale;

function fit() {
  const most = (values) => values.reduce((a, b) => Math.max(a, b), 1) / 65535;
  const [w, h] = [most(xs), most(ys)];
  scale = 0.92 * Math.min(width / w, height / h);
  left = (width - w * scale) / 2;
  top = (height + h * scale) / 2 - scale;
  redraw();
}

function zoom(factor, atX = width / 2, atY = height / 2) {
  const next = Math.min(Math.max(scale * factor, 0.3 * Math.min(width, height)), 4e5);
  left = atX - (atX - left) * (next / scale);
  top = atY - (atY - top) * (next / scale);
  scale = next;
  redraw();
}

function redraw() {
  if (!waiting) requestAnimationFrame(() => { waiting = false; draw(); mark(); });
  waiting = true;
}

function rgb(colour) {
  probe.fillStyle = colour;
  probe.fillRect(0, 0, 1, 1);
  return probe.getImageData(0, 0, 1, 1).data;
}

function disc(radius) {
  const cover = [], reach = Math.ceil(radius);
  for (let dy = -reach; dy <= reach; dy++) for (let dx = -reach; dx <= reach; dx++) {
    const alpha = Math.min(1, radius + 0.5 - Math.hypot(dx, dy));
    if (alpha > 0) cover.push([dx, dy, alpha]);
  }
  return cover;
}

function draw() {
  const style = getComputedStyle(document.documentElement);
  const dim = rgb(style.getPropertyValue("--line"));
  const [red, green, blue] = rgb(style.getPropertyValue("--paper"));
  const picture = pen.createImageData(points.width, points.height), pixels = picture.data;
  new Uint32Array(pixels.buffer).fill(((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0);
  near = 0;
  for (const row of order) {
    const px = x(row), py = y(row);
    if (shown[row] && px > -9 && py > -9 && px < width + 9 && py < height + 9) inside[near++] = row;
  }
  const radius = Math.min(6, Math.max(1.1, Math.sqrt((width * height) / (near || 1)) / 11)) * ratio;
  const cover = disc(radius), few = near * 1600 <= width * height;
  const put = (row, [r, g, b]) => {
    const cx = Math.round(x(row) * ratio), cy = Math.round(y(row) * ratio);
    for (const [dx, dy, alpha] of cover) {
      if (cx + dx < 0 || cx + dx >= points.width || cy + dy < 0 || cy + dy >= points.height) continue;
      const at = 4 * ((cy + dy) * points.width + cx + dx);
      pixels[at] += (r - pixels[at]) * alpha;
      pixels[at + 1] += (g - pixels[at + 1]) * alpha;
      pixels[at + 2] += (b - pixels[at + 2]) * alpha;
    }
  };
  if (selection.length) for (let k = 0; k < near; k++) if (!chosen[inside[k]]) put(inside[k], dim);
  for (let k = 0; k < near; k++) if (!selection.length || chosen[inside[k]]) put(inside[k], paint[columns[field][inside[k]]]);
  pen.putImageData(picture, 0, 0);
  if (few) for (let k = 0; k < near; k++) if (isOwn(inside[k])) drawThumbnail(inside[k], scale, left, top, xs);
}

async function drawThumbnail(row, ...seen) {
  const sheet = await bitmap(columns.sheet[row]), size = 32 * ratio;
  if ([scale, left, top, xs].some((value, place) => value !== seen[place]) || !shown[row]) return;
  const cx = x(row) * ratio - size / 2, cy = y(row) * ratio - size / 2;
  pen.fillStyle = selection.length && !chosen[row] ? GREY : colours[columns[field][row]];
  pen.fillRect(cx - 2 * ratio, cy - 2 * ratio, size + 4 * ratio, size + 4 * ratio);
  paste(pen, sheet, row, cx, cy, size);
}

function neighbours(row) {
  return [0, 1, 2, 3, 4].map((place) => columns[`neighbour_${place}`]?.[row] ?? -1).filter((found) => found >= 0);
}

function mark() {
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink");
  marker.setTransform(ratio, 0, 0, ratio, 0, 0);
  marker.clearRect(0, 0, width, height);
  marker.strokeStyle = ink;
  marker.lineWidth = 1.5;
  const ring = (row, radius) => { marker.beginPath(); marker.arc(x(row), y(row), radius, 0, 7); marker.stroke(); };
  if (pinned >= 0) {
    ring(pinned, 9);
    for (const row of neighbours(pinned)) {
      marker.beginPath();
      marker.moveTo(x(pinned), y(pinned));
      marker.lineTo(x(row), y(row));
      marker.stroke();
      ring(row, 4);
    }
  }
  if (hovered >= 0) ring(hovered, 7);
  if (path) {
    marker.beginPath();
    path.forEach(([px, py]) => marker.lineTo(px, py));
    marker.setLineDash([5, 4]);
    marker.stroke();
    marker.setLineDash([]);
  }
}

function nearest(px, py, reach) {
  let best = -1, least = reach * reach;
  for (let k = 0; k < near; k++) {
    const row = inside[k], distance = (x(row) - px) ** 2 + (y(row) - py) ** 2;
    if (distance < least && (!selection.length || chosen[row])) [best, least] = [row, distance];
  }
  return best;
}
