// Renews what is marked `data-live` every five seconds, while the page is seen and nobody is at work in that part.
"use strict";
(() => {
  const live = () => document.querySelector("[data-live]");
  const busy = () => document.hidden || live().contains(document.activeElement)
    || String(document.getSelection()).length > 0;
  async function renew() {
    if (!busy()) {
      try {
        const answer = await fetch(location.href, { headers: { accept: "text/html" } });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const next = page.querySelector("[data-live]");
        if (answer.ok && next && !busy()) live().replaceChildren(...next.childNodes);
      } catch (error) { /* the next time */ }
    }
    setTimeout(renew, 5000);
  }
  if (live()) setTimeout(renew, 5000);
})();
