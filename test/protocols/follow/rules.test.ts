import test from 'ava'
import { crc32 } from 'node:zlib'
import { ranked } from '../../../protocols/follow/choosing.ts'
import * as follower from '../../../protocols/follow/follower.ts'
import type { Answer, Ask, Standing } from '../../../protocols/follow/messages.ts'
import * as source from '../../../protocols/follow/source.ts'
import {
  FOLLOW_ADRIFT_MS,
  FOLLOW_AGAIN_MS_MIN,
  FOLLOW_BEHIND_MS,
  FOLLOW_FLIGHT_MS,
  FOLLOW_HOLD_MS,
  FOLLOW_IN_FLIGHT_BYTES_MAX,
  FOLLOWERS_MAX,
  PROPOSAL_BYTES_MAX,
} from '../../../protocols/limits.ts'
import { NOBODY } from '../../../protocols/raft/configuration.ts'
import type { Entry } from '../../../protocols/raft/types.ts'

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(16)) as [
  string,
  string,
  string,
  string,
]
const cluster = '01JZ0000000000000000000002'
const place = { cluster, group: 'mesh' }
const entry = (index: number, bytes = 3): Entry => ({
  term: 2,
  index,
  kind: 'normal',
  data: new Uint8Array(bytes),
})
const ask = (index: number, generation = 0): Ask => ({ ...place, generation, index, waitMs: FOLLOW_HOLD_MS })

// The source ------------------------------------------------------------------------------------------------------

/** Snapshot at 10, entries 8 to 12, 12 applied. */
const state = new Uint8Array(10).fill(7)
const snapshot = { index: 10, term: 2, configuration: NOBODY, data: state }
const fresh = { term: 2, leader: a, ageMs: 0, path: [] }
const entries = [8, 9, 10, 11, 12, 13].map((index) => entry(index))
const view: source.View = {
  generation: 1,
  log: { base: { index: 7, term: 2 }, entries, applied: 12 },
  snapshot,
  standing: fresh,
}
const lost = { ...view, standing: { ...fresh, ageMs: FOLLOW_ADRIFT_MS + 1 } }
const followsB = { ...view, standing: { ...fresh, path: [c, b] } }

/** What an ask is answered at once; `held` when it is not. */
function answered(asked: Ask, seen: source.View = view, partBytes = 4): string {
  const effects = source.step(newSource(partBytes), { kind: 'ask', token: 1, from: b, ask: asked }, seen, 0)
  return effects.length === 0 ? 'held' : briefly(effects[0]?.answer as Answer)
}
const newSource = (partBytes = 4): source.Source => source.newSource(cluster, 'mesh', partBytes)
const briefly = (answer: Answer): string => {
  if (answer.kind === 'nothing') return answer.why
  if (answer.kind === 'entries') return `${answer.entries.length} entries`
  return `snapshot ${answer.snapshot.index}, ${answer.data.length} B from ${answer.offset} of ${answer.total}`
}

const checksum = crc32(state)
const part = (index: number, offset: number, sum = checksum): NonNullable<Ask['snapshot']> => ({
  generation: 1,
  index,
  checksum: sum,
  offset,
})
const answers: [rule: string, asked: Ask, seen: source.View, answer: string][] = [
  ['gives what is committed and applied, no more', ask(11, 1), view, '1 entries'],
  ['gives the entry right after its base', ask(7, 1), view, '5 entries'],
  ['gives a snapshot before its base', ask(6, 1), view, 'snapshot 10, 4 B from 0 of 10'],
  [
    'gives a snapshot to an older generation, wherever it is',
    ask(12, 0),
    view,
    'snapshot 10, 4 B from 0 of 10',
  ],
  ['goes on with a snapshot', { ...ask(0, 1), snapshot: part(10, 4) }, view, 'snapshot 10, 4 B from 4 of 10'],
  ['ends a snapshot', { ...ask(0, 1), snapshot: part(10, 8) }, view, 'snapshot 10, 2 B from 8 of 10'],
  ['begins another one', { ...ask(0, 1), snapshot: part(9, 4) }, view, 'snapshot 10, 4 B from 0 of 10'],
  [
    'begins anew with other bytes',
    { ...ask(0, 1), snapshot: part(10, 4, 1) },
    view,
    'snapshot 10, 4 B from 0 of 10',
  ],
  [
    'begins anew past the end',
    { ...ask(0, 1), snapshot: part(10, 11) },
    view,
    'snapshot 10, 4 B from 0 of 10',
  ],
  ['holds who has everything', ask(12, 1), view, 'held'],
  ['has nothing for who has more', ask(13, 1), view, 'behind'],
  ['has nothing for a newer generation', ask(1, 2), view, 'behind'],
  [
    'has nothing for another mesh',
    { ...ask(11, 1), cluster: '01JZ0000000000000000000003' },
    view,
    'stranger',
  ],
  ['has nothing for another group', { ...ask(11, 1), group: 'site/a' }, view, 'stranger'],
  ['has nothing for whom its news come through', ask(11, 1), followsB, 'loop'],
  ['gives what it has while out of touch', ask(11, 1), lost, '1 entries'],
  ['sends elsewhere while out of touch', ask(12, 1), lost, 'adrift'],
]

for (const [rule, asked, seen, answer] of answers) {
  test(`a source ${rule}`, (t) => t.is(answered(asked, seen), answer))
}

test('a held ask is answered by the next entry, or in the end by none', (t) => {
  const each = newSource()
  t.deepEqual(source.step(each, { kind: 'ask', token: 1, from: b, ask: ask(12, 1) }, view, 0), [])
  const more = { ...view, log: { ...view.log, applied: 13 } }
  t.deepEqual(
    source.step(each, { kind: 'look' }, more, 10).map(({ answer }) => briefly(answer)),
    ['1 entries'],
  )

  source.step(each, { kind: 'ask', token: 2, from: b, ask: ask(13, 1) }, more, 20)
  t.is(source.dueMs(each), 20 + FOLLOW_HOLD_MS)
  t.deepEqual(source.step(each, { kind: 'look' }, more, 19 + FOLLOW_HOLD_MS), [])
  const [last] = source.step(each, { kind: 'look' }, more, 20 + FOLLOW_HOLD_MS)
  t.is(briefly(last?.answer as Answer), '0 entries')
})

test('a source holds one ask of a peer, and so many in all', (t) => {
  const each = newSource()
  source.step(each, { kind: 'ask', token: 0, from: b, ask: ask(12, 1) }, view, 0)
  const again = source.step(each, { kind: 'ask', token: 1, from: b, ask: ask(12, 1) }, view, 0)
  t.deepEqual(
    again.map(({ token, answer }) => [token, briefly(answer)]),
    [[0, 'busy']],
  )
  for (let n = 1; n < FOLLOWERS_MAX; n++)
    t.deepEqual(source.step(each, { kind: 'ask', token: n + 1, from: `p${n}`, ask: ask(12, 1) }, view, 0), [])
  const full = source.step(each, { kind: 'ask', token: 999, from: c, ask: ask(12, 1) }, view, 0)
  t.deepEqual(
    full.map(({ token, answer }) => [token, briefly(answer)]),
    [[999, 'busy']],
  )
})

test('bytes on their way are bounded: who catches up waits for those before', (t) => {
  const large = Array.from({ length: 8 }, (_, n) => entry(n + 1, PROPOSAL_BYTES_MAX))
  const wide = { ...view, log: { base: { index: 0, term: 0 }, entries: large, applied: 8 } }
  const each = newSource()
  let served = 0
  for (let n = 0; n < 100; n++)
    served += source.step(each, { kind: 'ask', token: n, from: `p${n}`, ask: ask(0, 1) }, wide, n).length
  t.true(served * 2 * PROPOSAL_BYTES_MAX >= FOLLOW_IN_FLIGHT_BYTES_MAX && served < 100, `${served} served`)
  // One of them asks for more, so its page has arrived, and the longest waiting has its turn.
  const [next] = source.step(each, { kind: 'ask', token: 1_000, from: 'p0', ask: ask(2, 1) }, wide, 101)
  t.is(next?.token, served)
  t.true(source.step(each, { kind: 'look' }, wide, 102 + FOLLOW_FLIGHT_MS).length > 0)
})

test('a snapshot that somebody is in the middle of stays while it is asked for', (t) => {
  const each = newSource()
  const give = (asked: Ask, seen: source.View, nowMs: number): string =>
    source
      .step(each, { kind: 'ask', token: nowMs, from: b, ask: asked }, seen, nowMs)
      .map(({ answer }) => briefly(answer))[0] ?? 'held'
  give(ask(0, 1), view, 0)
  const newer = { ...view, snapshot: { ...snapshot, index: 12, data: new Uint8Array(5) } }
  t.is(give({ ...ask(0, 1), snapshot: part(10, 4) }, newer, 1), 'snapshot 10, 4 B from 4 of 10')
  // The log does not go on after it any more: it would lead nowhere.
  const past = { ...newer, log: { base: { index: 11, term: 2 }, entries: [entry(12)], applied: 12 } }
  t.is(give({ ...ask(0, 1), snapshot: part(10, 8) }, past, 2), 'snapshot 12, 4 B from 0 of 5')
  t.is(give({ ...ask(0, 1), snapshot: part(10, 8) }, newer, 60_000), 'snapshot 12, 4 B from 0 of 5')
  t.is(each.offered.length, 1)
})

// The follower ----------------------------------------------------------------------------------------------------

const candidate = { near: false, member: true, connected: true, rttMs: 10 }
const standing: Standing = { generation: 0, index: 5, term: 2, leader: a, ageMs: 0, path: [] }
const page = (count: number, more: Partial<Standing> = {}): Answer => ({
  kind: 'entries',
  ...standing,
  ...more,
  entries: Array.from({ length: count }, () => ({
    term: 2,
    kind: 'normal' as const,
    data: new Uint8Array(1),
  })),
})

/** Holds entries 1 to 3, and has asked `a` for more. */
function asking(): follower.Follower {
  const each = follower.newFollower(d, cluster, 'mesh', { generation: 0, index: 3 })
  follower.step(
    each,
    {
      kind: 'candidates',
      candidates: [
        { ...candidate, peer: a },
        { ...candidate, peer: b, rttMs: 50 },
      ],
    },
    0,
  )
  const [effect] = follower.step(each, { kind: 'wanted', wanted: true }, 0)
  if (effect?.kind !== 'ask' || effect.to !== a) throw new Error('does not ask a')
  return each
}

const shown = (effects: follower.Effect[]): string[] =>
  effects.map((effect) => {
    if (effect.kind === 'ask')
      return `asks ${effect.to[0]} after ${effect.ask.generation}.${effect.ask.index}`
    if (effect.kind === 'entries') return `takes ${effect.entries.map(({ index }) => index).join(' ')}`
    return effect.kind === 'blame'
      ? `blames ${effect.peer[0]}: ${effect.why}`
      : `installs ${effect.generation}.${effect.snapshot.index}`
  })

const whole = (more: Partial<Answer & { kind: 'part' }> = {}): Answer => ({
  kind: 'part',
  ...standing,
  index: 9,
  snapshot: { index: 8, term: 2, configuration: NOBODY, checksum },
  offset: 0,
  total: 10,
  data: state,
  ...more,
})

const heard: [rule: string, answer: Answer, effects: string[]][] = [
  ['takes entries after its position', page(2), ['takes 4 5']],
  ['asks elsewhere after nothing', { kind: 'nothing', ...standing, why: 'behind' }, ['asks b after 0.3']],
  ['asks elsewhere when its own news come back', page(2, { path: [b, d] }), ['asks b after 0.3']],
  ['asks elsewhere when an ask is not held', page(0, { index: 3 }), ['asks b after 0.3']],
  [
    'blames for entries that are not there',
    page(3),
    ['blames a: entries past 5, which is the last', 'asks b after 0.3'],
  ],
  [
    'blames for none though there are some',
    page(0),
    ['blames a: no entries, and 5 is the last', 'asks b after 0.3'],
  ],
  [
    'blames for another generation',
    page(2, { generation: 1 }),
    ['blames a: entries of generation 1, not 0', 'asks b after 0.3'],
  ],
  ['installs a snapshot that is newer', whole(), ['installs 0.8']],
  [
    'installs one of a newer generation',
    whole({ generation: 1, snapshot: { index: 2, term: 2, configuration: NOBODY, checksum } }),
    ['installs 1.2'],
  ],
  [
    'blames for one that is not newer',
    whole({ snapshot: { index: 3, term: 2, configuration: NOBODY, checksum } }),
    ['blames a: a snapshot that is not newer', 'asks b after 0.3'],
  ],
  [
    'blames for other bytes',
    whole({ data: new Uint8Array(10) }),
    ['blames a: a snapshot with another checksum', 'asks b after 0.3'],
  ],
  [
    'blames for a gap',
    whole({ offset: 4, data: new Uint8Array(6) }),
    ['blames a: a part from 4, not 0', 'asks b after 0.3'],
  ],
  ['blames for too much', whole({ total: 9 }), ['blames a: a part of 10 B', 'asks b after 0.3']],
  [
    'blames for an empty part',
    whole({ data: new Uint8Array() }),
    ['blames a: a part of 0 B', 'asks b after 0.3'],
  ],
  ['goes on after a part', whole({ data: state.slice(0, 4) }), ['asks a after 0.3']],
]

for (const [rule, answer, effects] of heard) {
  test(`a follower ${rule}`, (t) =>
    t.deepEqual(shown(follower.step(asking(), { kind: 'answer', serial: 1, answer }, 1)), effects))
}

test('a follower blames for terms that fall', (t) => {
  const falling = page(2) as Answer & { kind: 'entries' }
  const terms = falling.entries.map((each, at) => ({ ...each, term: 2 - at }))
  const effects = follower.step(
    asking(),
    { kind: 'answer', serial: 1, answer: { ...falling, entries: terms } },
    1,
  )
  t.deepEqual(shown(effects), ['blames a: entries with falling terms', 'asks b after 0.3'])
})

test('nothing is asked while a delivery is under way', (t) => {
  const each = asking()
  follower.step(each, { kind: 'answer', serial: 1, answer: page(2) }, 1)
  t.deepEqual(follower.step(each, { kind: 'tick' }, 60_000), [])
  t.deepEqual(follower.step(each, { kind: 'position', position: { generation: 0, index: 4 } }, 60_000), [])
  t.deepEqual(
    shown(follower.step(each, { kind: 'position', position: { generation: 0, index: 5 } }, 60_000)),
    ['asks a after 0.5'],
  )
})

test('an answer to a position that a leader has passed meanwhile is not taken', (t) => {
  const each = asking()
  t.deepEqual(follower.step(each, { kind: 'position', position: { generation: 0, index: 4 } }, 1), [])
  t.deepEqual(shown(follower.step(each, { kind: 'answer', serial: 1, answer: page(2) }, 2)), [
    'asks a after 0.4',
  ])
})

test('an answer that nobody waits for is not taken', (t) => {
  const each = asking()
  follower.step(each, { kind: 'failed', serial: 1 }, 1)
  t.deepEqual(follower.step(each, { kind: 'answer', serial: 1, answer: page(2) }, 2), [])
})

test('a snapshot goes on at another source, from the same byte', (t) => {
  const each = asking()
  follower.step(each, { kind: 'answer', serial: 1, answer: whole({ data: state.slice(0, 4) }) }, 1)
  const [effect] = follower.step(each, { kind: 'failed', serial: 2 }, 2)
  t.like(effect, { kind: 'ask', to: b, ask: { snapshot: { index: 8, checksum, offset: 4 } } })
  const rest = whole({ offset: 4, data: state.slice(4) })
  t.deepEqual(shown(follower.step(each, { kind: 'answer', serial: 3, answer: rest }, 3)), ['installs 0.8'])
})

test('what cannot be read is its source’s fault', (t) => {
  const each = asking()
  follower.step(each, { kind: 'answer', serial: 1, answer: page(2) }, 1)
  const effects = follower.step(each, { kind: 'refused', why: 'no snapshot' }, 2)
  t.deepEqual(shown(effects), ['blames a: no snapshot', 'asks b after 0.3'])
})

test('a source that stays behind what others spoke of is left', (t) => {
  const each = asking()
  follower.step(each, { kind: 'heard', position: { generation: 0, index: 9 } }, 0)
  follower.step(each, { kind: 'answer', serial: 1, answer: page(2) }, 1)
  follower.step(each, { kind: 'position', position: { generation: 0, index: 5 } }, 1)
  follower.step(each, { kind: 'heard', position: { generation: 0, index: 9 } }, FOLLOW_HOLD_MS)
  t.is(each.source, a)
  follower.step(each, { kind: 'answer', serial: 2, answer: page(0) }, 1 + FOLLOW_HOLD_MS)
  t.is(each.source, a)
  const effects = follower.step(each, { kind: 'answer', serial: 3, answer: page(0) }, 2 + FOLLOW_BEHIND_MS)
  t.deepEqual(shown(effects), ['asks b after 0.5'])
})

test('when everybody rests, the first to have rested is asked again', (t) => {
  const each = asking()
  follower.step(each, { kind: 'failed', serial: 1 }, 0)
  t.deepEqual(follower.step(each, { kind: 'failed', serial: 2 }, 1), [])
  t.is(follower.dueMs(each), FOLLOW_AGAIN_MS_MIN)
  t.deepEqual(shown(follower.step(each, { kind: 'tick' }, FOLLOW_AGAIN_MS_MIN)), ['asks a after 0.3'])
})

test('a member that hears its leader asks nobody', (t) => {
  const each = asking()
  follower.step(each, { kind: 'wanted', wanted: false }, 1)
  t.deepEqual(follower.step(each, { kind: 'answer', serial: 1, answer: page(2) }, 2), [])
  t.is(follower.dueMs(each), Infinity)
})

test('the age is the source’s and what has passed since, once everything it had is held', (t) => {
  const each = asking()
  t.is(follower.ageMs(each, 100), Infinity)
  follower.step(each, { kind: 'answer', serial: 1, answer: page(2, { ageMs: 30, path: [b] }) }, 100)
  t.is(follower.ageMs(each, 110), Infinity)
  follower.step(each, { kind: 'position', position: { generation: 0, index: 5 } }, 120)
  t.is(follower.ageMs(each, 150), 80)
  t.deepEqual(follower.pathOf(each), [a, b])
})

// Choosing --------------------------------------------------------------------------------------------------------

test('near members first, then who serves the site, then members by distance, then anybody, dials last', (t) => {
  const of = (peer: string, more: object): Parameters<typeof ranked>[1][number] => ({
    ...candidate,
    peer,
    ...more,
  })
  const order = ranked('m', [
    of('dial', { connected: false, near: true }),
    of('z', { near: true, member: false }),
    of('far', { rttMs: 90 }),
    of('mid', { rttMs: 20 }),
    of('c', { near: true, member: false, rttMs: 1 }),
    of('b', { near: true, member: false, rttMs: 9 }),
    of('m', { near: true }),
    of('own', { near: true, rttMs: 1 }),
    of('any', { member: false, rttMs: 1 }),
  ])
  t.deepEqual(
    order.map(({ peer }) => peer),
    ['own', 'b', 'c', 'mid', 'far', 'z', 'any', 'dial'],
  )
})
