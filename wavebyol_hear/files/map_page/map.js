
"use strict";

const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const count = data.x.length;
const canvas = byId("plot");
const context = canvas.getContext("2d");
const player = byId("player");
const MARGIN = 24;
const MOST_MATCHES = 50;
const hidden = new Set();
let view = { scale: 1, x: 0, y: 0 }; // of the unit square, in pixels
let chosen = -1;
let hovered = -1;
let colors = [];
let waiting = false;

// ----- where a point is

function fit() {
  view = { scale: 1, x: 0, y: 0 };
  byId("plot").parentElement.classList.remove("zoomed");
  draw();
}

function position(index) {
  const side = Math.min(canvas.clientWidth, canvas.clientHeight) - 2 * MARGIN;
  const left = (canvas.clientWidth - side) / 2;
  const top = (canvas.clientHeight - side) / 2;
  return [
    view.scale * (left + data.x[index] * side) + view.x,
    view.scale * (top + (1 - data.y[index]) * side) + view.y,
  ];
}

function visible(index) {
  return !hidden.has(data.group[index]);
}

function nearest(x, y, reach) {
  let best = -1;
  let least = reach * reach;
  for (let i = 0; i < count; i += 1) {
    if (!visible(i)) continue;
    const [px, py] = position(i);
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least) [best, least] = [i, distance];
  }
  return best;
}

// The next point of a direction: near, and more ahead than aside.
function neighbor(dx, dy) {
  const from = chosen < 0 ? [canvas.clientWidth / 2, canvas.clientHeight / 2] : position(chosen);
  let best = -1;
  let least = Infinity;
  for (let i = 0; i < count; i += 1) {
    if (i === chosen || !visible(i)) continue;
    const [px, py] = position(i);
    const ahead = (px - from[0]) * dx + (py - from[1]) * dy;
    const aside = Math.abs((px - from[0]) * dy - (py - from[1]) * dx);
    if (ahead <= 0 || aside > ahead) continue;
    const cost = ahead + 2 * aside;
    if (cost < least) [best, least] = [i, cost];
  }
  return best >= 0 || chosen >= 0 ? best : nearest(from[0], from[1], Infinity);
}

// ----- drawing

function readColors() {
  const style = getComputedStyle(document.documentElement);
  colors = data.groups.map((_, group) => style.getPropertyValue(colorName(group)).trim());
}

function colorName(group) {
  return data.rest === group ? "--rest" : `--g${group}`;
}

function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    paint();
  });
}

function paint() {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const radius = Math.max(2, Math.min(6, 120 / Math.sqrt(count))) * Math.min(2, Math.sqrt(view.scale));
  context.globalAlpha = count > 2000 ? 0.6 : 0.85;
  for (let i = 0; i < count; i += 1) {
    if (visible(i)) dot(i, radius);
  }
  context.globalAlpha = 1;
  const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink").trim();
  for (const [index, grown] of [[hovered, 2], [chosen, 4]]) {
    if (index < 0) continue;
    dot(index, radius + grown);
    context.strokeStyle = ink;
    context.lineWidth = 2;
    context.stroke();
  }
}

function dot(index, radius) {
  const [x, y] = position(index);
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = colors[data.group[index]];
  context.fill();
}

// ----- choosing and playing

function choose(index, play) {
  if (index < 0) return;
  chosen = index;
  const uri = data.uri[index];
  byId("name").textContent = data.name[index];
  byId("where").textContent = `${data.groups[data.group[index]]} · ${span(index)}`;
  byId("trouble").textContent = uri ? "" : "There was no such file when the map was made.";
  player.pause();
  if (uri) {
    player.src = `${uri}#t=${data.start[index]},${data.end[index]}`;
    if (play) start();
  } else {
    player.removeAttribute("src");
    player.load();
  }
  draw();
}

function span(index) {
  return `${data.start[index].toFixed(2)} to ${data.end[index].toFixed(2)} s`;
}

function start() {
  player.play().catch((error) => {
    if (error.name !== "AbortError") trouble();
  });
}

function trouble() {
  if (chosen < 0 || !data.uri[chosen]) return;
  byId("trouble").textContent =
    "This browser cannot play the file, or it is not where it was when the map was made.";
}

function toggle() {
  if (chosen < 0 || !data.uri[chosen]) return;
  if (player.paused) start();
  else player.pause();
}

player.addEventListener("error", trouble);
player.addEventListener("playing", () => {
  byId("trouble").textContent = "";
});

// ----- moving about

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const scale = Math.min(200, Math.max(1, view.scale * factor));
  const change = scale / view.scale;
  view = { scale, x: x - (x - view.x) * change, y: y - (y - view.y) * change };
  if (scale === 1) view = { scale: 1, x: 0, y: 0 };
  canvas.parentElement.classList.toggle("zoomed", scale > 1);
  draw();
}

const pointers = new Map();
let moved = false;

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left - canvas.clientLeft, event.clientY - box.top - canvas.clientTop];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  if (pointers.size === 0) moved = false;
  pointers.set(event.pointerId, place(event));
  canvas.setPointerCapture(event.pointerId);
});

canvas.addEventListener("pointermove", (event) => {
  const [x, y] = place(event);
  const before = pointers.get(event.pointerId);
  if (before === undefined) {
    hover(event.pointerType === "mouse" ? nearest(x, y, 14) : -1);
    return;
  }
  if (Math.hypot(x - before[0], y - before[1]) < 4 && !moved) return;
  moved = true;
  hover(-1);
  const others = [...pointers].filter(([id]) => id !== event.pointerId);
  if (others.length) {
    const other = others[0][1];
    const factor = Math.hypot(x - other[0], y - other[1]) / Math.hypot(before[0] - other[0], before[1] - other[1]);
    if (Number.isFinite(factor) && factor > 0) zoom(factor, (x + other[0]) / 2, (y + other[1]) / 2);
  } else if (view.scale > 1) {
    view = { scale: view.scale, x: view.x + x - before[0], y: view.y + y - before[1] };
    draw();
  }
  pointers.set(event.pointerId, [x, y]);
});

canvas.addEventListener("pointerup", (event) => {
  const known = pointers.delete(event.pointerId);
  if (!known || moved || pointers.size) return;
  const [x, y] = place(event);
  choose(nearest(x, y, event.pointerType === "mouse" ? 14 : 26), true);
});
canvas.addEventListener("pointercancel", (event) => pointers.delete(event.pointerId));
canvas.addEventListener("pointerleave", () => hover(-1));
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return; // the wheel alone scrolls the page
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 300), ...place(event));
}, { passive: false });

function hover(index) {
  const tip = byId("tip");
  if (index !== hovered) {
    hovered = index;
    draw();
  }
  tip.hidden = index < 0;
  if (index < 0) return;
  tip.textContent = data.name[index];
  const [x, y] = position(index);
  tip.style.left = `${Math.max(4, Math.min(x + 14, canvas.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(y + 14, canvas.clientHeight - tip.offsetHeight - 4))}px`;
}

const DIRECTIONS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

canvas.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in DIRECTIONS) choose(neighbor(...DIRECTIONS[event.key]), false);
  else if (event.key === "Enter" || event.key === " ") toggle();
  else if (event.key === "+" || event.key === "=") zoom(1.5);
  else if (event.key === "-") zoom(1 / 1.5);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
  reveal();
});

// What keys choose in a zoomed map comes into sight.
function reveal() {
  if (chosen < 0) return;
  const [x, y] = position(chosen);
  const dx = Math.min(canvas.clientWidth - MARGIN, Math.max(MARGIN, x)) - x;
  const dy = Math.min(canvas.clientHeight - MARGIN, Math.max(MARGIN, y)) - y;
  if (view.scale > 1 && (dx || dy)) {
    view = { scale: view.scale, x: view.x + dx, y: view.y + dy };
    draw();
  }
}

byId("in").addEventListener("click", () => zoom(1.5));
byId("out").addEventListener("click", () => zoom(1 / 1.5));
byId("all").addEventListener("click", fit);

// ----- names and colors

function item(list, ...children) {
  const entry = document.createElement("li");
  entry.append(...children);
  list.append(entry);
  return entry;
}

byId("find").addEventListener("input", (event) => {
  const text = event.target.value.trim().toLowerCase();
  const list = byId("matches");
  list.replaceChildren();
  if (!text) return;
  let matches = 0;
  for (let i = 0; i < count; i += 1) {
    if (!data.name[i].toLowerCase().includes(text)) continue;
    matches += 1;
    if (matches > MOST_MATCHES) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `${data.name[i]} (${span(i)})`;
    button.addEventListener("click", () => choose(i, true));
    item(list, button);
  }
  if (matches === 0 || matches > MOST_MATCHES) {
    item(list, matches ? `and ${matches - MOST_MATCHES} more` : "no such name").className = "soft";
  }
});

data.groups.forEach((name, group) => {
  const button = document.createElement("button");
  const mark = document.createElement("span");
  const label = document.createElement("span");
  const number = document.createElement("span");
  button.type = "button";
  button.setAttribute("aria-pressed", "true");
  mark.className = "dot";
  mark.style.background = `var(${colorName(group)})`;
  label.textContent = name;
  number.className = "count";
  number.textContent = data.counts[group].toLocaleString("en");
  button.append(mark, label, number);
  button.addEventListener("click", () => {
    const shown = hidden.delete(group) || !hidden.add(group);
    button.setAttribute("aria-pressed", String(shown));
    draw();
  });
  item(byId("legend"), button);
});

window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  draw();
});
new ResizeObserver(draw).observe(canvas);
readColors();
paint();
document.documentElement.dataset.ready = "true";
