"use strict";

const $ = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
let shown = "";

async function search(file) {
  URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(file);
  $("query").src = shown;
  $("query").hidden = false;
  $("query").alt = `Your image ${file.name}`;
  $("message").textContent = "Searching …";
  try {
    const response = await fetch("/v1/search?k=10", {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream" },
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail);
    show(answer);
  } catch (error) {
    $("neighbours").replaceChildren();
    $("message").textContent = error.message;
  }
}

function show({ matches, coverage, degraded, timing_ms: took }) {
  $("neighbours").replaceChildren(...matches.map(card));
  const missing = degraded.length ? `; without ${degraded.join(", ")}, whose store is away` : "";
  $("message").textContent =
    `Exact over ${number(coverage.count)} images, generation ${coverage.generation}, in ${took.total.toFixed(1)} ms` +
    ` (decode ${took.decode.toFixed(1)}, encode ${took.encode.toFixed(1)}, search ${took.search.toFixed(1)})${missing}.`;
}

function card(match) {
  const item = document.createElement("li");
  const picture = document.createElement("img");
  picture.src = match.thumbnail_url;
  picture.alt = "";
  item.append(picture, text("strong", match.distance.toFixed(3)));
  if (match.same_bytes || match.same_pixels) item.append(text("span", match.same_bytes ? "same bytes" : "same pixels"));
  const label = match.metadata?.label;
  if (label !== undefined) item.append(text("span", `label ${label}`));
  item.append(text("span", match.id));
  return item;
}

function text(tag, content) {
  const element = document.createElement(tag);
  element.textContent = content.length > 200 ? `${content.slice(0, 200)}…` : content;
  return element;
}

function follow() {
  const events = new EventSource("/v1/index/events");
  events.addEventListener("index", (event) => {
    const index = JSON.parse(event.data);
    const lag = index.lag ? `, ${number(index.lag)} on their way` : "";
    $("live").textContent = `${number(index.count)} images${lag}, ${number(index.rates.out_per_s)}/s`;
  });
  events.onerror = () => { $("live").textContent = "Connection lost, trying again …"; };
}

$("file").addEventListener("change", (event) => event.target.files[0] && search(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) search(event.dataTransfer.files[0]);
  });
}
follow();
