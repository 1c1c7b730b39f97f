/** What a split promises its callers: who sees which version, and for how long. */
import assert from "node:assert/strict";
import { EXIT } from "../../../../proto/contract/limits.ts";
import type { RolloutView } from "../../../../proto/gen/baton/v1/operator.ts";
import type { Answer } from "../caller.ts";
import { turns } from "../caller.ts";
import { limit, PREVIEW, strategyOf } from "../documents.ts";
import { PROMPT_MIX } from "../scene.ts";
import type { Scenario, Scene } from "../scene.ts";

const CALLERS = 30;
const EVERY_MS = 15;

/** Callers without anything to be told apart by, but the cookies that they are given. */
const strangers = (scene: Scene): ReturnType<Scene["callers"]> =>
  scene.callers({
    callers: Object.fromEntries(Array.from({ length: CALLERS }, (_, at) => [`caller ${at}`, {}])),
    everyMs: EVERY_MS,
  });

const previewed = (scene: Scene): ReturnType<Scene["callers"]> =>
  scene.callers({ callers: { preview: { [PREVIEW.name]: PREVIEW.value }, public: {} }, everyMs: 2 * EVERY_MS });

const byCaller = (answers: readonly Answer[]): ReadonlyMap<string, readonly Answer[]> =>
  Map.groupBy(answers, (answer) => answer.caller);

/** When the journal says that this was asked; null: never. */
function askedAt(view: RolloutView, message: RegExp): number | null {
  const found = view.transitions.find((one) => one.reason === "StepBegun" && message.test(one.message));
  return found === undefined ? null : Number(found.atMs);
}

/** The same, as every live agent had confirmed it. */
function confirmedAt(view: RolloutView, message: RegExp): number | null {
  const found = view.transitions.find((one) => one.reason === "StepDone" && message.test(one.message));
  return found === undefined ? null : Number(found.atMs);
}

const seenBy = (answers: readonly Answer[], version: string): readonly string[] => {
  const seen = answers.filter((answer) => answer.version === version).map((answer) => answer.caller);
  return [...new Set(seen)];
};

/** Both columns of the API, once they agree. */
async function weighted(scene: Scene, rollout: Awaited<ReturnType<Scene["deploy"]>>, weight: number): Promise<void> {
  const view = await scene.until(rollout, `${weight / 100} % is asked and applied`, (one) => {
    const target = one.versions.find((version) => version.version === rollout.version);
    return one.reason === "Pausing" && target?.weightAsked === weight && target.weightApplied === weight;
  });
  const stable = view.versions.find((version) => version.version === view.fromVersion);
  assert.equal(stable?.weightApplied, 10_000 - weight);
}

/** Every stranger has been asked once more. */
async function round(scene: Scene, callers: ReturnType<Scene["callers"]>): Promise<readonly Answer[]> {
  const from = callers.answers.length;
  await scene.rig.eventually("every caller asked again", () => {
    return Promise.resolve(callers.answers.length >= from + CALLERS + 1 ? true : undefined);
  });
  return callers.answers.slice(from + 1, from + CALLERS + 1);
}

const STICKY = {
  stickiness: { cookie: { name: "demo-canary" } },
  steps: [{ setWeight: 20 }, { pause: {} }, { setWeight: 60 }, { pause: {} }],
};

export const routing: readonly Scenario[] = [
  {
    name: "sticky by cookie: raising the weight moves nobody back",
    on: ["canary weighted"],
    play: async (scene) => {
      const callers = strangers(scene);
      await round(scene, callers);
      const rollout = await scene.deploy({ strategy: strategyOf("canary weighted", STICKY) });
      const old = scene.rig.stable;
      const cli = await rollout.cli;
      assert.equal(cli.exitCode, EXIT.paused, cli.said);
      const at = async (): Promise<number> => seenBy(await round(scene, callers), rollout.version).length;
      const first = await at();
      await scene.rig.promote();
      await scene.until(rollout, "the second pause", (view) => view.reason === "Step" && view.split?.weight === 6_000);
      const second = await at();
      scene.note(`of ${CALLERS} callers ${first} got it at 20 %, ${second} at 60 %`);
      assert(first < second && first < CALLERS / 2, "a greater weight brings more callers");
      const last = scene.rig.promoted();
      await scene.until(rollout, "it ends", (view) => view.ended);
      for (const [caller, answers] of byCaller(callers.answers)) {
        assert.match(turns(answers).join(" "), new RegExp(`^${old}( ${rollout.version})?$`), caller);
        assert(answers.every((answer) => answer.status === 200));
      }
      return { rollout: { ...rollout, cli: last }, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "sticky by cookie: an abort moves only who was on it",
    on: ["canary weighted"],
    play: async (scene) => {
      const callers = strangers(scene);
      await round(scene, callers);
      const old = scene.rig.stable;
      const strategy = strategyOf("canary weighted", {
        ...STICKY,
        steps: [{ setWeight: 40 }, { pause: { duration: "60s" } }],
      });
      const rollout = await scene.deploy({ strategy });
      await weighted(scene, rollout, 4_000);
      const on = seenBy(await round(scene, callers), rollout.version);
      await scene.rig.abort("enough seen");
      await scene.until(rollout, "it is back", (view) => view.ended);
      await round(scene, callers);
      for (const [caller, answers] of byCaller(callers.answers)) {
        const way = on.includes(caller) ? `${old} ${rollout.version} ${old}` : old;
        assert.equal(turns(answers).join(" "), way, caller);
      }
      scene.note(`${on.length} of ${CALLERS} were on it`);
      return { rollout, stage: "RolledBack", exitCode: EXIT.failed, why: /enough seen/ };
    },
  },
  {
    name: "the preview reaches it before the switch, nobody else does",
    on: ["blueGreen"],
    play: async (scene) => {
      const callers = previewed(scene);
      const rollout = await scene.deploy({ strategy: strategyOf("blueGreen", { autoPromotionSeconds: 2 }) });
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      await scene.dismiss();
      const confirmed = confirmedAt(view, /setHeaderRoute preview/);
      const switched = askedAt(view, /setWeight 100 %/);
      assert(confirmed !== null && switched !== null);
      const own = callers.of("preview").filter((answer) => answer.askedAtMs >= confirmed && answer.atMs < switched);
      assert(own.length > 5, `${own.length} preview requests before the switch`);
      assert.deepEqual(seenBy(own, view.fromVersion), []);
      const early = callers
        .of("public")
        .filter((answer) => answer.version === rollout.version && answer.atMs < switched);
      assert.deepEqual(early, []);
      assert.match(turns(callers.of("public")).join(" "), /^v\d+ v\d+$/);
      scene.note(`${own.length} previews before the switch`);
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "errors only of the preview: caught before the switch",
    on: ["blueGreen"],
    play: async (scene) => {
      const callers = previewed(scene);
      const strategy = strategyOf("blueGreen", {
        maxErrorRate: 1,
        autoPromotionSeconds: 60,
        // A limit: whoever asks for the preview is not like everyone else, so there is nobody to compare with.
        prePromotionAnalysis: { duration: "20s", metrics: [limit("errorRate", "result <= 0.05")] },
      });
      const rollout = await scene.deploy({ behaviour: `errors-for=${PREVIEW.name}`, strategy });
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      assert.equal(askedAt(view, /setWeight/), null);
      assert(callers.of("public").every((answer) => answer.status === 200 && answer.version !== rollout.version));
      assert(callers.of("preview").some((answer) => answer.status === 500));
      // The loss client says no such header: it must not have seen one error.
      return {
        rollout,
        stage: "RolledBack",
        exitCode: EXIT.failed,
        why: /analysis prePromotion failed: metric errorRate failed: .*\d/,
      };
    },
  },
  {
    name: "abort within scaleDownDelay: everything is back at once",
    on: ["blueGreen"],
    quick: ["blueGreen"],
    play: async (scene) => {
      const before = await instances(scene);
      const strategy = strategyOf("blueGreen", { scaleDownDelay: "60s", postPromotionAnalysis: undefined });
      const rollout = await scene.deploy({ strategy });
      await scene.until(rollout, "it has switched and drained", (view) => {
        return view.hosts.every((host) => host.stage === "draining" && /to bake/.test(host.message));
      });
      const callers = previewed(scene);
      await scene.rig.eventually("callers see the new one", () => {
        return Promise.resolve(callers.answers.length > 3 ? true : undefined);
      });
      const asked = Date.now();
      await scene.rig.abort("it looks wrong");
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      await scene.dismiss();
      assert.deepEqual(await instances(scene), before, "no old instance was started anew");
      assert.equal(
        view.transitions.filter((one) => one.reason === "HostStarting").length,
        3,
        "once a host: on the way there",
      );
      const back = callers.answers.find((answer) => answer.version === view.fromVersion);
      assert(back !== undefined);
      const last = callers.answers.findLast((answer) => answer.version === rollout.version);
      scene.note(
        `the last answer of it was asked for ${Math.max(0, (last?.askedAtMs ?? asked) - asked)} ms after the abort`,
      );
      assert((last?.askedAtMs ?? asked) - asked < 2_000);
      return { rollout, stage: "RolledBack", exitCode: EXIT.failed, why: /it looks wrong/ };
    },
  },
  {
    name: "header route: only who says so, until it is taken out",
    on: ["canary weighted"],
    play: async (scene) => {
      const callers = previewed(scene);
      const matches = [{ headers: [PREVIEW] }];
      const strategy = strategyOf("canary weighted", {
        analysis: { metrics: [] },
        steps: [
          { setHeaderRoute: { name: "beta", matches } },
          { pause: { duration: "1s" } },
          { setHeaderRoute: { name: "beta" } },
          { pause: { duration: "1s" } },
        ],
      });
      const rollout = await scene.deploy({ strategy });
      const view = await scene.until(rollout, "it ends", (one) => one.ended);
      await scene.dismiss();
      const there = confirmedAt(view, /setHeaderRoute beta/);
      const leaves = askedAt(view, /remove route beta/);
      const gone = confirmedAt(view, /remove route beta/);
      const all = askedAt(view, /setWeight 100 %/);
      assert(there !== null && leaves !== null && gone !== null && all !== null);
      const seen = (caller: string, from: number, to: number): readonly string[] => [
        ...new Set(callers.of(caller).flatMap((a) => (a.askedAtMs >= from && a.atMs < to ? [a.version] : []))),
      ];
      assert.deepEqual(seen("preview", there, leaves), [rollout.version]);
      assert.deepEqual(seen("preview", gone, all), [view.fromVersion]);
      assert.deepEqual(seen("public", 0, all), [view.fromVersion]);
      return { rollout, stage: "Succeeded", exitCode: EXIT.done };
    },
  },
  {
    name: "mirror: it gets copies, callers feel nothing",
    on: ["canary weighted"],
    mix: PROMPT_MIX,
    play: async (scene) => {
      const strategy = strategyOf("canary weighted", {
        analysis: { metrics: [] },
        steps: [{ setMirrorRoute: { name: "shadow", percentage: 100 } }, { pause: { duration: "60s" } }],
      });
      // Half of its answers are errors, and all of them late: neither may be seen.
      const rollout = await scene.deploy({ behaviour: "delay=2s errors=50%", strategy });
      await scene.until(rollout, "the mirror is confirmed", (one) => one.reason === "Pausing");
      const copies = await scene.rig.eventually("copies arrive", async () => {
        const all = await Promise.all((await addresses(scene, rollout.version)).map(seen));
        return all.length === 3 && all.every((n) => n >= 20) ? all : undefined;
      });
      await scene.rig.abort("seen enough");
      await scene.until(rollout, "it ends", (view) => view.ended);
      const { total, versions } = scene.traffic.snapshot();
      assert.equal(total.appErrors, 0);
      assert.equal(versions[rollout.version] ?? 0, 0, "nobody was answered by it");
      assert(total.p99Ms < 1_000, `p99 ${total.p99Ms} ms`);
      scene.note(`${copies.reduce((a, b) => a + b, 0)} copies or more, p99 ${total.p99Ms.toFixed(0)} ms`);
      return { rollout, stage: "RolledBack", exitCode: EXIT.failed, why: /seen enough/ };
    },
  },
];

/** Of the stable version, by host. */
async function instances(scene: Scene): Promise<readonly string[]> {
  const hosts = await scene.rig.hosts();
  const stable = hosts.flatMap((host) => host.instances.filter((one) => one.version === scene.rig.stable));
  return stable.map((one) => `${one.id} ${one.restarts}`).sort();
}

async function addresses(scene: Scene, version: string): Promise<readonly string[]> {
  const hosts = await scene.rig.hosts();
  return hosts.flatMap((host) => host.instances.filter((one) => one.version === version).map((one) => one.address));
}

/** What the app itself says that it has seen; asked past Baton. */
async function seen(address: string): Promise<number> {
  const stats = (await (await fetch(`http://${address}/stats`)).json()) as { readonly seen: number };
  return stats.seen;
}
