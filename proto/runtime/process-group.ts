/** Process groups, for composition roots: to end a program together with what it has started. */

/** SIGKILL to every process of the group; one that is gone already is no error. */
export function killGroup(group: number): void {
  if (group <= 1) return; // kill(-1) is everybody
  try {
    process.kill(-group, "SIGKILL");
  } catch {
    // ESRCH: nobody there. EPERM: not ours any more.
  }
}
