import { crc32 } from 'node:zlib'
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { NOBODY } from '../../protocols/raft/configuration.ts'
import type { Entry, RaftEffect, Recovered } from '../../protocols/raft/types.ts'
import { recover, storeOps } from '../../storage/raft-log.ts'
import type { Op } from '../../storage/store.ts'

type Write = Extract<RaftEffect, { kind: 'store' }>
type Pairs = Map<string, Uint8Array>

const a = 'peerApeerApeerApeerA'
const configuration = { ...NOBODY, voters: [a], learners: ['peerBpeerBpeerBpeerB'] }
const snapshot = { index: 0, term: 0, configuration, data: new Uint8Array() }
const entry = (index: number, term: number): Entry => ({
  index,
  term,
  kind: 'normal',
  data: Uint8Array.of(index, term),
})
const entriesOf = (first: number, ...terms: number[]): Entry[] =>
  terms.map((term, at) => entry(first + at, term))

function apply(pairs: Pairs, ops: readonly Op[]): void {
  for (const op of ops) {
    if (op.kind === 'put') pairs.set(op.key, op.value)
    else if (op.kind === 'del') pairs.delete(op.key)
    else for (const key of pairs.keys()) if (key >= op.gte && key < op.lt) pairs.delete(key)
  }
}

function write(pairs: Pairs, effect: Partial<Write>, group = 'mesh'): Pairs {
  apply(pairs, storeOps(group, { kind: 'store', token: 1, entries: [], ...effect }))
  return pairs
}

function read(pairs: Pairs, group = 'mesh'): Recovered | undefined {
  const sorted = [...pairs].sort(([one], [other]) => (one < other ? -1 : 1))
  return recover({ recovered: (prefix) => sorted.filter(([key]) => key.startsWith(prefix)) }, group)
}

/** A log of four entries of terms 1 1 2 2. */
const some = (group = 'mesh'): Pairs => {
  const hardState = { term: 2, vote: a, commit: 3 }
  return write(new Map(), { snapshot, hardState, entries: entriesOf(1, 1, 1, 2, 2) }, group)
}

test('nothing was left', (t) => {
  t.is(read(new Map()), undefined)
})

test('what was written is read again', (t) => {
  t.deepEqual(read(some()), {
    hardState: { term: 2, vote: a, commit: 3 },
    snapshot,
    entries: entriesOf(1, 1, 1, 2, 2),
  })
})

// A member that had voted and had no entries yet would have come back as one that never voted (found by the simulator).
test('a log without its term and vote is damaged, also while it is empty', (t) => {
  t.throws(() => read(write(new Map(), { snapshot })), { message: /its term and vote are missing/ })
})

test('replaced entries take the tail behind them along', (t) => {
  const pairs = write(some(), {
    hardState: { term: 3, vote: '', commit: 1 },
    entries: entriesOf(2, 3),
    dropFrom: 2,
  })
  t.deepEqual(read(pairs)?.entries, entriesOf(1, 1, 3))
})

test('a compaction drops entries up to compactTo and keeps the rest', (t) => {
  const made = { ...snapshot, index: 3, term: 2, data: Uint8Array.of(1) }
  const found = read(write(some(), { snapshot: made, compactTo: 2 }))
  t.deepEqual(found?.snapshot, made)
  t.deepEqual(found?.entries, entriesOf(3, 2, 2))
})

test('a snapshot of another peer replaces the whole log', (t) => {
  const sent = { ...snapshot, index: 9, term: 4, data: Uint8Array.of(1) }
  const hardState = { term: 5, vote: '', commit: 9 }
  const found = read(
    write(some(), { snapshot: sent, hardState, compactTo: 9, dropFrom: 0, entries: entriesOf(10, 5) }),
  )
  t.deepEqual(found, { hardState, snapshot: sent, entries: entriesOf(10, 5) })
})

test('groups whose names begin alike are kept apart', (t) => {
  const pairs = some('site/a')
  for (const group of ['site/ab', 'site/a-b', 'mesh']) {
    apply(pairs, [])
    write(pairs, { snapshot, hardState: { term: 7, vote: '', commit: 0 }, entries: entriesOf(1, 7) }, group)
  }
  t.deepEqual(read(pairs, 'site/a')?.entries, entriesOf(1, 1, 1, 2, 2))
  t.deepEqual(read(pairs, 'site/ab')?.entries, entriesOf(1, 7))
  t.is(read(pairs, 'site'), undefined)
  write(pairs, { snapshot: { ...snapshot, index: 9, term: 1 }, dropFrom: 0, compactTo: 9 }, 'site/ab')
  t.deepEqual(read(pairs, 'site/a')?.entries, entriesOf(1, 1, 1, 2, 2))
})

const del =
  (key: string) =>
  (pairs: Pairs): void =>
    void pairs.delete(key)
const ENTRY = 'raft/entry/mesh/000000000000000'
const damages: [what: string, damage: (pairs: Pairs) => void, why: RegExp][] = [
  ['an entry in the middle is missing', del(`${ENTRY}2`), /entry 2 is missing/],
  ['the first entry is missing', del(`${ENTRY}1`), /entries between 0 and 2/],
  [
    'agreed entries are missing at the end',
    (pairs) => [del(`${ENTRY}3`), del(`${ENTRY}4`)].forEach((each) => each(pairs)),
    /up to 3 were agreed/,
  ],
  ['the snapshot is missing', del('raft/snapshot/mesh'), /snapshot is missing/],
  ['the hard state is missing', del('raft/state/mesh'), /term and vote are missing/],
  [
    'an entry stands in the place of another',
    (pairs) => pairs.set(`${ENTRY}2`, pairs.get(`${ENTRY}1`) as Uint8Array),
    /checksum/,
  ],
  ['a record is cut short', (pairs) => pairs.set(`${ENTRY}2`, Uint8Array.of(1, 2)), /checksum/],
  ['a record is empty', (pairs) => pairs.set('raft/state/mesh', new Uint8Array()), /checksum/],
  ['an older record came back', (pairs) => write(pairs, { entries: [{ ...entry(4, 1) }] }), /older term/],
  [
    'the snapshot is of another history',
    (pairs) => write(pairs, { snapshot: { ...snapshot, index: 2, term: 2 } }),
    /not the snapshot's/,
  ],
  [
    'the log ends before the snapshot',
    (pairs) => write(pairs, { snapshot: { ...snapshot, index: 9, term: 2 } }),
    /between 4 and 9/,
  ],
]
for (const [what, damage, why] of damages) {
  test(`refused as damaged: ${what}`, (t) => {
    const pairs = some()
    damage(pairs)
    const error = t.throws(() => read(pairs), { name: 'GodwitError' })
    t.like(error, { failure: { code: 'DATA_CORRUPT', what: 'the log of group mesh' } })
    t.regex(error?.message ?? '', why)
  })
}

testProp(
  'any changed byte is found out',
  [fc.constantFrom(...some().keys()), fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, key, place, change) => {
    const pairs = some()
    const value = Uint8Array.from(pairs.get(key) as Uint8Array)
    value[place % value.length] = (value[place % value.length] as number) ^ change
    pairs.set(key, value)
    t.like(
      t.throws(() => read(pairs)),
      { failure: { code: 'DATA_CORRUPT' } },
    )
  },
)

test('a body of another form is damage too, even under a right checksum', (t) => {
  const pairs = some()
  const key = 'raft/state/mesh'
  const body = Uint8Array.of(0x80)
  const value = new Uint8Array(5)
  new DataView(value.buffer).setUint32(0, crc32(body, crc32(key)))
  value.set(body, 4)
  pairs.set(key, value)
  const error = t.throws(() => read(pairs))
  t.like(error, { failure: { code: 'DATA_CORRUPT', why: `${key} has no valid form` } })
})
