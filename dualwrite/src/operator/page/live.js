// Renews what is marked `data-live` as the server sends it, while the page is seen and nobody is at work in that part;
// and shows times as how long ago they are, and by the reader's clock.
"use strict";
(() => {
  const live = document.querySelector("[data-live]");
  const busy = () => live.contains(document.activeElement) || String(document.getSelection()).length > 0;
  const ago = (ms) => {
    const s = Math.round(Math.abs(ms) / 1000);
    const [n, unit] = s < 90 ? [s, "s"] : s < 5400 ? [Math.round(s / 60), "min"]
      : s < 129600 ? [Math.round(s / 3600), "h"] : [Math.round(s / 86400), "d"];
    return ms < 0 ? `in ${n} ${unit}` : `${n} ${unit} ago`;
  };
  const times = () => document.querySelectorAll("time[datetime]").forEach((time) => {
    const at = new Date(time.dateTime);
    if (isNaN(at)) return;
    time.textContent = ago(Date.now() - at);
    time.title = `${at.toLocaleString()} (${time.dateTime})`;
  });
  times();
  if (!live || !window.EventSource) { setInterval(times, 10000); return; }
  let source = null, waits = null;
  const put = (text) => {
    if (busy()) { waits = text; return; }
    waits = null;
    live.innerHTML = text;
    times();
  };
  const open = () => {
    source = new EventSource(live.dataset.live);
    source.addEventListener("view", (event) => put(event.data));
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(again, 10000); };
  };
  const again = () => { if (!document.hidden && (!source || source.readyState === EventSource.CLOSED)) open(); };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { if (source) source.close(); } else again();
  });
  setInterval(() => { if (waits !== null) put(waits); }, 1000);
  setInterval(times, 10000);
  again();
})();
