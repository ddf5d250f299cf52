import test from 'ava'
import { Outbox } from '../../node/outbox.ts'
import { COMMIT_WAIT_MS } from '../../protocols/limits.ts'
import type { Message, MessageOf } from '../../protocols/raft/messages.ts'
import { World } from '../../simulator/world.ts'

const header = { cluster: 'cluster', group: 'mesh', generation: 0, from: 'a#1', term: 2 }
const entry = { term: 2, kind: 'normal', data: new Uint8Array([1]) } as const

const append = (to: string, index: number, count: number, commit: number): MessageOf<'MsgApp'> => ({
  kind: 'MsgApp',
  ...header,
  to,
  index,
  logTerm: 2,
  entries: Array.from({ length: count }, () => entry),
  commit,
})
const beat = (to: string): Message => ({ kind: 'MsgHeartbeat', ...header, to, commit: 1, read: 0, beat: 1 })

function outbox(): { world: World; box: Outbox; sent: Message[] } {
  const world = new World(1)
  const sent: Message[] = []
  const box = new Outbox({
    send: (message) => sent.push(message),
    later: (delayMs, run) => void world.after(delayMs, run),
  })
  return { world, box, sent }
}

test('a commit index goes along with entries that follow it', (t) => {
  const { world, box, sent } = outbox()
  box.send(append('b#1', 4, 0, 4))
  box.send(append('c#1', 4, 0, 4))
  t.deepEqual(sent, [])
  const entries = append('b#1', 4, 2, 4)
  box.send(entries)
  t.deepEqual(sent, [entries])
  world.run(world.nowMs + COMMIT_WAIT_MS)
  t.deepEqual(sent, [entries, append('c#1', 4, 0, 4)])
})

test('without entries the newest goes by itself, once, as soon as the first has waited', (t) => {
  const { world, box, sent } = outbox()
  box.send(append('b#1', 4, 0, 3))
  world.run(world.nowMs + COMMIT_WAIT_MS - 1)
  box.send(append('b#1', 4, 0, 4))
  t.deepEqual(sent, [])
  world.run(world.nowMs + 1)
  t.deepEqual(sent, [append('b#1', 4, 0, 4)])
  world.run(world.nowMs + 1_000)
  t.is(sent.length, 1)
  box.send(append('b#1', 5, 0, 5))
  world.run(world.nowMs + COMMIT_WAIT_MS)
  t.is(sent.length, 2)
})

test('nothing else waits', (t) => {
  const { box, sent } = outbox()
  box.send(append('b#1', 4, 0, 4))
  box.send(beat('b#1'))
  t.deepEqual(sent, [beat('b#1')])
})
