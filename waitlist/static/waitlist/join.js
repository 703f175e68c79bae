// Joins without leaving the page. Without this script the form is posted and the server answers with a page.

const join = document.getElementById("join");
const form = join.querySelector("form");
const button = form.querySelector("button");
const problem = document.getElementById("problem");
const reason = document.getElementById("email-error");
const { email, source, website } = form.elements;

// The page has the same bytes for everyone, so where a visitor came from is read here.
if (!source.value) {
  source.value = (new URLSearchParams(location.search).get("source") ?? "").slice(0, 64);
}

function refuse(sentence, addressIsBad) {
  reason.textContent = sentence;
  problem.hidden = false;
  if (addressIsBad) {
    email.setAttribute("aria-invalid", "true");
  } else {
    email.removeAttribute("aria-invalid");
  }
  email.setAttribute("aria-describedby", "email-error email-help");
  email.focus();
}

function welcome(sentence) {
  const done = join.querySelector("[role=status]");
  const title = document.createElement("strong");
  title.textContent = join.dataset.done;
  const text = document.createElement("span");
  text.textContent = sentence;
  problem.hidden = true;
  form.hidden = true;
  done.className = "joined notice";
  done.replaceChildren(title, text);
  done.tabIndex = -1;
  done.focus();
}

async function send() {
  const response = await fetch("/api/v1/waitlist", {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "application/json" },
    body: JSON.stringify({ email: email.value, source: source.value }),
  });
  const answer = await response.json();
  if (response.ok) {
    welcome(answer.message);
  } else if (response.status === 422) {
    const errors = answer.errors;
    refuse((errors.email ?? Object.values(errors).flat())[0], "email" in errors);
  } else {
    refuse(response.status === 429 ? join.dataset.tooMany : join.dataset.failed, false);
  }
}

form.addEventListener("submit", async (event) => {
  // What fills every field is answered as it would be without this script.
  if (website.value) return;
  event.preventDefault();
  if (button.getAttribute("aria-disabled") === "true") return;
  const label = button.textContent;
  button.setAttribute("aria-disabled", "true");
  button.textContent = join.dataset.sending;
  try {
    await send();
  } catch {
    refuse(join.dataset.unreachable, false);
  } finally {
    button.removeAttribute("aria-disabled");
    button.textContent = label;
  }
});
