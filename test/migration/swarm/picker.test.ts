import test from 'ava'
import { type Download, startDownload } from '../../../migration/swarm/holdings.ts'
import { type Effect, type Event, step } from '../../../migration/swarm/picker.ts'
import {
  IN_FLIGHT_BYTES_MAX,
  IN_FLIGHT_BYTES_MIN,
  NO_SOURCE_MS,
  SOURCE_SILENT_MS,
} from '../../../protocols/limits.ts'
import { encodeSection, decodeSection } from '../../../protocols/swarm/have-map.ts'
import { random } from '../../../simulator/random.ts'

const KIB = 1024
const CHUNK = 256 * KIB

/** A download of `chunks` chunks, its clock, and what it has asked of whom so far. */
function table(chunks: number, seed = 1, self = '') {
  const download: Download = startDownload(
    { bytes: chunks * CHUNK, chunkBytes: CHUNK },
    Array.from({ length: chunks }, (_, index) => index),
    random(seed, 'picker'),
    0,
    self,
  )
  const asked = new Map<string, number[]>()
  const effects: Effect[] = []
  const on = {
    nowMs: 0,
    download,
    effects,
    asked: (peer: string): number[] => asked.get(peer) ?? [],
    step(event: Event): Effect[] {
      const out = step(download, event, on.nowMs)
      for (const effect of out)
        if (effect.kind === 'want') asked.set(effect.peer, [...on.asked(effect.peer), ...effect.indexes])
      effects.push(...out)
      return out
    },
    source(peer: string, held: readonly number[], near = false): void {
      on.step({ kind: 'source', peer, near, rttMs: 10 })
      const map = Array.from({ length: chunks }, (_, index) => held.includes(index))
      on.step({ kind: 'have', peer, from: 0, count: chunks, bits: decodeSection(encodeSection(0, map)) })
    },
    piece(peer: string, index: number, bytes = CHUNK): Effect[] {
      const out = on.step({ kind: 'piece', peer, index, bytes })
      return [...out, ...on.step({ kind: 'stored', index, bytes })]
    },
    tick(toMs: number): void {
      for (; on.nowMs < toMs; on.nowMs += 50) on.step({ kind: 'tick' })
      on.nowMs = toMs
    },
    kinds: (): string[] => effects.map(({ kind }) => kind),
  }
  return on
}

const all = (chunks: number): number[] => Array.from({ length: chunks }, (_, index) => index)

test('the first requests fill the least budget, and no more', (t) => {
  const on = table(100)
  on.source('a', all(100))
  t.is(on.asked('a').length, IN_FLIGHT_BYTES_MIN / CHUNK)
})

test('rarest first', (t) => {
  const on = table(40)
  on.step({ kind: 'source', peer: 'b', near: false, rttMs: 10 })
  const map = all(40).map((index) => index >= 4)
  on.step({ kind: 'have', peer: 'b', from: 0, count: 40, bits: decodeSection(encodeSection(0, map)) })
  on.source('a', all(40))
  t.deepEqual(
    on.asked('a').sort((x, y) => x - y),
    [0, 1, 2, 3],
  )
})

test('the same dice ask for the same, others for something else', (t) => {
  const first = [1, 1, 2].map((seed) => {
    const on = table(1_000, seed)
    on.source('a', all(1_000))
    return on.asked('a').join()
  })
  t.is(first[0], first[1])
  t.not(first[0], first[2])
})

test('the budget follows the bandwidth-delay product, up to its bound', (t) => {
  const on = table(2_000)
  on.source('a', all(2_000))
  // 256 KiB each ms at 100 ms: the product is 25 MiB.
  const due: number[] = []
  let most = 0
  for (let step = 0; step < 1_500; step++) {
    on.nowMs++
    while (due.length < on.asked('a').length) due.push(Math.max(on.nowMs + 100, (due.at(-1) ?? 0) + 1))
    due.forEach((atMs, n) => {
      if (atMs === on.nowMs) on.piece('a', on.asked('a')[n] as number)
    })
    most = Math.max(most, on.download.asked)
  }
  t.is(most, IN_FLIGHT_BYTES_MAX / CHUNK)
})

test('what a near source holds is left to it', (t) => {
  const on = table(50)
  on.source('near', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], true)
  on.source('far', all(50))
  for (let round = 0; round < 40; round++) {
    const next = on.asked('far')[round]
    if (next !== undefined) on.piece('far', next)
  }
  t.true(on.asked('far').every((index) => index === 0 || index > 10))
  t.is(new Set(on.asked('far')).size, 40)
})

test('when the near source goes, the far one is asked at once', (t) => {
  const on = table(4)
  on.source('near', [0, 1, 2, 3], true)
  on.source('far', [0, 1, 2, 3])
  t.deepEqual(on.asked('far'), [])
  on.step({ kind: 'lost', peer: 'near' })
  t.is(on.asked('far').length, 4)
})

test('a silent source is late after its patience, and what it owes goes to others', (t) => {
  const on = table(8)
  on.source('dead', all(8))
  const owed = on.asked('dead')
  on.source('live', all(8))
  on.tick(250)
  on.asked('live').forEach((index) => on.piece('live', index))
  on.tick(300)
  on.tick(350)
  for (const index of owed) t.true(on.asked('live').includes(index))
})

test('a late chunk that comes after all is taken, its second request cancelled', (t) => {
  const on = table(1)
  on.source('slow', [0])
  on.source('quick', [0])
  on.tick(400)
  t.deepEqual(on.asked('quick'), [0])
  const out = on.piece('slow', 0)
  t.deepEqual(
    out.map(({ kind }) => kind),
    ['write', 'cancel', 'complete'],
  )
  t.is(on.download.meter.duplicateBytes, 0)
})

test('a chunk that comes twice is written once and counted', (t) => {
  const on = table(4)
  on.source('a', all(4))
  on.piece('a', 0)
  t.deepEqual(on.step({ kind: 'piece', peer: 'a', index: 0, bytes: 9 }), [])
  t.is(on.download.meter.duplicateBytes, 9)
})

test('the first bad chunk bans its source; the chunk is asked of another', (t) => {
  const on = table(4)
  on.source('bad', all(4))
  on.source('good', all(4))
  on.step({ kind: 'piece', peer: 'bad', index: 2, bytes: CHUNK })
  const out = on.step({ kind: 'corrupt', peer: 'bad', index: 2, bytes: CHUNK })
  t.deepEqual(out[0], { kind: 'ban', peer: 'bad', index: 2 })
  t.deepEqual(
    on.asked('good').toSorted((x, y) => x - y),
    [0, 1, 2, 3],
  )
  t.is(on.download.writingBytes, 0)
})

test('a source that lacks a chunk after all is not asked for it again', (t) => {
  const on = table(1)
  on.source('a', [0])
  t.deepEqual(on.step({ kind: 'lack', peer: 'a', index: 0 }), [])
  on.source('b', [0])
  t.deepEqual(on.asked('b'), [0])
})

test('endgame asks the quick one for what the slow one would bring late', (t) => {
  const on = table(12)
  on.source('slow', [8, 9, 10, 11])
  on.source('quick', all(12))
  on.nowMs = 200
  on.piece('slow', on.asked('slow')[0] as number)
  for (let n = 0; n < 8; n++) on.piece('quick', on.asked('quick')[n] as number)
  t.true(on.asked('quick').length > 8)
  t.true(on.asked('quick').length <= 12)
})

test('no more is asked than the disk takes', (t) => {
  const on = table(1_000)
  for (let n = 0; n < 20; n++) on.source(`s${n}`, all(1_000))
  // Everything arrives, nothing gets stored.
  for (let n = 0; n < 1_000; n++)
    for (let s = 0; s < 20; s++) {
      const index = on.asked(`s${s}`)[n]
      if (index !== undefined && on.download.state[index] === 1)
        on.step({ kind: 'piece', peer: `s${s}`, index, bytes: CHUNK })
    }
  t.is(on.download.writingBytes, 64 * KIB * KIB)
  t.is(on.download.asked, 0)
})

test('a source that owes and is silent is hung up on; nobody left is told in time', (t) => {
  const on = table(4)
  on.source('a', all(4))
  on.tick(SOURCE_SILENT_MS + 500)
  t.is(on.kinds().filter((kind) => kind === 'drop').length, 1)
  // It comes back and promises again: no reason to wait longer.
  on.source('a', all(4))
  on.tick(NO_SOURCE_MS - 100)
  t.false(on.kinds().includes('starved'))
  on.tick(NO_SOURCE_MS + 100)
  t.true(on.kinds().includes('starved'))
})

test('neighbours that download the same bring different chunks to the site, and all of them', (t) => {
  const asked = ['x', 'y', 'z'].map((self) => {
    const on = table(12, 1, self)
    for (const other of ['x', 'y', 'z'].filter((each) => each !== self)) {
      on.step({ kind: 'fellow', peer: other, begins: true })
      on.source(other, [], true)
    }
    on.source('far', all(12))
    for (let n = 0; n < on.asked('far').length; n++) on.piece('far', on.asked('far')[n] as number)
    return on.asked('far')
  })
  t.deepEqual(
    asked.flat().sort((a, b) => a - b),
    all(12),
  )
})

test('the part of a neighbour that goes, or brings nothing, is asked for here', (t) => {
  const gone = table(12, 1, 'x')
  gone.step({ kind: 'fellow', peer: 'y', begins: true })
  gone.source('y', [], true)
  gone.source('far', all(3))
  const before = gone.asked('far').length
  gone.step({ kind: 'lost', peer: 'y' })
  t.true(before < 3)
  t.is(gone.asked('far').length, 3)

  const idle = table(3, 1, 'x')
  idle.step({ kind: 'fellow', peer: 'y', begins: true })
  idle.source('y', [], true)
  idle.source('far', all(3))
  for (let n = 0; n < idle.asked('far').length; n++) idle.piece('far', idle.asked('far')[n] as number)
  idle.tick(1_200)
  t.is(new Set(idle.asked('far')).size, 3)
})
