import test from 'ava'
import { startSuperSeeding } from '../../../migration/swarm/receivers.ts'
import { type Event, step } from '../../../migration/swarm/super-seeding.ts'
import { PICK_MS } from '../../../protocols/limits.ts'
import { random } from '../../../simulator/random.ts'

/** A source of `chunks` chunks, its clock, and what it has shown to whom so far. */
function table(chunks: number, seed = 1) {
  const seeding = startSuperSeeding(
    { chunks, chunkBytes: 256 * 1024 },
    all(chunks),
    random(seed, 'seeding'),
    0,
  )
  const shown = new Map<number, number[]>()
  const on = {
    nowMs: 0,
    seeding,
    shown: (key: number): number[] => shown.get(key) ?? [],
    step(event: Event): void {
      for (const effect of step(seeding, event, on.nowMs))
        shown.set(effect.key, [...on.shown(effect.key), ...effect.indexes])
    },
    /** They join, and a round trip later say what they hold. */
    join(
      keys: readonly number[],
      held: readonly (readonly number[])[] = [],
      sites: readonly string[] = [],
    ): void {
      keys.forEach((key, at) => on.step({ kind: 'receiver', key, site: sites[at] }))
      keys.forEach((key, at) => on.tell(key, held[at] ?? []))
    },
    tell(key: number, held: readonly number[]): void {
      const bits = new Uint8Array(Math.ceil(chunks / 8))
      for (const index of held) bits[index >> 3] = (bits[index >> 3] as number) | (0x80 >> (index & 7))
      on.step({ kind: 'needs-not', key, from: 0, count: chunks, bits, last: true })
    },
    gain(key: number, ...indexes: number[]): void {
      on.step({ kind: 'gained', key, indexes })
    },
    /** Time passes in beats; `each` happens before each. */
    run(toMs: number, each: () => void = () => {}): void {
      while (on.nowMs < toMs) {
        on.nowMs += PICK_MS
        each()
        on.step({ kind: 'tick' })
      }
    },
  }
  return on
}

const all = (chunks: number): number[] => Array.from({ length: chunks }, (_, index) => index)

/** Everyone gains what is shown to it, one chunk a beat, and what the others hold, two chunks a beat. */
function flows(on: ReturnType<typeof table>, keys: readonly number[]): () => void {
  const has = new Map(keys.map((key) => [key, new Set<number>()]))
  return () => {
    for (const key of keys) {
      const mine = has.get(key) as Set<number>
      const fromSource = on.shown(key).find((index) => !mine.has(index))
      const fromOthers = keys.flatMap((other) => [...(has.get(other) as Set<number>)])
      const gains = [fromSource ?? -1, ...fromOthers.filter((index) => !mine.has(index)).slice(0, 2)]
      const news = new Set(gains.filter((index) => index >= 0))
      for (const index of news) mine.add(index)
      if (news.size > 0) on.gain(key, ...news)
    }
  }
}

test('one that is alone is shown as much again as it gained, up to what it gains in a second', (t) => {
  const on = table(2_000)
  on.step({ kind: 'receiver', key: 1, site: undefined })
  t.is(on.shown(1).length, 4)
  on.tell(1, [])
  t.is(on.shown(1).length, 32)
  for (const [shown, atMs] of [
    [64, 100],
    [128, 200],
    [256, 300],
  ] as const) {
    on.gain(1, ...on.shown(1))
    t.is(on.shown(1).length, shown)
    on.run(atMs)
  }
  // 64 chunks in a beat of 50 ms are 1,280 a second; the most is REQUESTS_PER_SOURCE_MAX.
  on.run(3_000, () => on.gain(1, ...on.shown(1).slice(-64)))
  const open = on.seeding.receivers.get(1)?.open.size ?? 0
  t.true(open > 100 && open <= 512, String(open))
})

test('what one that was alone has asked for is not shown to the next, what it has not asked for is', (t) => {
  const on = table(20)
  on.join([1])
  t.is(on.shown(1).length, 20)
  const asked = on.shown(1).slice(0, 15)
  on.step({ kind: 'wanted', key: 1, indexes: asked })
  on.join([2])
  on.run(100, () => on.gain(2, ...on.shown(2)))
  t.deepEqual(
    on.shown(2).sort((a, b) => a - b),
    on
      .shown(1)
      .slice(15)
      .sort((a, b) => a - b),
  )
})

test('what is left of two is alone again', (t) => {
  const on = table(50)
  on.join([1, 2])
  on.step({ kind: 'gone', key: 1 })
  t.true(on.shown(2).length >= 32, String(on.shown(2).length))
})

test('each chunk is shown once while they pass it on', (t) => {
  const on = table(200)
  const keys = [1, 2, 3]
  on.join(keys)
  on.run(20_000, flows(on, keys))
  const shown = keys.flatMap((key) => on.shown(key))
  t.is(new Set(shown).size, 200)
  t.true(shown.length <= 200 * 1.03, String(shown.length))
})

test('the quick one is shown more', (t) => {
  const on = table(1_000)
  on.join([1, 2])
  let beats = 0
  on.run(5_000, () => {
    const open = (key: number): number | undefined =>
      [...(on.seeding.receivers.get(key)?.open.keys() ?? [])][0]
    on.gain(1, ...[open(1)].filter((index) => index !== undefined))
    if (++beats % 4 === 0) on.gain(2, ...[open(2)].filter((index) => index !== undefined))
  })
  t.true(on.shown(1).length > 3 * on.shown(2).length, `${on.shown(1).length} and ${on.shown(2).length}`)
})

test('what somebody held before is not shown while anything else is fresh', (t) => {
  const on = table(20)
  on.join([1, 2], [all(10)])
  // What was shown before they said what they hold is not counted.
  const early = on.shown(2).length
  on.run(100, () => on.gain(2, ...on.shown(2)))
  const later = on.shown(2).slice(early)
  t.true(later.length > 0 && later.every((index) => index >= 10), later.join())
})

test('a receiver that leaves: what only it had is shown to another at once', (t) => {
  const on = table(6)
  on.join([1, 2, 3])
  const gone = on.shown(1)
  t.true(gone.length >= 2)
  on.gain(1, gone[0] as number)
  on.gain(2, ...on.shown(2))
  on.gain(3, ...on.shown(3))
  on.step({ kind: 'gone', key: 1 })
  for (const index of gone) t.true([...on.shown(2), ...on.shown(3)].includes(index))
})

test('one that leaves whole took nothing with it', (t) => {
  const on = table(6)
  on.join([1, 2, 3])
  on.gain(1, ...all(6))
  const before = on.shown(2).length + on.shown(3).length
  on.step({ kind: 'gone', key: 1 })
  t.is(on.shown(2).length + on.shown(3).length, before)
})

test('a receiver that dies without a word: what it was shown is shown to another within 300 ms', (t) => {
  const on = table(300)
  const keys = [1, 2, 3]
  on.join(keys)
  on.run(2_000, flows(on, keys))
  const dead = [...(on.seeding.receivers.get(1)?.open.keys() ?? [])]
  t.true(dead.length > 0)
  // Nothing else is fresh: the others have all there is.
  const rest = all(300).filter((index) => !dead.includes(index))
  on.gain(2, ...rest)
  on.gain(3, ...rest)
  const diedMs = on.nowMs
  on.run(diedMs + 300, () => {
    for (const key of [2, 3]) on.step({ kind: 'wanted', key, indexes: [] })
  })
  for (const index of dead) t.true([...on.shown(2), ...on.shown(3)].includes(index), String(index))
})

test('it speaks again: it is counted on again, and shown more', (t) => {
  const on = table(100)
  on.join([1, 2])
  on.gain(1, ...on.shown(1))
  const before = on.shown(1).length
  on.run(5_000, () => on.gain(2, ...on.shown(2)))
  t.true(on.seeding.receivers.get(1)?.silent)
  on.gain(1, on.shown(1).at(-1) as number)
  t.false(on.seeding.receivers.get(1)?.silent)
  t.true(on.shown(1).length >= before)
})

test('those who are together too slow are helped, rarest first, also when all was shown once', (t) => {
  const on = table(40)
  on.join([1, 2])
  // Each gains only what the source shows it.
  on.run(20_000, () => {
    for (const key of [1, 2]) {
      const open = [...(on.seeding.receivers.get(key)?.open.keys() ?? [])][0]
      if (open !== undefined) on.gain(key, open)
    }
  })
  for (const key of [1, 2]) t.is(on.seeding.receivers.get(key)?.missing, 0)
})

test('a site is shown a chunk once: its neighbours bring it to each other', (t) => {
  const on = table(60)
  on.join([1, 2, 3, 4], [], ['hill', 'hill', 'quay', 'quay'])
  on.run(10_000, flows(on, [1, 2, 3, 4]))
  for (const pair of [
    [1, 2],
    [3, 4],
  ]) {
    const shown = pair.flatMap((key) => on.shown(key))
    t.is(new Set(shown).size, shown.length)
  }
})

test('what is not here after all is not shown again, and holds up nobody', (t) => {
  const on = table(4)
  on.join([1, 2])
  const [lost] = on.shown(1) as [number]
  on.step({ kind: 'lost', index: lost })
  const rest = all(4).filter((index) => index !== lost)
  on.gain(1, ...rest)
  on.gain(2, ...rest)
  const before = on.shown(2).length
  on.run(3_000)
  t.is(on.shown(2).length, before)
  t.is(on.seeding.open[lost], 0)
})
