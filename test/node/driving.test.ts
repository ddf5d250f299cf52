import test from 'ava'
import { Driving, type HostEffect } from '../../node/driving.ts'
import { genesis } from '../../protocols/raft/genesis.ts'
import { memberOf } from '../../protocols/raft/member.ts'
import { DEFAULT_TIMING } from '../../protocols/raft/timing.ts'
import type { RaftEvent } from '../../protocols/raft/types.ts'
import { SimStore } from '../../simulator/store.ts'
import { World } from '../../simulator/world.ts'
import { beginOps } from '../../storage/raft-log.ts'

const GROUP = 'mesh'
const member = memberOf('peer1peer1peer1', 'first')

/** A sole voter's log, and what its driver handed out; `hear` may answer with events, in the middle of it. */
function driven(hear: (effect: HostEffect) => readonly RaftEvent[]): {
  driving: Driving
  world: World
  seen: { effects: HostEffect[]; nested: number; rests: number }
} {
  const world = new World(1)
  const owner = { member, generation: 0 }
  const recovered = genesis([member])
  const seen = { effects: [] as HostEffect[], nested: 0, rests: 0 }
  let performing = false
  const terms = { group: GROUP, cluster: 'cluster', timing: DEFAULT_TIMING, level: 1 }
  const found = { owner, recovered, first: beginOps(GROUP, owner, recovered) }
  const store = new SimStore(world, member, new Map())
  const ports = { clock: world.clock(), dice: world.random('dice'), store, send: () => {} }
  const driving = new Driving(terms, found, ports, {
    perform(effect) {
      if (performing) seen.nested++
      performing = true
      seen.effects.push(effect)
      for (const event of hear(effect)) driving.feed(event)
      performing = false
    },
    rested: () => seen.rests++,
    unwritable: () => {},
    turned: () => {},
    appliedIndex: () => 0,
    capture: () => undefined,
  })
  driving.start()
  return { driving, world, seen }
}

const propose = (token: number): RaftEvent => ({
  kind: 'propose',
  proposals: [{ token, data: new Uint8Array([token]) }],
})

test('what effects bring up is heard once all of them are performed, in order', (t) => {
  const { driving, world, seen } = driven((effect) => {
    // Whoever hears that this peer leads asks for two things, and the second asks for one more when it is in the log.
    if (effect.kind === 'role' && effect.role === 'leader') return [propose(1), propose(2)]
    return effect.kind === 'proposed' && effect.token === 1 ? [propose(3)] : []
  })
  driving.feed({ kind: 'applied', index: 0 })
  driving.feed({ kind: 'campaign' })
  world.run(world.nowMs + 100)
  const proposed = seen.effects.flatMap((effect) => (effect.kind === 'proposed' ? [effect.token] : []))
  t.deepEqual(proposed, [1, 2, 3])
  t.is(seen.nested, 0)
})

test('a log that is given up in the middle says no more', (t) => {
  const { driving, world, seen } = driven((effect) => {
    if (effect.kind !== 'role' || effect.role !== 'leader') return []
    driving.end()
    return [propose(1)]
  })
  driving.feed({ kind: 'campaign' })
  world.run(world.nowMs + 100)
  const last = seen.effects.at(-1)
  t.true(last?.kind === 'role' && last.role === 'leader')
  const { rests } = seen
  driving.feed(propose(2))
  t.is(seen.rests, rests)
})
