// The page is whole without this script. It fetches the tables anew every two
// seconds and asks questions in a dialog instead of on a page of their own.
"use strict";
(() => {
  const live = document.getElementById("live");
  if (!live) return;
  const ask = document.getElementById("ask");
  const pause = document.getElementById("pause");
  const every = Number(document.body.dataset.refresh);
  let paused = false, timer = 0, busy = false;

  // Banners tell of what was just done: once, not at each reload.
  if (/[?&]st=/.test(location.search)) {
    const url = new URL(location.href);
    for (const name of ["st", "member", "site", "release", "instance", "session"]) url.searchParams.delete(name);
    history.replaceState(null, "", url);
  }

  const fragment = async (href) => {
    const url = new URL(href, location.href);
    url.searchParams.set("fragment", "1");
    const answer = await fetch(url, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(8000) });
    if (answer.redirected && new URL(answer.url).pathname === "/login") location.reload();
    return { ok: answer.ok, html: await answer.text() };
  };

  // Scroll positions of wide tables and the focus survive an update.
  const replace = (html) => {
    const open = [...live.querySelectorAll("details[open] code")].map((e) => e.textContent);
    const left = [...live.querySelectorAll(".scroll")].map((e) => [e.getAttribute("aria-label"), e.scrollLeft]);
    const focus = document.activeElement;
    const href = live.contains(focus) ? focus.getAttribute("href") : null;
    const label = live.contains(focus) ? focus.getAttribute("aria-label") : null;
    live.innerHTML = html;
    for (const e of live.querySelectorAll("details code")) if (open.includes(e.textContent)) e.closest("details").open = true;
    for (const [name, x] of left) {
      const e = [...live.querySelectorAll(".scroll")].find((s) => s.getAttribute("aria-label") === name);
      if (e && x) e.scrollLeft = x;
    }
    if (href) [...live.querySelectorAll("a")].find((a) => a.getAttribute("href") === href)?.focus({ preventScroll: true });
    else if (label) [...live.querySelectorAll(".scroll")].find((s) => s.getAttribute("aria-label") === label)?.focus({ preventScroll: true });
  };

  const chosen = () => {
    const s = getSelection();
    return s && !s.isCollapsed && live.contains(s.anchorNode);
  };

  const update = async () => {
    if (busy || paused || document.hidden || ask.open || chosen()) return;
    busy = true;
    try {
      const got = await fragment(location.href);
      if (got.ok) replace(got.html);
      document.body.classList.toggle("stale", !got.ok);
    } catch {
      document.body.classList.add("stale");
    } finally {
      busy = false;
    }
  };

  if (every) {
    timer = setInterval(update, every);
    document.addEventListener("visibilitychange", update);
    addEventListener("pagehide", () => clearInterval(timer));
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.setAttribute("aria-pressed", String(paused));
      pause.textContent = paused ? "Paused" : "Pause";
      update();
    });
  }

  document.addEventListener("click", async (event) => {
    if (event.target.closest("[data-close]") && ask.open) {
      event.preventDefault();
      ask.close();
      return;
    }
    const link = event.target.closest("a[data-ask]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const got = await fragment(link.href);
      if (!got.ok) { location.href = link.href; return; }
      ask.innerHTML = got.html;
      ask.showModal();
    } catch {
      location.href = link.href;
    }
  });
  ask.addEventListener("click", (event) => { if (event.target === ask) ask.close(); });
})();
