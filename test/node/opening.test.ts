/** What becomes of a damaged log, for every record of it: put aside, rebuilt, and never the same member with less than it promised. */
import { fc, testProp } from '@fast-check/ava'
import test, { type ExecutionContext } from 'ava'
import { nextGeneration } from '../../protocols/epoch.ts'
import { envelopeCodec, newEnvelope } from '../../protocols/raft/envelope.ts'
import { membersOf, NOBODY } from '../../protocols/raft/configuration.ts'
import { memberOf, peerOf } from '../../protocols/raft/member.ts'
import { random } from '../../simulator/random.ts'
import { SimStore } from '../../simulator/store.ts'
import { beginOps, recover, recoverOwner, recoverState, recoverTail } from '../../storage/raft-log.ts'
import { asideView, remainsOf } from '../../storage/raft-salvage.ts'
import { GROUP, Groups, type Host, peer, words as wordsMachine } from './groups.ts'

type Pairs = Map<string, Uint8Array>

const founded = (seed: number, count: number): Groups => {
  const groups = new Groups(seed, count)
  if (!groups.until(() => groups.leader !== undefined)) throw new Error(`seed ${seed}: no leader`)
  return groups
}

function write(groups: Groups, host: Host, all: readonly string[]): void {
  let answered = 0
  for (const word of all) host.propose(word, ({ ok }) => (answered += Number(ok)))
  if (!groups.until(() => answered === all.length)) throw new Error(`only ${answered} answered`)
}

/** Stops the host, changes what is on its disk, and starts it again. */
function meddle(host: Host, change: (pairs: Pairs) => void): void {
  host.crash(false)
  const pairs = new Map(host.store.on.reopen().whatACrashLeaves().recovered(''))
  change(pairs)
  host.restart(new SimStore(host.groups.world, host.id, pairs))
}

const flip =
  (key: string, place = 0, change = 1) =>
  (pairs: Pairs): void => {
    const value = Uint8Array.from(pairs.get(key) ?? [])
    value[place % value.length] = (value[place % value.length] ?? 0) ^ change
    pairs.set(key, value)
  }

const logKeys = (host: Host): string[] =>
  ['raft/member/', 'raft/state/', 'raft/tail/', 'raft/entry/', 'raft/snapshot/'].flatMap((prefix) =>
    host.store.on
      .whatACrashLeaves()
      .recovered(prefix)
      .map(([key]) => key),
  )
const asides = (host: Host): string[] =>
  host.store.on
    .whatACrashLeaves()
    .recovered(`quarantine/${GROUP}/`)
    .map(([key]) => key)

const WORDS = Array.from({ length: 12 }, (_, n) => `word-${n}`)

/** A group of one with all of WORDS, a copy of its state behind the first `copied`, and everything on disk. */
function alone(seed: number, copied: number): { groups: Groups; host: Host } {
  const groups = founded(seed, 1)
  const [host] = groups.hosts as [Host]
  if (copied > 0) {
    write(groups, host, WORDS.slice(0, copied))
    groups.run(6_000)
  }
  write(groups, host, WORDS.slice(copied))
  return { groups, host }
}

testProp(
  'a group of one comes back whole, whatever bit of whatever record of its log is turned, when the copy is new',
  [fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, which, place, change) => {
    const { groups, host } = alone(1, WORDS.length)
    const keys = logKeys(host)
    const { member } = host.group
    meddle(host, flip(keys[which % keys.length] as string, place, change))
    t.is(host.group.opened.how, 'rebuilt')
    t.is(host.group.member, member)
    t.true(groups.until(() => groups.leader === host && host.words.length === WORDS.length))
    t.deepEqual(host.words, WORDS)
    write(groups, host, ['more'])
    t.deepEqual(host.words, [...WORDS, 'more'])
    t.true(asides(host).length >= keys.length)
    meddle(host, () => {})
    t.is(host.group.opened.how, 'found')
    t.truthy(host.group.opened.reason)
  },
  { numRuns: 60 },
)

testProp(
  'a group of one loses nothing when what is damaged is behind no entry, however old the copy',
  [fc.constantFrom('member', 'state', 'tail', 'snapshot'), fc.nat(), fc.integer({ min: 1, max: 255 })],
  (t, space, place, change) => {
    const { groups, host } = alone(2, 4)
    meddle(host, flip(`raft/${space}/${GROUP}`, place, change))
    t.is(host.group.opened.how, 'rebuilt')
    t.true(groups.until(() => host.words.length === WORDS.length))
    t.deepEqual(host.words, WORDS)
  },
  { numRuns: 30 },
)

const entryKey = (index: number): string => `raft/entry/${GROUP}/${String(index).padStart(16, '0')}`
const lastOf = (host: Host): number => host.group.status().lastIndex

const losses: [what: string, damage: (last: number) => (pairs: Pairs) => void, left: number][] = [
  ['an entry behind the copy is turned', (last) => flip(entryKey(last - 3)), WORDS.length - 4],
  [
    'an entry behind the copy is missing',
    (last) => (pairs) => void pairs.delete(entryKey(last - 3)),
    WORDS.length - 4,
  ],
  [
    'the end is cut off',
    (last) => (pairs) => [0, 1].forEach((n) => pairs.delete(entryKey(last - n))),
    WORDS.length - 2,
  ],
]
for (const [what, damage, left] of losses) {
  test(`entries are lost (${what}): without its host's word a group of one is put aside`, (t) => {
    const { groups, host } = alone(3, 4)
    const { member } = host.group
    meddle(host, damage(lastOf(host)))
    t.is(host.group.opened.how, 'quarantined')
    t.regex(
      host.group.opened.why,
      /decided alone, and its newest entries are lost: godwit raft recover --group mesh/,
    )
    t.not(host.group.member, member)
    groups.run(60_000)
    t.is(groups.leader, undefined, 'an empty member campaigns')
    t.deepEqual(host.words, [])
    t.true(
      asides(host).includes(`quarantine/${GROUP}/raft/copy/${GROUP}`),
      'the copy is kept for raft recover',
    )
  })

  test(`entries are lost (${what}): what its host makes of it is a new generation`, (t) => {
    const { groups, host } = alone(4, 4)
    const { member } = host.group
    const last = lastOf(host)
    host.mend = (state) => ({ words: [...state.words, 'mended'] })
    meddle(host, damage(last))
    t.is(host.group.opened.how, 'rebuilt')
    t.not(host.group.member, member)
    t.true(groups.until(() => groups.leader === host))
    t.deepEqual(host.words, [...WORDS.slice(0, left), 'mended'])
    t.true(host.group.appliedIndex > last + 1_000_000)
    write(groups, host, ['more'])
    meddle(host, () => {})
    t.is(host.group.opened.how, 'found')
    t.true(groups.until(() => host.words.at(-1) === 'more'))
    t.true((recoverOwner(host.store, GROUP)?.generation ?? 0) > 0)
  })
}

test('a missing snapshot, vote or owner is damage like any other', (t) => {
  for (const space of ['snapshot', 'state', 'member', 'tail']) {
    const { groups, host } = alone(14, WORDS.length)
    meddle(host, (pairs) => void pairs.delete(`raft/${space}/${GROUP}`))
    t.is(host.group.opened.how, 'rebuilt', space)
    t.true(groups.until(() => host.words.length === WORDS.length))
  }
})

test('a log without its copy is taken for one of several', (t) => {
  const { groups, host } = alone(5, WORDS.length)
  host.mend = (state) => state
  meddle(host, (pairs) => {
    pairs.delete(`raft/copy/${GROUP}`)
    flip(`raft/state/${GROUP}`)(pairs)
  })
  t.is(host.group.opened.how, 'quarantined')
  groups.run(30_000)
  t.is(groups.leader, undefined)
})

test('a damaged copy of a sound log is nobody’s concern', (t) => {
  const { groups, host } = alone(6, WORDS.length)
  meddle(host, flip(`raft/copy/${GROUP}`, 9))
  t.is(host.group.opened.how, 'found')
  t.true(groups.until(() => host.words.length === WORDS.length))
})

/** One of three is damaged, in every kind of record. */
for (const space of ['member', 'state', 'tail', 'snapshot', 'entry'] as const) {
  test(`disk/bitflip-minority: ${space}: a member of several comes back as another, empty, and the others go on`, (t) => {
    const groups = founded(7, 3)
    const leader = groups.leader as Host
    write(groups, leader, WORDS)
    groups.run(1_000)
    const host = groups.hosts.find((each) => each !== groups.leader) as Host
    const before = host.group.member
    meddle(host, flip(space === 'entry' ? entryKey(5) : `raft/${space}/${GROUP}`, 6))
    t.is(host.group.opened.how, 'quarantined')
    t.not(host.group.member, before)
    t.is(peerOf(host.group.member), host.id)
    const said: string[] = []
    groups.watch = (from, message) => from === host && said.push(message.kind)
    const other = groups.leader as Host
    write(groups, other, ['more'])
    groups.run(30_000)
    t.false(
      said.some((kind) => /Vote$|PreVote$/.test(kind)),
      'it campaigns',
    )
    t.false(
      said.some((kind) => kind === 'MsgVoteResp'),
      'it votes',
    )
    t.deepEqual(host.words, [])
    brought(t, groups, host)
  })
}

/** The leader brings the new member in as a learner, and it learns everything. */
function brought(t: ExecutionContext, groups: Groups, host: Host): void {
  const leader = groups.leader as Host
  let done = false
  const changes = [{ kind: 'add-learner-node' as const, peer: host.group.member }]
  leader.group.change({ transition: 'auto', changes }, ({ ok }) => (done = ok))
  t.true(groups.until(() => done && host.words.length === leader.words.length))
  t.deepEqual(host.words, leader.words)
  t.true(membersOf(host.group.status().configuration).includes(host.group.member))
  meddle(host, () => {})
  t.is(host.group.opened.how, 'found')
  t.true(groups.until(() => host.words.length === leader.words.length))
}

test('the newest quarantine takes the place of the one before', (t) => {
  const { groups, host } = alone(8, WORDS.length)
  meddle(host, flip(`raft/state/${GROUP}`))
  groups.until(() => groups.leader === host)
  const first = asides(host)
  meddle(host, flip(`raft/tail/${GROUP}`))
  groups.until(() => groups.leader === host)
  t.true(asides(host).length <= first.length + 4)
  t.is(asides(host).filter((key) => key.endsWith('/why')).length, 1)
})

test('nothing of what was put aside is on disk without what takes its place: a crash at any moment', (t) => {
  for (let seed = 1; seed <= 15; seed++) {
    const { groups, host } = alone(9, WORDS.length)
    const dice = random(seed, 'crash')
    meddle(host, flip(entryKey(3)))
    groups.run(dice.below(4_000))
    host.crash()
    host.restart()
    t.true(['rebuilt', 'found'].includes(host.group.opened.how), host.group.opened.how)
    t.true(
      groups.until(() => host.words.length === WORDS.length),
      `seed ${seed}`,
    )
    t.deepEqual(host.words, WORDS)
  }
})

test('the copy goes with the write of any change of configuration, and comes again when it is applied', (t) => {
  const { groups, host } = alone(10, WORDS.length)
  groups.run(6_000)
  write(groups, host, ['on disk with what came before'])
  t.truthy(remainsOf(host.store.on.whatACrashLeaves(), GROUP))
  const changes = [{ kind: 'add-learner-node' as const, peer: `${peer(2)}#b` }]
  host.group.change({ transition: 'auto', changes }, () => {})
  t.true(groups.until(() => host.store.batches.some((batch) => batch.some(({ kind }) => kind === 'del'))))
  const batch = host.store.batches.find((each) =>
    each.some((op) => op.kind === 'del' && op.key === `raft/copy/${GROUP}`),
  )
  t.true(batch?.some((op) => op.kind === 'put' && op.key.startsWith('raft/entry/')))
})

test('a new log is made of one batch: owner, vote, end and genesis', (t) => {
  const groups = founded(11, 1)
  const [host] = groups.hosts as [Host]
  groups.run(1_000)
  const disk = host.store.on.whatACrashLeaves()
  t.truthy(recover(disk, GROUP))
  t.is(recoverTail(disk, GROUP)?.index, host.group.status().lastIndex)
  t.is(recoverState(disk, GROUP)?.term, host.group.status().term)
})

test('a group that began anew elsewhere: its log here is put aside at once, and the peer is another member', (t) => {
  const groups = founded(12, 3)
  write(groups, groups.leader as Host, WORDS)
  groups.run(1_000)
  const [first, ...others] = groups.hosts as [Host, ...Host[]]
  for (const host of groups.hosts) host.crash(false)
  // `raft recover` on the first: a generation in which it votes alone.
  const member = memberOf(first.id, 'recovered')
  const generation = nextGeneration(0, () => 0.5)
  const was = recover(first.store.on.whatACrashLeaves(), GROUP)
  const last = was?.entries.at(-1)?.index ?? 0
  const pairs: Pairs = new Map()
  const data = envelopeCodec(wordsMachine).encode({ ...newEnvelope({ words: [...WORDS] }), clockMs: 1 })
  const recovered = {
    hardState: { term: 9, vote: '', commit: last },
    snapshot: { index: last, term: 9, configuration: { ...NOBODY, voters: [member] }, data },
    entries: [],
  }
  for (const op of beginOps(GROUP, { member, generation }, recovered))
    if (op.kind === 'put') pairs.set(op.key, op.value)
  first.restart(new SimStore(groups.world, first.id, pairs))
  for (const host of others) host.restart()
  const before = others.map(({ group }) => group.member)
  t.true(groups.until(() => groups.leader === first))
  write(groups, first, ['of the new generation'])

  for (const [at, host] of others.entries()) {
    // The leader asks the peer who it is, as Electing does: first it hears of the old member.
    learner(groups, first, before[at] as string)
    t.true(groups.until(() => host.group.member !== before[at]))
    t.is(host.group.opened.how, 'quarantined')
    t.regex(host.group.opened.why, /began generation 1-8000 without it/)
    t.deepEqual(host.words, [])
    learner(groups, first, host.group.member)
    t.true(groups.until(() => host.words.length === first.words.length))
    t.deepEqual(
      recover(asideView(host.store.on.whatACrashLeaves(), GROUP), GROUP)?.entries.at(-1)?.index,
      last,
    )
    const now = host.group.member
    meddle(host, () => {})
    t.is(host.group.opened.how, 'found')
    t.is(host.group.member, now)
    t.true(groups.until(() => host.words.length === first.words.length))
  }
  t.deepEqual(first.words, [...WORDS, 'of the new generation'])
})

function learner(groups: Groups, leader: Host, member: string): void {
  let done = false
  const changes = [{ kind: 'add-learner-node' as const, peer: member }]
  leader.group.change({ transition: 'auto', changes }, ({ ok }) => (done = ok))
  if (!groups.until(() => done)) throw new Error(`${member} is no learner`)
}

test('agreed timing is in force on every member, in the next life too', (t) => {
  const groups = founded(13, 3)
  const leader = groups.leader as Host
  const timing = { heartbeatTicks: 7, electionTicks: 31 }
  let agreed = false
  leader.group.submit({ kind: 'timing', timing }, ({ ok }) => (agreed = ok))
  t.true(groups.until(() => agreed && groups.hosts.every(({ group }) => group.timing?.electionTicks === 31)))
  for (const host of groups.hosts) {
    host.crash()
    host.restart()
  }
  t.true(groups.until(() => groups.hosts.every(({ group }) => group.timing?.heartbeatTicks === 7)))
})
