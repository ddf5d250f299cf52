import test from 'ava'
import { type Message, message } from '../../../protocols/membership/messages.ts'
import { golden, sturdy } from '../golden.ts'

const [a, b] = [
  '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf',
  '12D3KooWA8EXV3KjBxEU5EnsPfneLx84vMWAtTBQBeyooN82KSuX',
]
const news: Message['news'] = [
  { peer: a, state: 'suspect', incarnation: 3, by: b },
  { peer: b, state: 'alive', incarnation: 1_795_000_000 },
]

const messages: Message[] = [
  { kind: 'ping', seq: 7, news },
  { kind: 'ping-req', seq: 4_294_967_295, target: a, news: [] },
  { kind: 'ack', seq: 7, incarnation: 12, news },
  { kind: 'nack', seq: 7, tried: true, news: [] },
  { kind: 'gossip', news },
]

for (const each of messages) golden(`membership-${each.kind}`, message, each)
sturdy('a ping', message, { kind: 'ping', seq: 7, news })

const update = { peer: a, state: 'lost', incarnation: 1 } as const
const refused: [what: string, message: unknown, at: string][] = [
  ['an unknown kind', { kind: 'sync', news: [] }, 'membership.kind'],
  ['no news', { kind: 'ping', seq: 1 }, 'membership.news'],
  ['too much news', { kind: 'gossip', news: Array.from({ length: 9 }, () => update) }, 'membership.news'],
  ['an unknown state', { kind: 'gossip', news: [{ ...update, state: 'dead' }] }, 'membership.news.0.state'],
  [
    'a negative incarnation',
    { kind: 'gossip', news: [{ ...update, incarnation: -1 }] },
    'membership.news.0.incarnation',
  ],
  ['a peer that is none', { kind: 'gossip', news: [{ ...update, peer: '0' }] }, 'membership.news.0.peer'],
]

for (const [what, said, at] of refused) {
  test(`a message with ${what} is refused`, (t) => {
    t.like(
      t.throws(() => message.encode(said as Message)),
      { failure: { code: 'FRAME_INVALID', at } },
    )
  })
}

test('the most news fits in one packet', (t) => {
  const most: Message = {
    kind: 'ping-req',
    seq: 2 ** 32,
    target: a,
    news: Array.from({ length: 8 }, () => ({ ...update, by: b })),
  }
  t.true(message.encode(most).length <= 1_400)
})
