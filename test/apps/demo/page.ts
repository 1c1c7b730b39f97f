/** The page at /: who answered, and the same again every second without a reload, to watch a rollout with. */
export interface Identity {
  readonly version: string;
  readonly instance: string;
  readonly host: string;
}

const escape = (text: string): string =>
  text.replace(/[&<>"']/g, (character) => `&#${String(character.charCodeAt(0))};`);

/** A version's colour, the same on every host. */
function hue(version: string): number {
  let sum = 0;
  for (const character of version) sum = (sum * 31 + character.charCodeAt(0)) % 360;
  return (sum * 137) % 360;
}

export function page({ version, instance, host }: Identity): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>demo ${escape(version)}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 12vh auto; max-width: 34rem; padding: 0 1rem; }
  h1 { font-size: 4rem; margin: 0; color: hsl(${hue(version)} 70% 40%); }
  code { background: #8882; padding: 0 .3em; border-radius: .2em; }
  ol { list-style: none; padding: 0; color: #666; }
</style>
<h1>${escape(version)}</h1>
<p>answered by <code>${escape(instance)}</code> on <code>${escape(host)}</code></p>
<p>One request a second from this page:</p>
<ol id="log"></ol>
<script>
  const log = document.getElementById("log");
  setInterval(async () => {
    const line = document.createElement("li");
    try {
      const answer = await (await fetch("/api/hello?n=" + Date.now(), { cache: "no-store" })).json();
      line.textContent = new Date().toLocaleTimeString() + "  " + answer.version + "  " + answer.instance;
    } catch (error) {
      line.textContent = new Date().toLocaleTimeString() + "  lost: " + error;
    }
    log.prepend(line);
    while (log.childElementCount > 12) log.lastElementChild.remove();
  }, 1000);
</script>
</html>
`;
}
