import test from 'ava'
import { featureName } from '../../protocols/features.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { NOBODY } from '../../protocols/raft/configuration.ts'
import { envelopeCodec, newEnvelope } from '../../protocols/raft/envelope.ts'
import { Raising } from '../../node/raising.ts'
import { SimStore } from '../../simulator/store.ts'
import { beginOps, recover } from '../../storage/raft-log.ts'
import { recoverReason } from '../../storage/raft-salvage.ts'
import { GROUP, Groups, type Host, words } from './groups.ts'

/** A group whose hosts all run the version of before. */
function older(count: number): Groups {
  const groups = new Groups(1, count)
  for (const host of groups.hosts) install(host, 0)
  return groups
}

function install(host: Host, known: number): void {
  if (host.up) host.crash(false)
  host.known = known
  host.restart()
}

const led = (groups: Groups): Host => {
  if (!groups.until(() => groups.leader !== undefined)) throw new Error('no leader')
  return groups.leader as Host
}

function proposed(groups: Groups, word: string, mark?: string): Outcome<unknown> {
  let said: Outcome<unknown> | undefined
  led(groups).propose(word, (outcome) => (said = outcome), mark)
  if (!groups.until(() => said !== undefined)) throw new Error(`${word} was not answered`)
  return said as Outcome<unknown>
}

/** As node/agreement.ts looks, twice a second. */
function raised(groups: Groups): boolean {
  const raisings = groups.hosts.map(({ group, known }) => new Raising(group, known))
  for (let look = 0; look < 20 && groups.hosts.some(({ group }) => group.level === 0); look++) {
    for (const raising of raisings) raising.look()
    groups.run(500)
  }
  return groups.hosts.every(({ group }) => group.level === 1)
}

test('a level is raised when the last member knows it, and its commands are refused by name until then', (t) => {
  const groups = older(3)
  t.true(proposed(groups, 'heron').ok)
  for (const [at, host] of groups.hosts.entries()) {
    t.is(raised(groups), false, `${at} of 3 are new`)
    install(host, 1)
    const { leader } = groups
    led(groups)
    if (at !== 1 || leader?.known !== 1) continue
    t.like(proposed(groups, 'stilt', '!'), { failure: { code: 'FEATURE_OFF', feature: featureName(1) } })
  }
  t.true(raised(groups))
  t.true(proposed(groups, 'godwit', '!').ok)
  t.deepEqual(led(groups).words, ['heron', 'godwit!'])
})

test('a leader says who lacks a feature, and nothing enters its log', (t) => {
  const groups = older(3)
  const [old, ...others] = groups.hosts as [Host, ...Host[]]
  old.crash(false)
  for (const host of others) install(host, 1)
  const leader = led(groups)
  old.restart()
  // Opens a session.
  t.true(proposed(groups, 'stilt').ok)
  groups.run(1_000)
  const before = leader.group.status().lastIndex
  t.like(proposed(groups, 'heron', '!'), { failure: { code: 'FEATURE_OFF', lacking: [old.id] } })
  t.is(leader.group.status().lastIndex, before)
})

test('rolled back before the level was raised nothing is lost; after it the group is halted there, and goes on with the newer version', (t) => {
  const groups = older(3)
  t.true(proposed(groups, 'heron').ok)
  for (const host of groups.hosts.slice(0, 2)) install(host, 1)
  t.true(proposed(groups, 'stilt').ok)
  for (const host of groups.hosts) install(host, 0)
  t.true(proposed(groups, 'avocet').ok)
  t.deepEqual(led(groups).words, ['heron', 'stilt', 'avocet'])

  for (const host of groups.hosts) install(host, 1)
  t.true(raised(groups))
  t.true(proposed(groups, 'godwit', '!').ok)
  const [back] = groups.hosts.filter((host) => host !== groups.leader) as [Host]
  install(back, 0)
  t.true(groups.until(() => back.group.halted === 1))
  t.is(back.halts, 1)
  t.deepEqual(back.words, ['heron', 'stilt', 'avocet'], 'it applied everything before the entry')
  const { appliedIndex } = back.group

  // Two of three store what is agreed on, and the halted one is one of the two.
  const other = groups.hosts.find((host) => host !== back && host !== groups.leader) as Host
  other.crash(false)
  t.true(proposed(groups, 'curlew').ok)
  t.is(back.group.appliedIndex, appliedIndex, 'nothing is passed over')
  groups.run(5_000)
  t.not(back.group.role, 'leader')
  t.is(recoverReason(back.store, GROUP), undefined, 'nothing was put aside')

  install(back, 1)
  t.true(groups.until(() => back.words.length === 5))
  t.deepEqual(back.words, ['heron', 'stilt', 'avocet', 'godwit!', 'curlew'])
  t.is(back.group.halted, undefined)
})

test('an older version on a state that it does not know is halted from the start, and leaves the log as it is', (t) => {
  const groups = older(1)
  const [host] = groups.hosts as [Host]
  const { member } = host.group
  const data = envelopeCodec(words).encode({ ...newEnvelope({ words: ['heron'] }), level: 1 })
  const ops = beginOps(
    GROUP,
    { member, generation: 0 },
    {
      hardState: { term: 3, vote: member, commit: 6 },
      snapshot: { index: 5, term: 3, configuration: { ...NOBODY, voters: [member] }, data },
      entries: [{ index: 6, term: 3, kind: 'normal', data: new Uint8Array() }],
    },
  )
  const found = new Map(ops.flatMap((op) => (op.kind === 'put' ? [[op.key, op.value] as const] : [])))
  host.crash(false)
  host.restart(new SimStore(groups.world, host.id, found))
  groups.run(10_000)
  t.is(host.group.halted, 1)
  t.is(host.halts, 1)
  t.is(host.group.opened.how, 'found')
  t.is(host.group.role, 'follower', 'it does not lead, though it decides alone')
  t.deepEqual([host.words, host.group.appliedIndex], [[], 0], 'as a newcomer that knows nothing yet')
  t.deepEqual(recover(host.store, GROUP)?.snapshot.data, data)

  install(host, 1)
  t.true(groups.until(() => host.group.role === 'leader'))
  t.deepEqual(host.words, ['heron'])
  t.is(host.group.level, 1)
})
