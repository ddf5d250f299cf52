/** What kinds of simulation have in common: whole peers, the Raft cores alone. */

/** Which seeds. */
export type Range = {
  readonly firstSeed: number
  readonly seeds: number
  /** One: in this thread, which then does nothing else. */
  readonly threads?: number
}

/** What every seed says of itself, whatever was simulated. */
export type Report = { readonly seed: number; readonly ok: boolean; readonly hash: string }

/** A kind of simulation: one seed of it, what many come to, and how both are told. */
export type Kind<Job, Seed extends Report, Total> = {
  readonly name: string
  /** @param cpuMs CPU time of this thread so far; a simulation has no clock of its own. */
  run(job: Job, seed: number, cpuMs: () => number): Seed
  total(job: Job, reports: readonly Seed[], wallMs: number): Total
  seedText(report: Seed): string
  totalText(total: Total): string
}
