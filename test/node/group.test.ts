import test from 'ava'
import { STUCK_WRITE_MS } from '../../protocols/limits.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { random } from '../../simulator/random.ts'
import { recover } from '../../storage/raft-log.ts'
import type { Op } from '../../storage/store.ts'
import { Groups, type Host, GROUP } from './groups.ts'

const founded = (seed: number, count: number): Groups => {
  const groups = new Groups(seed, count)
  if (!groups.until(() => groups.leader !== undefined)) throw new Error(`seed ${seed}: no leader`)
  return groups
}
const leaderOf = (groups: Groups): Host => {
  if (!groups.until(() => groups.leader !== undefined)) throw new Error('no leader')
  return groups.leader as Host
}

test('256 proposals at once share a few writes', (t) => {
  const groups = founded(1, 1)
  const leader = leaderOf(groups)
  let answered = 0
  leader.propose('opens the session', () => answered++)
  groups.until(() => answered === 1)
  const before = leader.store.batches.length
  for (let n = 0; n < 256; n++) leader.propose(`word-${n}`, ({ ok }) => (answered += Number(ok)))
  t.true(groups.until(() => answered === 257))
  const writes = leader.store.batches.length - before
  t.log(`${writes} writes`)
  t.true(writes <= 4, `${writes} writes`)
  t.is(leader.words.length, 257)
})

type Ending = { readonly by: string; readonly outcome: Outcome<unknown> }

/** A minute of proposals in a bad world, then peace; what was said of each word, and how often a leader was lost. */
function hostile(seed: number): {
  groups: Groups
  endings: Map<string, Ending>
  asked: number
  leaders: number
} {
  const groups = founded(seed, 3)
  const dice = random(seed, 'hostile')
  const endings = new Map<string, Ending>()
  let asked = 0
  let leaders = 0
  const { world } = groups
  groups.loss = 0.05
  const propose = (): void => {
    if (world.nowMs > 60_000) return
    const by = dice.pick(groups.hosts)
    const life = by.lives
    if (by.up) {
      const word = `word-${asked++}`
      by.propose(word, (outcome) => {
        if (endings.has(word)) throw new Error(`${word} was answered twice`)
        if (by.lives === life) endings.set(word, { by: by.id, outcome })
      })
    }
    world.after(dice.below(60), propose)
  }
  const strike = (): void => {
    if (world.nowMs > 60_000) return
    const host = dice.chance(0.7) ? (groups.leader ?? dice.pick(groups.hosts)) : dice.pick(groups.hosts)
    if (host === groups.leader) leaders++
    if (dice.chance(0.5)) {
      groups.cut.add(host.id)
      world.after(1_000 + dice.below(4_000), () => groups.cut.delete(host.id))
    } else {
      host.crash(dice.chance(0.5))
      world.after(500 + dice.below(3_000), () => host.restart())
    }
    world.after(4_000 + dice.below(6_000), strike)
  }
  world.after(0, propose)
  world.after(2_000, strike)
  groups.run(66_000)
  groups.loss = 0
  groups.cut.clear()
  for (const host of groups.hosts) host.restart()
  groups.run(20_000)
  return { groups, endings, asked, leaders }
}

test('client/retry-across-leader-change: no command is done twice, and its real answer comes back', (t) => {
  const seen = { ok: 0, unknown: 0, refused: 0, leaders: 0, doneThoughUnknown: 0 }
  for (let seed = 1; seed <= 4; seed++) {
    const { groups, endings, leaders } = hostile(seed)
    seen.leaders += leaders
    const [first, ...others] = groups.hosts.map(({ words: all }) => all)
    for (const other of others) t.deepEqual(other, first, `seed ${seed}: hosts disagree`)
    const all = first ?? []
    t.is(new Set(all).size, all.length, `seed ${seed}: done twice`)
    for (const [word, { outcome }] of endings) {
      const place = all.indexOf(word)
      if (outcome.ok) {
        seen.ok++
        t.is(outcome.value, place + 1, `seed ${seed}: ${word} was answered wrongly`)
      } else if (outcome.failure.code === 'OUTCOME_UNKNOWN') {
        seen.unknown++
        seen.doneThoughUnknown += Number(place >= 0)
      } else {
        seen.refused++
        t.is(place, -1, `seed ${seed}: ${word} was refused (${outcome.failure.code}) and is done`)
      }
    }
  }
  t.log(seen)
  // A run that met none of this proves nothing.
  t.true(seen.ok > 3_000 && seen.leaders > 20 && seen.refused > 0 && seen.doneThoughUnknown > 0)
})

test('no vote and no acknowledgement leaves before it is on disk', (t) => {
  let promises = 0
  for (let seed = 1; seed <= 3; seed++) {
    const groups = founded(seed, 3)
    groups.watch = (from, message) => {
      const isPromise =
        ((message.kind === 'MsgAppResp' || message.kind === 'MsgVoteResp') && !message.reject) ||
        message.kind === 'MsgVote'
      if (!isPromise) return
      // The power goes at this very moment: what would be found?
      const disk = recover(from.store.on.whatACrashLeaves(), GROUP)
      promises++
      if (message.kind === 'MsgAppResp') {
        const last = disk?.entries.at(-1)?.index ?? disk?.snapshot.index ?? 0
        t.true(last >= message.index || (disk?.hardState.term ?? 0) >= message.term, JSON.stringify(message))
        t.true(last >= message.index || message.index === 0)
      } else {
        const { term = 0, vote = '' } = disk?.hardState ?? {}
        const to = message.kind === 'MsgVote' ? message.from : message.to
        t.true(term > message.term || (term === message.term && vote === to), JSON.stringify(message))
      }
    }
    const dice = random(seed, 'strikes')
    for (let n = 0; n < 200; n++) {
      groups.hosts.find(({ up }) => up)?.propose(`word-${n}`, () => {})
      groups.run(dice.below(50))
      if (n % 40 === 20) {
        const { leader } = groups
        leader?.crash()
        groups.run(3_000)
        leader?.restart()
      }
    }
  }
  t.true(promises > 500, String(promises))
})

test('a snapshot, its index and what it replaces are one batch', (t) => {
  const groups = founded(1, 1)
  const leader = leaderOf(groups)
  const isSnapshot = (op: Op): boolean => op.kind === 'put' && op.key.startsWith('raft/snapshot/')
  let [asked, answered] = [0, 0]
  const snapshots = (): (readonly Op[])[] => leader.store.batches.filter((batch) => batch.some(isSnapshot))
  const before = snapshots().length
  while (snapshots().length === before && asked < 20_000) {
    for (let n = 0; n < 500; n++) leader.propose(`word-${asked++}`, ({ ok }) => (answered += Number(ok)))
    groups.until(() => answered === asked)
  }
  t.is(answered, asked)
  const batch = snapshots().at(-1) ?? []
  t.true(batch.some(({ kind }) => kind === 'clear'))
  leader.crash()
  leader.restart()
  t.true(groups.until(() => leader.words.length === asked))
})

test('crash between any two writes: what was answered is there, in order, and nothing else', (t) => {
  for (let seed = 1; seed <= 20; seed++) {
    const groups = founded(seed, 1)
    const [host] = groups.hosts as [Host]
    const dice = random(seed, 'crashes')
    const answered: string[] = []
    let asked = 0
    for (let life = 0; life < 8; life++) {
      t.true(groups.until(() => groups.leader !== undefined))
      const crashMs = groups.world.nowMs + dice.below(40)
      while (groups.world.nowMs < crashMs) {
        const word = `word-${asked++}`
        host.propose(word, ({ ok }) => ok && answered.push(word))
        groups.run(dice.below(4))
      }
      host.crash()
      host.restart()
    }
    t.true(groups.until(() => groups.leader !== undefined))
    groups.run(1_000)
    t.deepEqual(
      answered.filter((word) => !host.words.includes(word)),
      [],
      `seed ${seed}`,
    )
    t.is(new Set(host.words).size, host.words.length)
  }
})

for (const failure of [
  { code: 'DISK_FULL', path: '/data' },
  { code: 'IO', path: '/data', why: 'i/o error' },
] as const) {
  test(`disk/enospc-one, EIO: ${failure.code}: who waits is told, and what was in the log is carried out later`, (t) => {
    const groups = founded(1, 1)
    const leader = leaderOf(groups)
    const told: Outcome<unknown>[] = []
    leader.propose('first', (outcome) => told.push(outcome))
    groups.until(() => told.length === 1)
    leader.store.on.fail = failure
    leader.propose('in the log', (outcome) => told.push(outcome))
    t.true(groups.until(() => told.length === 2))
    t.like(told[1], { ok: false, failure: { code: failure.code, pending: true } })
    leader.propose('refused', (outcome) => told.push(outcome))
    t.true(groups.until(() => told.length === 3))
    t.deepEqual(told[2], { ok: false, failure })
    leader.store.on.fail = undefined
    t.true(groups.until(() => leader.words.length === 2))
    leader.propose('last', (outcome) => told.push(outcome))
    t.true(groups.until(() => told.length === 4))
    t.deepEqual(leader.words, ['first', 'in the log', 'last'])
    t.deepEqual(leader.turns, [failure.code, undefined], 'said once, however often it was tried')
  })
}

for (const [how, begin, end] of [
  ['hangs', (host: Host) => (host.store.hangs = true), (host: Host) => host.store.resume()],
  ['is full', (host: Host) => (host.store.on.full = true), (host: Host) => (host.store.on.full = false)],
] as const) {
  test(`a leader whose disk ${how} hands over, and follows once it can write`, (t) => {
    const groups = founded(1, 3)
    const first = leaderOf(groups)
    const told: Outcome<unknown>[] = []
    first.propose('before', (outcome) => told.push(outcome))
    groups.until(() => told.length === 1)
    begin(first)
    const startMs = groups.world.nowMs
    first.propose('meanwhile', (outcome) => told.push(outcome))
    t.true(groups.until(() => groups.leader !== undefined && groups.leader !== first))
    t.true(groups.world.nowMs - startMs < STUCK_WRITE_MS + 3_000, `${groups.world.nowMs - startMs} ms`)
    const other = leaderOf(groups)
    other.propose('after', (outcome) => told.push(outcome))
    t.true(groups.until(() => other.words.includes('after')))
    end(first)
    t.true(groups.until(() => first.words.includes('after')))
    t.is(new Set(first.words).size, first.words.length)
    t.not(groups.leader, first)
  })
}
