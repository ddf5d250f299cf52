/** How a contract suite waits: for a condition, in real time or in a world's, never longer than it says. */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Done, Outcome } from '../../protocols/outcome.ts'
import type { World } from '../../simulator/world.ts'

export type Until = (condition: () => boolean, ms: number) => Promise<void>

export const realUntil: Until = async (condition, ms) => {
  const deadline = performance.now() + ms
  while (!condition()) {
    assert(performance.now() < deadline, `not within ${ms} ms`)
    await sleep(1)
  }
}

export const worldUntil =
  (world: World): Until =>
  async (condition, ms) => {
    const deadline = world.nowMs + ms
    while (!condition() && world.nowMs < deadline) world.run(world.nowMs + 1)
    assert(condition(), `not within ${ms} virtual ms`)
  }

/** What a call of a port came to; it must answer once, and not before the call returns. */
export async function outcomeOf<T>(until: Until, call: (done: Done<T>) => void): Promise<Outcome<T>> {
  const answers: Outcome<T>[] = []
  call((outcome) => answers.push(outcome))
  assert.equal(answers.length, 0, 'answered before the call returned')
  await until(() => answers.length > 0, 10_000)
  assert.equal(answers.length, 1, 'answered twice')
  return answers[0] as Outcome<T>
}
