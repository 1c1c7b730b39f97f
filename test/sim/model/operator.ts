/**
 * An operator who reads what a rollout says of itself and does what it names. With that, every rollout ends; what says
 * nothing, names no command, or names one that is then refused, is a violation.
 */
import type { Command, Rollout } from "../../../control/model/rollout.ts";
import type { World } from "./world.ts";

const LOOKS_EVERY_MS = 2_000;
const LOOKS = 200;
/** It goes on failing: an operator with autoRevert off gives up at some time. */
const GIVES_UP_AFTER = 80;
const NAMED = /`(?:baton rollout )?(resume|promote|abort)\b[^`]*`/g;

/** The trouble is over. Answers whether the rollout, and any that waits behind it, came to its end. */
export function seeThrough(world: World): boolean {
  const { controller } = world;
  const over = (): boolean => controller.rollout === null && controller.waiting === null;
  for (let look = 0; look < LOOKS && !over(); look++) {
    world.run(LOOKS_EVERY_MS, over);
    if (!over() && controller.rollout !== null) answer(world, controller.rollout, look);
  }
  return over();
}

function answer(world: World, rollout: Rollout, look: number): void {
  const words = world.words(rollout);
  const named = [...words.matchAll(NAMED)].map(([, command]) => command);
  const { kind } = rollout.stage;
  const ends = ["promoting", "draining", "finalizing", "aborting", "rolling-back"].includes(kind);
  if (words === "" || (named.length === 0 && !(ends && rollout.pause === null))) {
    world.violate(`silent: ${rollout.id} says ${JSON.stringify(words)}, and names no command`);
  }
  if (look > GIVES_UP_AFTER && !ends) {
    const refused = world.controller.say({ kind: "abort", actor: "ops", reason: "" });
    if (refused !== "") world.violate(`stuck: ${rollout.id} can't be aborted: ${refused}`);
    return;
  }
  if (rollout.pause === null) return;
  const wanted = named.filter((command) => command !== "abort");
  if (wanted.length === 0) world.violate(`silent: ${rollout.id} says "${words}", and names nothing that moves it on`);
  const chosen = wanted.length > 0 && world.integer(8) > 0 ? wanted[world.integer(wanted.length)] : named[0];
  const command = commandOf(chosen);
  if (command === null) return;
  if (command.kind === "promote" || command.kind === "abort") world.accept("cut");
  if (command.kind === "resume") world.accept("without");
  const refused = world.controller.say(command);
  if (refused !== "") world.violate(`it says "${words}", and refuses ${command.kind}: ${refused}`);
}

function commandOf(word: string | undefined): Command | null {
  switch (word) {
    case "resume":
      return { kind: "resume", actor: "ops" };
    case "promote":
      return { kind: "promote", actor: "ops", full: false };
    case "abort":
      return { kind: "abort", actor: "ops", reason: "" };
    default:
      return null;
  }
}
