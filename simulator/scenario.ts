/**
 * What a scenario is, and how one seed of it is run. A seed fails by an invariant that does not hold after some event, by
 * an exception in an event, or by what was to be true at the end and is not.
 */
import { World } from './world.ts'

export type Scenario = {
  readonly name: string
  /** One line for the list. */
  readonly summary: string
  readonly virtualMs: number
  /** Peers when nobody says how many. */
  readonly peers: number
  /** What a batch of seeds must have seen at least once, or it proves less than it says. */
  readonly moments: readonly string[]
  /** Sets the world up: what happens is scheduled here, and what must hold is returned. */
  run(world: World, peers: number, moment: (name: string) => void): ScenarioResult
}

type ScenarioResult = {
  /** After every event. @throws Violation */
  check?(): void
  /** After the last. @throws Violation */
  end?(): void
  /** Figures for the report. */
  counts?(): Readonly<Record<string, number>>
}

/** An invariant that did not hold: `rule` names it, the message says what was seen. */
export class Violation extends Error {
  override readonly name = 'Violation'
  readonly rule: string

  constructor(rule: string, what: string) {
    super(`${rule}: ${what}`)
    this.rule = rule
  }
}

export type SeedReport = {
  readonly scenario: string
  readonly peers: number
  readonly seed: number
  readonly ok: boolean
  /** Why not, in one line. */
  readonly why: string
  /** At which virtual ms it ended. */
  readonly atMs: number
  readonly events: number
  readonly hash: string
  /** How often each moment was reached; those that were not are 0. */
  readonly moments: Readonly<Record<string, number>>
  readonly counts: Readonly<Record<string, number>>
  readonly cpuMs: number
  /** Newest lines, of a seed that failed. */
  readonly trace: readonly string[]
}

/** Lines of trace that a failure shows. */
const TRACE_LINES = 60

type Seed = { readonly seed: number; readonly peers: number; readonly virtualMs?: number }

/** @param cpuMs CPU time of this thread so far; a simulation has no clock of its own. */
export function runSeed(
  scenario: Scenario,
  { seed, peers, virtualMs }: Seed,
  cpuMs: () => number,
): SeedReport {
  const before = cpuMs()
  const world = new World(seed)
  const moments: Record<string, number> = Object.fromEntries(scenario.moments.map((name) => [name, 0]))
  const moment = (name: string): void => {
    const reached = moments[name]
    if (reached === undefined) throw new Error(`${name} is not in the list of moments of ${scenario.name}`)
    moments[name] = reached + 1
    if (reached === 0) world.say(`moment: ${name}`)
  }
  let why = ''
  let result: ScenarioResult = {}
  try {
    result = scenario.run(world, peers, moment)
    world.run(virtualMs ?? scenario.virtualMs, result.check?.bind(result))
    result.end?.()
  } catch (error) {
    why = error instanceof Violation ? error.message : `exception: ${stackOf(error)}`
    world.say(`failed: ${why.split('\n')[0]}`)
  }
  return {
    scenario: scenario.name,
    peers,
    seed,
    ok: why === '',
    why,
    atMs: Math.round(world.nowMs),
    events: world.steps,
    hash: world.hash(),
    moments,
    counts: result.counts?.() ?? {},
    cpuMs: Math.round(cpuMs() - before),
    trace: why === '' ? [] : world.trace.slice(-TRACE_LINES),
  }
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 6).join('\n') : String(error)
