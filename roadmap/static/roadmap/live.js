// Follows a roadmap while it is worked on. Without this script the page loads itself anew every few seconds.

const live = document.getElementById("live");
const lost = document.getElementById("lost");
const progress = document.getElementById("progress");
const left = document.getElementById("left");
const steps = [...live.querySelectorAll("[data-step]")];
const SAME_STEP = { repair: "outline", revise: "outline" };
const REFUSALS = 3; // one after another, until the page is loaded anew: it says what is wrong

let seen = live.dataset.last; // the number of the newest event that the page shows
let refused = 0;

function goOn({ status, step }) {
  if (status !== live.dataset.state) {
    location.reload();
    return;
  }
  // The step is the one that is done.
  const now = steps.findIndex((item) => item.dataset.step === (SAME_STEP[step] ?? step)) + 1;
  if (!now) return;
  progress.value = now;
  steps.forEach((item, index) => {
    item.classList.toggle("stop-done", index < now);
    item.classList.toggle("stop-now", index === now);
    if (index === now) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  });
}

function count({ done, of }) {
  progress.max = of;
  progress.value = done;
  left.textContent = of - done === 1 ? live.dataset.leftOne : `${of - done} ${live.dataset.leftMany}`;
}

function markStage(item) {
  const stage = item.closest(".stop");
  if (stage.querySelector(".lesson-waiting")) return;
  stage.classList.remove("stop-now");
  stage.classList.add("stop-done");
  live.querySelector(".stop:not(.stop-done)")?.classList.add("stop-now");
}

function find(key) {
  return live.querySelector(`[data-concept="${CSS.escape(key)}"]`);
}

function addLesson(data) {
  const item = find(data.concept);
  if (!item) return;
  const title = item.querySelector(".lesson-title > :first-child");
  const link = document.createElement("a");
  link.href = item.dataset.href;
  link.textContent = title.textContent;
  title.replaceWith(link);
  item.classList.remove("lesson-waiting", "lesson-gap");
  item.classList.add("lesson-new");
  count(data);
  markStage(item);
}

function addGap(data) {
  const item = find(data.concept);
  if (!item) return;
  const chip = document.createElement("span");
  chip.className = "chip chip-bad";
  chip.textContent = live.dataset.gap;
  item.querySelector(".lesson-title").append(chip);
  item.classList.remove("lesson-waiting");
  item.classList.add("lesson-gap");
  count(data);
  markStage(item);
}

function follow() {
  const stream = new EventSource(`${live.dataset.events}?after=${seen}`);
  for (const [kind, act] of Object.entries({ status: goOn, lesson: addLesson, gap: addGap })) {
    stream.addEventListener(kind, (event) => {
      seen = event.lastEventId;
      act(JSON.parse(event.data));
    });
  }
  stream.addEventListener("open", () => {
    refused = 0;
    lost.hidden = true;
  });
  stream.addEventListener("error", () => {
    lost.textContent = live.dataset.lost;
    lost.hidden = false;
    // The browser comes back by itself after a lost connection, but not after an answer that was no stream.
    if (stream.readyState !== EventSource.CLOSED) return;
    refused += 1;
    if (refused > REFUSALS) location.reload();
    // Thousands may have been refused at the same moment.
    else setTimeout(follow, refused * (1000 + 3000 * Math.random()));
  });
}

follow();
