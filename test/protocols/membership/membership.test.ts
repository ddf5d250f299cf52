import test from 'ava'
import { type Event, step } from '../../../protocols/membership/membership.ts'
import type { Message, Update } from '../../../protocols/membership/messages.ts'
import { type Effect, type Membership, newMembership } from '../../../protocols/membership/state.ts'

const dice = (): number => 0.5
const self = 'self'

/** A peer that knows a, b and c, is connected to them, and has nothing left to say. */
function settledPeer(connected: string[] = ['a', 'b', 'c'], members = ['a', 'b', 'c']): Membership {
  const m = newMembership({ self, incarnation: 0, nowMs: 0 }, dice)
  step(m, { kind: 'members', peers: [self, ...members] }, dice)
  for (const peer of connected) step(m, { kind: 'connection', peer, up: true }, dice)
  m.urgent.clear()
  m.rumours.clear()
  m.nextRoundMs = Number.POSITIVE_INFINITY
  return m
}

const tick = (nowMs: number): Event => ({ kind: 'tick', nowMs })
const heard = (from: string, message: Message): Event => ({ kind: 'message', from, message })
const told = (from: string, ...news: Update[]): Event => heard(from, { kind: 'gossip', news })
const suspect = (peer: string, incarnation: number, by: string): Update => ({
  peer,
  state: 'suspect',
  incarnation,
  by,
})
const unreachable = (peer: string, incarnation: number): Update => ({
  peer,
  state: 'unreachable',
  incarnation,
})
const alive = (peer: string, incarnation: number): Update => ({ peer, state: 'alive', incarnation })

const sent = (effects: Effect[]): [string, Message][] =>
  effects.flatMap((effect): [string, Message][] =>
    effect.kind === 'send' ? [[effect.to, effect.message]] : [],
  )
const changes = (effects: Effect[]): string[] =>
  effects.flatMap((effect) =>
    effect.kind === 'change' ? [`${effect.peer} ${effect.state} ${effect.incarnation}`] : [],
  )

/** Runs the clock in steps of a tick, and returns all that came of it. */
function pass(m: Membership, ms: number): Effect[] {
  const all: Effect[] = []
  for (const end = m.nowMs + ms; m.nowMs < end;) all.push(...step(m, tick(m.nowMs + 100), dice))
  return all
}

/** Starts a probe of `peer` and returns its sequence number. */
function probe(m: Membership, peer: string): number {
  m.urgent.add(peer)
  for (const [to, message] of sent(step(m, tick(m.nowMs + 1), dice))) {
    if (to === peer && message.kind === 'ping') return message.seq
  }
  throw new Error(`no ping went to ${peer}`)
}

test('a member is unknown until it is heard of, and alive once a connection to it is up', (t) => {
  const m = newMembership({ self, incarnation: 0, nowMs: 0 }, dice)
  t.deepEqual(step(m, { kind: 'members', peers: [self, 'a', 'b'] }, dice), [])
  t.is(m.members.get('a')?.state, 'unknown')
  t.false(m.members.has(self))
  t.deepEqual(changes(step(m, { kind: 'connection', peer: 'a', up: true }, dice)), ['a alive 0'])
  t.deepEqual(changes(step(m, told('a', alive('b', 4)), dice)), ['b alive 4'])
})

test('a connection that came before the admission counts', (t) => {
  const m = newMembership({ self, incarnation: 0, nowMs: 0 }, dice)
  t.deepEqual(step(m, { kind: 'connection', peer: 'a', up: true }, dice), [])
  t.deepEqual(changes(step(m, { kind: 'members', peers: [self, 'a'] }, dice)), ['a alive 0'])
})

test('strangers are not heard, and nothing is learned of strangers', (t) => {
  const m = settledPeer()
  t.deepEqual(step(m, heard('z', { kind: 'ping', seq: 1, news: [unreachable('a', 0)] }), dice), [])
  step(m, told('a', unreachable('z', 0)), dice)
  t.false(m.members.has('z'))
  t.is(m.rumours.size, 0)
})

test('who is no longer admitted is forgotten in every way', (t) => {
  const m = settledPeer()
  probe(m, 'a')
  step(m, told('b', suspect('a', 0, 'b')), dice)
  step(m, { kind: 'members', peers: [self, 'b', 'c'] }, dice)
  t.deepEqual([m.members.has('a'), m.probes.size, m.doubtful.size, m.rumours.has('a')], [false, 0, 0, false])
  t.deepEqual(changes(pass(m, 60_000)), [])
})

test('a ping is answered, and an answer in time improves our health', (t) => {
  const m = settledPeer()
  const answer = step(m, heard('a', { kind: 'ping', seq: 9, news: [] }), dice)
  t.deepEqual(answer, [{ kind: 'send', to: 'a', message: { kind: 'ack', seq: 9, incarnation: 0, news: [] } }])
  m.health = 3
  const seq = probe(m, 'a')
  step(m, heard('a', { kind: 'ack', seq, incarnation: 2, news: [] }), dice)
  t.is(m.health, 2)
  t.is(m.members.get('a')?.incarnation, 2)
  t.deepEqual(changes(pass(m, 60_000)), [])
})

test('an answer from somebody who was not asked is none', (t) => {
  const m = settledPeer()
  const seq = probe(m, 'a')
  step(m, heard('b', { kind: 'ack', seq, incarnation: 0, news: [] }), dice)
  t.is(m.probes.size, 1)
})

test('without a direct answer the others are asked, and their way counts', (t) => {
  const m = settledPeer()
  const seq = probe(m, 'a')
  const asked = sent(pass(m, 700)).map(([to, message]) => [to, message.kind])
  t.deepEqual(
    asked.toSorted(([x = ''], [y = '']) => (x < y ? -1 : 1)),
    [
      ['b', 'ping-req'],
      ['c', 'ping-req'],
    ],
  )
  step(m, heard('c', { kind: 'ack', seq, incarnation: 0, news: [] }), dice)
  t.deepEqual(changes(pass(m, 60_000)), [])
})

test('when nobody reaches it, it is suspect, then unreachable, then lost; and it is told first', (t) => {
  const m = settledPeer()
  const seq = probe(m, 'a')
  pass(m, 700)
  for (const from of ['b', 'c']) step(m, heard(from, { kind: 'nack', seq, tried: true, news: [] }), dice)
  const effects = pass(m, 100)
  t.deepEqual(changes(effects), ['a suspect 0'])
  t.is(m.health, 0)
  const [ping] = sent(effects).filter(([to, { kind }]) => to === 'a' && kind === 'ping')
  t.like(ping?.[1], { kind: 'ping', news: [suspect('a', 0, self)] })
  t.deepEqual(changes(pass(m, 30_000)), ['a unreachable 0'])
  t.deepEqual(changes(pass(m, 3_600_000)), ['a lost 0'])
})

test('others that are silent too are held against ourselves', (t) => {
  const m = settledPeer()
  probe(m, 'a')
  t.deepEqual(changes(pass(m, 2_100)), ['a suspect 0'])
  t.is(m.health, 1)
})

test('poor health gives others more time, up to a bound', (t) => {
  const m = settledPeer()
  for (let i = 0; i < 20; i++) step(m, { kind: 'delay', ms: 500 }, dice)
  t.is(m.health, 7)
  step(m, { kind: 'delay', ms: 50 }, dice)
  t.is(m.health, 7)
  probe(m, 'a')
  t.deepEqual(changes(pass(m, 15_800)), [])
  t.deepEqual(changes(pass(m, 300)), ['a suspect 0'])
})

test('time in which this peer did not run is nobody’s silence', (t) => {
  const m = settledPeer()
  step(m, told('b', suspect('c', 0, 'b')), dice)
  probe(m, 'a')
  t.deepEqual(changes(step(m, tick(m.nowMs + 600_000), dice)), [])
  t.is(m.health, 1)
})

test('a way that nobody has is no evidence; a connection that just went down is', (t) => {
  const never = settledPeer(['b', 'c'])
  step(never, told('b', alive('a', 0)), dice)
  never.urgent.add('a')
  pass(never, 100)
  const seq = [...never.probes.keys()][0] ?? -1
  for (const from of ['b', 'c']) step(never, heard(from, { kind: 'nack', seq, tried: false, news: [] }), dice)
  t.deepEqual(changes(pass(never, 60_000)), [])

  const dropped = settledPeer()
  step(dropped, { kind: 'connection', peer: 'a', up: false }, dice)
  t.deepEqual(changes(pass(dropped, 2_200)), ['a suspect 0'])
})

test('who is alone sees that the others are not there', (t) => {
  const m = settledPeer()
  for (const peer of ['a', 'b', 'c']) step(m, { kind: 'connection', peer, up: false }, dice)
  const seen = changes(pass(m, 30_000)).filter((change) => change.includes('unreachable'))
  t.deepEqual(new Set(seen), new Set(['a unreachable 0', 'b unreachable 0', 'c unreachable 0']))
})

// What this peer is told of itself at incarnation 3, and the incarnation and health that come of it.
const ofSelf: [what: string, update: Update, incarnation: number, health: number][] = [
  ['that it is suspect', suspect(self, 3, 'b'), 4, 1],
  ['that it is unreachable', unreachable(self, 3), 4, 1],
  ['that it is lost, later', { peer: self, state: 'lost', incarnation: 8 }, 9, 1],
  ['what it has refuted', suspect(self, 2, 'b'), 3, 0],
  ['that it is alive', alive(self, 3), 3, 0],
  ['of an earlier life', alive(self, 7), 8, 0],
  ['of its past', alive(self, 1), 3, 0],
]

for (const [what, update, incarnation, health] of ofSelf) {
  test(`told ${what}, a peer answers with its newest incarnation`, (t) => {
    const m = settledPeer()
    m.incarnation = 3
    step(m, told('a', update), dice)
    t.is(m.incarnation, incarnation)
    t.is(m.health, health)
    const [answer] = sent(step(m, heard('b', { kind: 'ping', seq: 1, news: [] }), dice))
    t.like(answer?.[1], {
      kind: 'ack',
      incarnation,
      news: update.incarnation === 3 && health === 0 ? [] : [alive(self, incarnation)],
    })
  })
}

test('a suspect is alive again by a new incarnation, and by nothing less', (t) => {
  const m = settledPeer()
  t.deepEqual(changes(step(m, told('b', suspect('a', 0, 'b')), dice)), ['a suspect 0'])
  t.deepEqual(changes(step(m, heard('a', { kind: 'ping', seq: 1, news: [] }), dice)), [])
  t.deepEqual(changes(step(m, told('b', alive('a', 0)), dice)), [])
  t.deepEqual(changes(step(m, told('c', alive('a', 1)), dice)), ['a alive 1'])
  t.is(m.doubtful.size, 0)
})

test('many accusers: two confirmations shorten the wait, the same one twice does not', (t) => {
  const until = (accusers: string[]): number => {
    const m = settledPeer(['a', 'b', 'c'], ['a', 'b', 'c', 'd', 'e'])
    for (const by of accusers) step(m, told('b', suspect('a', 0, by)), dice)
    m.urgent.clear()
    for (let ms = 0; ; ms += 100) if (changes(step(m, tick(m.nowMs + 100), dice)).length > 0) return ms
  }
  const [alone, twice, three] = [until(['b']), until(['b', 'b', 'b']), until(['b', 'c', 'd'])]
  t.is(alone, twice)
  t.true(three < 4_200 && alone > 20_000, `${three} and ${alone} ms`)
})

test('who was just heard is not unreachable because others say so; who was not, is', (t) => {
  const m = settledPeer()
  t.deepEqual(changes(step(m, told('b', unreachable('a', 0)), dice)), ['a suspect 0'])
  const later = settledPeer()
  pass(later, 5_000)
  t.deepEqual(changes(step(later, told('b', unreachable('a', 0)), dice)), ['a unreachable 0'])
})

test('who says something older is reminded', (t) => {
  const m = settledPeer()
  step(m, told('a', alive('b', 5)), dice)
  m.rumours.clear()
  step(m, told('c', suspect('b', 4, 'c')), dice)
  const [answer] = sent(step(m, heard('c', { kind: 'ping', seq: 1, news: [] }), dice))
  t.like(answer?.[1], { news: [alive('b', 5)] })
})

test('an errand: the target is pinged for another, its answer or its silence goes back', (t) => {
  const m = settledPeer()
  const request: Message = { kind: 'ping-req', seq: 77, target: 'b', news: [suspect('b', 0, 'a')] }
  const [[to, ping] = []] = sent(step(m, heard('a', request), dice))
  t.is(to, 'b')
  t.like(ping, { kind: 'ping', news: [suspect('b', 0, 'a')] })
  const seq = ping?.kind === 'ping' ? ping.seq : -1
  const back = step(m, heard('b', { kind: 'ack', seq, incarnation: 1, news: [] }), dice)
  t.deepEqual(changes(back), ['b alive 1'])
  t.like(sent(back), [['a', { kind: 'ack', seq: 77, incarnation: 1 }]])

  step(m, heard('a', { ...request, seq: 78 }), dice)
  const silence = sent(pass(m, 700)).filter(([, { kind }]) => kind === 'nack')
  t.like(silence, [['a', { seq: 78, tried: true }]])
})

const errands: [what: string, target: string, answer: object][] = [
  ['itself answers', self, { kind: 'ack', seq: 5, incarnation: 0 }],
  ['has no way to it', 'd', { kind: 'nack', seq: 5, tried: false }],
  ['does not know it', 'z', { kind: 'nack', seq: 5, tried: false }],
]

for (const [what, target, answer] of errands) {
  test(`an errand to whom this peer ${what}`, (t) => {
    const m = settledPeer(['a', 'b'], ['a', 'b', 'd'])
    t.like(sent(step(m, heard('a', { kind: 'ping-req', seq: 5, target, news: [] }), dice)), [['a', answer]])
  })
}

test('errands are bounded', (t) => {
  const m = settledPeer()
  for (let seq = 0; seq < 100; seq++)
    step(m, heard('a', { kind: 'ping-req', seq, target: 'b', news: [] }), dice)
  t.is(m.errands.size, 64)
})

test('state is plain data: a copy goes on like the original', (t) => {
  const m = settledPeer()
  probe(m, 'a')
  const copy = structuredClone(m)
  t.deepEqual(pass(copy, 10_000), pass(m, 10_000))
})
