/** What every broadcast promises (protocols/broadcast.ts). `open` opens that many peers, each connected with all others. */
import test, { type ExecutionContext } from 'ava'
import type { Broadcast } from '../../protocols/broadcast.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { GOSSIP_BYTES_MAX } from '../../protocols/limits.ts'
import type { Until } from './until.ts'

export type Opened = {
  readonly peers: readonly { readonly self: PeerId; readonly broadcast: Broadcast }[]
  readonly until: Until
  close(): Promise<void>
}

type Heard = { peer: number; from: PeerId; text: string }

const TOPIC = 'contract'
const frameOf = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Subscribes all but the first `silent` peers, and waits until what any of them says reaches all others. */
async function meet({ peers, until }: Opened, topic: string, silent = 0): Promise<Heard[]> {
  const heard: Heard[] = []
  peers.forEach(({ broadcast }, peer) => {
    if (peer < silent) return
    broadcast.subscribe(topic, (from, frame) => {
      heard.push({ peer, from, text: new TextDecoder().decode(frame) })
      return 'accept'
    })
  })
  // Best effort: the first words may be said before anybody is known to listen.
  for (const { self, broadcast } of peers) {
    const reached = (): boolean =>
      peers.every(
        (other, peer) =>
          peer < silent ||
          other.self === self ||
          heard.some((each) => each.peer === peer && each.from === self),
      )
    for (let attempt = 0; attempt < 40 && !reached(); attempt++) {
      broadcast.publish(topic, frameOf(`hello ${attempt}`))
      await until(reached, 250).catch(() => {})
    }
    await until(reached, 1)
  }
  return heard
}

export function contract(name: string, open: (t: ExecutionContext, peers: number) => Promise<Opened>): void {
  test.serial(`${name}: everybody else hears a frame once, and knows its author`, async (t) => {
    const opened = await open(t, 4)
    try {
      const heard = await meet(opened, TOPIC)
      const { peers, until } = opened
      for (const { self, broadcast } of peers) broadcast.publish(TOPIC, frameOf(`news of ${self}`))
      const news = (): Heard[] => heard.filter(({ text }) => text.startsWith('news'))
      await until(() => news().length >= peers.length * (peers.length - 1), 10_000)
      const seen = news().map(({ peer, from, text }) => {
        t.is(text, `news of ${from}`)
        t.not(peers[peer]?.self, from, 'the publisher does not hear itself')
        return `${peer} ${from}`
      })
      t.is(new Set(seen).size, peers.length * (peers.length - 1))
      t.is(seen.length, new Set(seen).size, 'heard twice')
    } finally {
      await opened.close()
    }
  })

  test.serial(`${name}: topics are apart, and one may publish without listening`, async (t) => {
    const opened = await open(t, 3)
    try {
      const heard = await meet(opened, TOPIC, 1)
      const other: string[] = []
      opened.peers[1]?.broadcast.subscribe('other', (_, frame) => {
        other.push(new TextDecoder().decode(frame))
        return 'accept'
      })
      opened.peers[0]?.broadcast.publish('other', frameOf('elsewhere'))
      opened.peers[0]?.broadcast.publish(TOPIC, frameOf('here'))
      await opened.until(() => heard.filter(({ text }) => text === 'here').length === 2, 10_000)
      t.false(heard.some(({ text }) => text === 'elsewhere'))
      t.false(other.includes('here'))
      t.false(heard.some(({ peer }) => peer === 0))
    } finally {
      await opened.close()
    }
  })

  test.serial(`${name}: the largest frame arrives, a larger one is dropped`, async (t) => {
    const opened = await open(t, 2)
    try {
      const heard = await meet(opened, TOPIC)
      opened.peers[0]?.broadcast.publish(TOPIC, frameOf('x'.repeat(GOSSIP_BYTES_MAX + 1)))
      opened.peers[0]?.broadcast.publish(TOPIC, frameOf('y'.repeat(GOSSIP_BYTES_MAX)))
      const large = (): Heard[] => heard.filter(({ text }) => text.length >= GOSSIP_BYTES_MAX)
      await opened.until(() => large().length > 0, 10_000)
      t.deepEqual(
        large().map(({ text }) => text.slice(0, 1)),
        ['y'],
      )
    } finally {
      await opened.close()
    }
  })
}
