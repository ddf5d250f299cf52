import test from 'ava'
import { Copying } from '../../node/copying.ts'
import { Timers } from '../../node/timers.ts'
import { COPY_MS } from '../../protocols/limits.ts'
import { NOBODY } from '../../protocols/raft/configuration.ts'
import { genesis } from '../../protocols/raft/genesis.ts'
import { memberOf } from '../../protocols/raft/member.ts'
import { World } from '../../simulator/world.ts'

const member = memberOf('peer1peer1peer1', 'first')
const CHANGE = { term: 1, index: 4, kind: 'configuration', data: new Uint8Array() } as const

/** The state of a sole voter, copied as it is applied; `said` has what was done, and when. */
function copied() {
  const world = new World(1)
  const configuration = { ...NOBODY, voters: [member] }
  const said: string[] = []
  let index = 1
  const copying = new Copying('mesh', { member, generation: 0 }, genesis([member]), {
    store: {
      write: (ops) =>
        said.push(
          `${ops.map((op) => `${op.kind} ${'key' in op ? op.key : op.gte}`).join()} at ${world.nowMs}`,
        ),
      recovered: () => [],
    },
    timers: new Timers(world.clock()),
    at: () => ({ index, configuration }),
    capture: () => {
      said.push(`state at ${index}`)
      return { index, term: 1, configuration, data: new Uint8Array() }
    },
  })
  const apply = (to: number): void => {
    index = to
    copying.later()
  }
  return { apply, copying, said, pass: (ms: number) => world.run(world.nowMs + ms) }
}

test('a copy is made some seconds after the first thing that it holds was applied', (t) => {
  const { apply, said, pass } = copied()
  apply(2)
  pass(COPY_MS / 2)
  apply(3)
  pass(COPY_MS)
  t.deepEqual(said, ['state at 3', `put raft/copy/mesh at ${COPY_MS}`])
})

test('a change of configuration takes the copy away, and the next comes at once, whenever one was due', (t) => {
  const { apply, copying, said, pass } = copied()
  apply(3)
  const entries = [CHANGE]
  const [dropped] = copying.dropped({ kind: 'store', token: 1, entries })
  t.deepEqual(dropped, { kind: 'del', key: 'raft/copy/mesh' })
  pass(2 * COPY_MS)
  t.deepEqual(said, [], 'it may name others')
  apply(4)
  pass(1)
  t.deepEqual(said, ['state at 4', `put raft/copy/mesh at ${2 * COPY_MS}`])
})
