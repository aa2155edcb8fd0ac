// Drives the page as operators use it: node flows.mjs URL FOLDER CHROMIUM. Screenshots go into the folder.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";
const [url, folder, chromium] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const puppeteer = require("puppeteer-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await puppeteer.launch({
  executablePath: chromium, args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const failures = [];
const check = (holds, what) => { if (!holds) failures.push(what); };
const open = async (path, { js = true, width = 1200, dark = false } = {}) => {
  const page = await (await browser.createBrowserContext()).newPage(); // a window of its own
  await page.setJavaScriptEnabled(js);
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
  page.on("console", (said) => { if (said.type() === "error") failures.push(`console of ${path}: ${said.text()}`); });
  page.on("pageerror", (error) => failures.push(`error of ${path}: ${error.message}`));
  await page.setBypassCSP(true); // for axe alone; what the page itself may do is tested elsewhere
  await page.goto(url + path, { waitUntil: "domcontentloaded" });
  return page;
};
const text = (page) => page.evaluate(() => document.body.innerText);
const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
const audit = async (page, name) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run(document, {
    runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
  }));
  for (const one of found.violations) {
    failures.push(`axe on ${name}: ${one.id}: ${one.help}: ${one.nodes[0].html.slice(0, 200)}`);
  }
};
const until = async (page, wanted, what) => {
  try { await page.waitForFunction((wanted) => document.body.innerText.includes(wanted), { timeout: 15000 }, wanted); }
  catch { failures.push(`not in time: ${what}: ${(await text(page)).slice(0, 400)}`); }
};
// Opens the form of a command, fills it in and sends it; what is weighty is confirmed on the page that comes then.
const give = async (page, command, fields, { confirm = true } = {}) => {
  await page.goto(`${url}/view/notes`, { waitUntil: "domcontentloaded" });
  const form = `form[action$="/commands/${command}"]`;
  await page.evaluate((form) => { document.querySelector(form).closest("details").open = true; }, form);
  for (const [name, value] of Object.entries({ because: "a test", ...fields })) {
    const input = await page.$(`${form} [name="${name}"]`);
    if (value === true) await input.click(); else await input.type(value);
  }
  await Promise.all([page.waitForNavigation({ waitUntil: "domcontentloaded" }), (await page.$(`${form} button`)).click()]);
  if (confirm && (await text(page)).includes("nothing is done yet")) {
    await Promise.all([page.waitForNavigation({ waitUntil: "domcontentloaded" }), page.click("form button")]);
  }
};

try {
  // Every page in light, dark and narrow.
  const pages = { overview: "/", migration: "/view/notes", keys: "/view/notes/keys", history: "/view/notes/history",
    catalogue: "/view/notes/catalogue", confirm: "/view/notes/confirm/kill-on" };
  for (const [name, path] of Object.entries(pages)) {
    for (const [look, options] of Object.entries({ light: {}, dark: { dark: true }, narrow: { width: 360 } })) {
      const page = await open(path, options);
      await audit(page, `${name} ${look}`);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      check(wide <= 0, `${name} ${look} is ${wide} px too wide`);
      const squeezed = await page.evaluate(() => [...document.querySelectorAll("th")]
        .filter((th) => th.innerText.length > 2 && th.getBoundingClientRect().width < 25).length);
      check(squeezed === 0, `${name} ${look}: ${squeezed} th are squeezed`);
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      check(height < 12000, `${name} ${look} has ${height} px`);
      await shot(page, `${name}-${look}`);
      await page.close();
    }
    const plain = await open(path, { js: false });
    await shot(plain, `${name}-without-javascript`);
    await plain.close();
  }

  const page = await open("/");
  check((await text(page)).includes("page 1 of 2"), "the overview has two pages");
  await page.type("[name=search]", "notes");
  await Promise.all([page.waitForNavigation(), page.click("form[role=search] button")]);
  check((await page.$$("tbody tr")).length === 1, "one line is found");
  await Promise.all([page.waitForNavigation(), page.click("tbody a")]);
  check((await text(page)).includes("Needs somebody"), "the migration is shown");
  await page.screenshot({ path: join(folder, "readme.png") }); // of one window: `.github/page.png`

  // Numbers change while somebody types elsewhere.
  const watching = await open("/view/notes");
  await watching.evaluate(() => { document.querySelector("details").open = true; });
  await watching.type("details [name=because]", "half a sen");
  await give(page, "backfill-pause", {});
  await until(watching, "paused", "the pause is seen live");
  check(await watching.evaluate(() => document.activeElement.value) === "half a sen", "the focus stays");
  await give(page, "backfill-resume", {});
  await until(watching, "under way", "that it goes on is seen live");
  await watching.close();

  await give(page, "approve", { name: "owner" });
  await give(page, "dead-letters-waive", { key: "4" });
  await give(page, "ramp", { percent: "5" }, { confirm: false });
  check((await text(page)).includes("nothing is done yet"), "a weighty command is confirmed on a page of its own");
  await shot(page, "ramp-dry-run");
  await Promise.all([page.waitForNavigation(), page.click("form button")]);
  check((await text(page)).includes("5 % of the keys"), "it is ramped: " + (await text(page)).slice(0, 300));
  await shot(page, "ramped");

  // Three windows at one position: one moves, and what the two others show is out of date.
  const form = await open("/view/notes", { js: false });
  await form.evaluate(() => {
    document.querySelector('form[action$="/commands/ramp"]').closest("details").open = true;
  });
  await form.type('form[action$="/commands/ramp"] [name="percent"]', "30");
  await form.type('form[action$="/commands/ramp"] [name="because"]', "a test");
  const asked = await open("/view/notes/confirm/ramp?percent=30&because=test", { js: false });
  const decided = await open("/view/notes", { js: false });
  await decided.evaluate(() => {
    document.querySelector('form[action$="/commands/ramp"]').closest("details").open = true;
  });
  await decided.type('form[action$="/commands/ramp"] [name="percent"]', "30");
  await decided.type('form[action$="/commands/ramp"] [name="because"]', "a test");
  await Promise.all([decided.waitForNavigation(), decided.click('form[action$="/commands/ramp"] button')]);
  check((await decided.content()).includes("nothing is done yet"), "the ramp is to be confirmed");
  await give(page, "ramp", { percent: "10" });
  check((await text(page)).includes("10 % of the keys"), "the first window has moved it");
  const windows = { form, asked, decided };
  for (const [name, stale] of Object.entries(windows)) {
    const button = name === "form" ? 'form[action$="/commands/ramp"] button' : "form button";
    await Promise.all([stale.waitForNavigation(), stale.click(button)]);
    const said = await stale.content();
    check(said.includes("somebody moved the migration since you looked"), `${name} is refused: ${said.slice(0, 600)}`);
    await shot(stale, `stale-${name}`);
    const reload = await stale.evaluateHandle(() =>
      [...document.querySelectorAll("a")].find((link) => link.innerText === "Reload the page"));
    check(reload.asElement() !== null, `${name} can be reloaded`);
    await Promise.all([stale.waitForNavigation(), reload.asElement().click()]);
    check((await stale.content()).includes("10 % "), `${name} shows where it stands now`);
    await stale.close();
  }
  for (let n = failures.length - 1; n >= 0; n--) { // a browser says that of each refusal
    if (failures[n].includes("console of") && failures[n].includes("409")) failures.splice(n, 1);
  }
  await page.goto(`${url}/view/notes`);
  check((await text(page)).includes("10 % of the keys"), "nothing of what was stale was done");
  await page.goto(`${url}/view/notes/history`);
  for (const done of ["backfill_pause", "backfill_resume", "approve", "dead_letters_waive"]) {
    check((await text(page)).includes(done), `the history has ${done}`);
  }
  await page.goto(`${url}/view/nobody`);
  await audit(page, "an error");
  await shot(page, "error");
  const expected = failures.findIndex((failure) => failure.includes("404"));
  if (expected >= 0) failures.splice(expected, 1); // a browser says that of each 404

  // Two clicks, without JavaScript.
  const plain = await open("/view/notes", { js: false });
  await Promise.all([plain.waitForNavigation(), plain.click("a.danger")]);
  await shot(plain, "rollback");
  await Promise.all([plain.waitForNavigation(), plain.click("button.danger")]);
  check((await plain.content()).includes("there is nothing to roll back"), "it is rolled back");
  await shot(plain, "rolled-back");
} catch (error) {
  failures.push(`it ended early: ${error.stack}`);
}
await browser.close();
for (const failure of failures) console.error(failure);
process.exit(failures.length ? 1 : 0);
