/**
 * Whether what clients of one register saw can be put in an order: each operation at one instant between its call and its
 * return (Herlihy and Wing; the search is Wing and Gong's, with Lowe's just-in-time linearization: an operation is placed
 * only when its own return, or that of one which needs it, makes it necessary).
 *
 * Each value is written once, so an operation without an answer whose value nobody ever saw can be left out: no answer
 * depends on it.
 */
import type { Done } from './history.ts'

/** What the register may hold, and which open operations have been placed. */
type World = { readonly value: number; readonly placed: ReadonlySet<Done> }

/** More worlds than this at once, and the search is given up: the answer is then unknown, not no. */
const WORLDS_MAX = 4_096

export type Verdict = 'ok' | 'violation' | 'unknown'

/** @returns The operation at whose return no order is left, if there is one. */
export function linearizable(operations: readonly Done[]): { verdict: Verdict; at?: Done } {
  const seen = new Set(operations.map(({ found }) => found))
  const written = ({ operation }: Done): number | undefined =>
    operation.kind === 'put' ? operation.value : operation.kind === 'cas' ? operation.to : undefined
  const relevant = operations.filter((each) => each.returnedUs < Infinity || seen.has(written(each) ?? -1))
  const events = relevant
    .flatMap((done) => [
      { atUs: done.calledUs, isCall: true, done },
      ...(done.returnedUs < Infinity ? [{ atUs: done.returnedUs, isCall: false, done }] : []),
    ])
    // A return and a call at the same instant overlap.
    .sort((a, b) => a.atUs - b.atUs || Number(b.isCall) - Number(a.isCall))
  const open = new Set<Done>()
  let worlds: World[] = [{ value: 0, placed: new Set() }]
  for (const { isCall, done } of events) {
    if (isCall) {
      open.add(done)
      continue
    }
    const next = new Map<string, World>()
    for (const world of worlds) placedWith(world, done, open, next)
    open.delete(done)
    if (next.size === 0) return { verdict: 'violation', at: done }
    if (next.size > WORLDS_MAX) return { verdict: 'unknown' }
    worlds = [...next.values()].map(({ value, placed }) => ({
      value,
      placed: new Set([...placed].filter((each) => each !== done)),
    }))
  }
  return { verdict: 'ok' }
}

/** All worlds that come of `world` in which `wanted` has been placed. */
function placedWith(world: World, wanted: Done, open: ReadonlySet<Done>, found: Map<string, World>): void {
  if (found.size > WORLDS_MAX) return
  if (world.placed.has(wanted)) {
    found.set(nameOf(world, open), world)
    return
  }
  for (const done of open) {
    if (world.placed.has(done)) continue
    const value = after(done, world.value)
    if (value === undefined) continue
    const next = { value, placed: new Set([...world.placed, done]) }
    placedWith(next, wanted, open, found)
  }
}

/** What the register holds after it; undefined when its answer says that it cannot come here. */
function after({ operation, found, returnedUs }: Done, value: number): number | undefined {
  if (returnedUs < Infinity && found !== undefined && found !== value) return undefined
  if (operation.kind === 'get') return value
  if (operation.kind === 'put') return operation.value
  return operation.from === value ? operation.to : value
}

function nameOf({ value, placed }: World, open: ReadonlySet<Done>): string {
  let name = `${value}`
  let at = 0
  for (const done of open) {
    if (placed.has(done)) name += ` ${at}`
    at++
  }
  return name
}
