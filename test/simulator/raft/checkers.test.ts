/** Each checker of tier A fails on a violation that is planted for it, and not on what is as it should be. */
import test from 'ava'
import { genesis } from '../../../protocols/raft/genesis.ts'
import { envelopeCommand } from '../../../protocols/raft/envelope.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { create, type Raft } from '../../../protocols/raft/raft.ts'
import type { Entry } from '../../../protocols/raft/types.ts'
import { broken, type Hooks } from '../../../simulator/raft/checkers/checker.ts'
import { before, type Look } from '../../../simulator/raft/checkers/look.ts'
import { boundsOf } from '../../../simulator/raft/checkers/liveness.ts'
import { CHECKERS } from '../../../simulator/raft/checkers/rows.ts'
import { newTruth, type Truth } from '../../../simulator/raft/checkers/truth.ts'
import type { Durable } from '../../../simulator/raft/disk.ts'
import { Violation } from '../../../simulator/scenario.ts'

const VOTERS = ['1#1', '2#1', '3#1']

type Fake = { -readonly [K in keyof Look]: Look[K] } & { durable: Durable; raft: Raft }

const entry = (index: number, term: number, text = ''): Entry => ({
  index,
  term,
  kind: 'normal',
  data: Uint8Array.from(Buffer.from(text)),
})

/** A member of three that has applied how the group begins, and has `entries` behind that, on disk too. */
function member(id: string, ...entries: Entry[]): Fake {
  const first = genesis(VOTERS)
  const config = { cluster: 'c', group: 'g', generation: 0, self: id, electionTicks: 10, heartbeatTicks: 2 }
  const raft = create({ ...config, dice: () => 0 }, { ...first, entries: [...first.entries, ...entries] })
  const configuration = {
    voters: VOTERS,
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  }
  raft.configuration = configuration
  Object.assign(raft.log, { applying: 1, applied: 1 })
  const durable = {
    hardState: first.hardState,
    snapshot: first.snapshot,
    entries: [...first.entries, ...entries],
  }
  const look = {
    id,
    raft,
    durable,
    gone: false,
    host: { up: true },
    machineIndex: 1,
    digest: 1,
    asked: new Map(),
  }
  return { ...look, heardInTerm: 1, before: before(look) }
}

/** Makes `m` the leader of `term`. */
const leads = (m: Fake, term: number): Fake => {
  Object.assign(m.raft, { role: 'leader', term, leader: m.id })
  return m
}

const commits = (truth: Truth, entries: Entry[], term: number): void => {
  for (const each of entries) {
    truth.committed.set(each.index, each)
    truth.committedIn.set(each.index, term)
    truth.committedTo = each.index
  }
}

const grant: Message = {
  kind: 'MsgVoteResp',
  cluster: 'c',
  group: 'g',
  generation: 0,
  from: '1#1',
  to: '2#1',
  term: 5,
  reject: false,
}

type Plant = (hooks: Hooks, truth: Truth, members: Fake[]) => void

/** What is as it should be, and what is not, for each row. */
const PLANTS: Record<string, { readonly fine: Plant; readonly wrong: Plant }> = {
  I1: {
    fine: (hooks) => {
      hooks.role?.(leads(member('1#1'), 2))
      hooks.role?.(leads(member('2#1'), 3))
    },
    wrong: (hooks) => {
      hooks.role?.(leads(member('1#1'), 2))
      hooks.role?.(leads(member('2#1'), 2))
    },
  },
  I2: {
    fine: (hooks) => {
      hooks.log?.(member('1#1', entry(2, 2, 'a')), 1)
      hooks.log?.(member('2#1', entry(2, 2, 'a'), entry(3, 3, 'b')), 1)
    },
    wrong: (hooks) => {
      hooks.log?.(member('1#1', entry(2, 2, 'a')), 1)
      hooks.log?.(member('2#1', entry(2, 2, 'b')), 1)
    },
  },
  I3: {
    fine: (hooks, truth) => {
      commits(truth, [...genesis(VOTERS).entries], 1)
      commits(truth, [entry(2, 2)], 2)
      hooks.role?.(leads(member('1#1', entry(2, 2)), 3))
      // It was elected before that was committed, and hears of it late.
      hooks.role?.(leads(member('2#1'), 2))
    },
    wrong: (hooks, truth) => {
      commits(truth, [entry(2, 2)], 2)
      hooks.role?.(leads(member('1#1'), 3))
    },
  },
  I4: {
    fine: (hooks, truth) => {
      commits(truth, [entry(2, 2, 'a')], 2)
      for (const id of ['1#1', '2#1']) {
        const m = member(id, entry(2, 2, 'a'))
        m.machineIndex = 2
        hooks.applied?.(m, entry(2, 2, 'a'))
      }
    },
    wrong: (hooks, truth) => {
      commits(truth, [entry(2, 2, 'a')], 2)
      for (const [id, digest] of [
        ['1#1', 5],
        ['2#1', 6],
      ] as const) {
        const m = member(id, entry(2, 2, 'a'))
        Object.assign(m, { machineIndex: 2, digest })
        hooks.applied?.(m, entry(2, 2, 'a'))
      }
    },
  },
  I5: {
    fine: (hooks) => {
      const m = leads(member('1#1'), 2)
      Object.assign(m.before, { role: 'leader', term: 2 })
      hooks.log?.(m, 2)
    },
    wrong: (hooks) => {
      const m = leads(member('1#1', entry(2, 2)), 2)
      Object.assign(m.before, { role: 'leader', term: 2 })
      hooks.log?.(m, 2)
    },
  },
  I6: {
    fine: (hooks, truth) => {
      commits(truth, [entry(2, 2, 'a')], 2)
      const m = member('1#1', entry(2, 2, 'a'))
      m.raft.log.commit = 2
      hooks.commit?.(m, [])
    },
    wrong: (hooks, truth) => {
      commits(truth, [entry(2, 2, 'a')], 2)
      const m = member('1#1', entry(2, 2, 'b'))
      m.raft.log.commit = 2
      hooks.commit?.(m, [])
    },
  },
  I7: {
    fine: (hooks, truth, members) => {
      commits(truth, [entry(2, 2)], 2)
      members.push(member('1#1', entry(2, 2)), member('2#1', entry(2, 2)), member('3#1'))
      hooks.full?.()
    },
    wrong: (hooks, truth, members) => {
      commits(truth, [entry(2, 2)], 2)
      members.push(member('1#1', entry(2, 2)), member('2#1'), member('3#1'))
      hooks.full?.()
    },
  },
  I8: {
    fine: (hooks, _, members) => {
      const [a, b] = [member('1#1', entry(2, 2)), member('2#1', entry(2, 2), entry(3, 3))]
      a.raft.log.commit = 2
      members.push(a, b)
      hooks.full?.()
    },
    wrong: (hooks, _, members) => {
      const [a, b] = [member('1#1', entry(2, 2)), member('2#1', entry(2, 1), entry(3, 3))]
      a.raft.log.commit = 2
      members.push(a, b)
      hooks.full?.()
    },
  },
  I9: {
    fine: (hooks, _, members) => {
      members.push(member('1#1', entry(2, 2)), member('2#1', entry(2, 2)), member('3#1'))
      hooks.commit?.(members[0] as Fake, [entry(2, 2)])
    },
    wrong: (hooks, _, members) => {
      members.push(member('1#1', entry(2, 2)), member('2#1'), member('3#1'))
      hooks.commit?.(members[0] as Fake, [entry(2, 2)])
    },
  },
  I10: {
    fine: (hooks) => {
      const m = member('1#1')
      Object.assign(m.raft, { term: 2, vote: '2#1' })
      hooks.ballot?.(m, undefined)
    },
    wrong: (hooks) => {
      const m = member('1#1')
      hooks.sent?.(m, grant)
      Object.assign(m.raft, { term: 5, vote: '3#1' })
      hooks.restarted?.(m, undefined)
    },
  },
  I11: {
    fine: (hooks) => {
      const m = member('1#1')
      m.durable.hardState = { term: 5, vote: '2#1', commit: 0 }
      hooks.sent?.(m, grant)
    },
    wrong: (hooks) => hooks.sent?.(member('1#1'), grant),
  },
  I12: {
    fine: (hooks) => hooks.log?.(member('1#1', { ...entry(2, 2), kind: 'configuration' }), 2),
    wrong: (hooks) => {
      const changes: Entry[] = [2, 3].map((index) => ({ ...entry(index, 2), kind: 'configuration' }))
      hooks.log?.(member('1#1', ...changes), 3)
    },
  },
  I13: {
    fine: (hooks) => hooks.commit?.(counted(3), []),
    wrong: (hooks) => hooks.commit?.(counted(2), []),
  },
  I14: {
    fine: (hooks) => hooks.answers?.(member('1#1'), 1),
    wrong: (hooks) => hooks.answers?.(member('1#1'), 2),
  },
  I15: {
    fine: (hooks) => hooks.snapshot?.(snapshotAt(1)),
    wrong: (hooks) => hooks.snapshot?.(snapshotAt(2)),
  },
  I16: {
    fine: (hooks) =>
      hooks.ballot?.(inTerm(9), { ...grant, kind: 'MsgVote', index: 0, logTerm: 0, transfer: false }),
    wrong: (hooks) => hooks.ballot?.(inTerm(9), { ...grant, kind: 'MsgPreVote', index: 0, logTerm: 0 }),
  },
  C1: {
    fine: (hooks, truth) => {
      commits(truth, [...genesis(VOTERS).entries], 1)
      hooks.applying?.(member('1#1'))
    },
    wrong: (hooks, truth) => {
      commits(truth, [...genesis(VOTERS).entries], 1)
      const m = member('1#1')
      m.raft.configuration = { ...m.raft.configuration, voters: VOTERS.slice(1) }
      hooks.applying?.(m)
    },
  },
  A1: {
    fine: (hooks) => {
      const m = follower(7)
      m.raft.reading.forwarded.set(1, 7)
      hooks.performed?.(m)
    },
    wrong: (hooks) => hooks.performed?.(follower(7)),
  },
  I19: {
    fine: (hooks) => {
      does(hooks, 2, 10, command(1))
      // Asked for again, and not done again.
      does(hooks, 3, 10, command(1))
      does(hooks, 4, 11, command(2))
    },
    wrong: (hooks) => {
      does(hooks, 2, 10, command(1))
      does(hooks, 3, 11, command(1))
    },
  },
  I20: {
    fine: (hooks) => {
      hooks.healing?.({ ...healing, forUs: bounds.leaderUs, led: false, sick: 'nobody leads' })
      hooks.healing?.({ ...healing, forUs: bounds.wellUs, led: true, sick: '1#1 is at 3 of 4' })
    },
    wrong: (hooks) =>
      hooks.healing?.({ ...healing, forUs: bounds.leaderUs + 1, led: false, sick: 'nobody leads' }),
  },
  D1: {
    fine: (hooks) => {
      const m = member('1#1', entry(2, 2))
      hooks.restarted?.(m, m.durable)
    },
    wrong: (hooks) => {
      const m = member('1#1', entry(2, 2, 'a'))
      hooks.restarted?.(m, { ...m.durable, entries: [...m.durable.entries.slice(0, 1), entry(2, 2, 'b')] })
    },
  },
}

const bounds = boundsOf({
  electionUs: 1_000_000,
  heartbeatUs: 250_000,
  delay: { minUs: 10_000, meanUs: 1_000 },
  disk: { minUs: 1_000, meanUs: 1_000 },
  stateBytes: 1_000,
  partBytes: 100,
  clientUs: 8_000_000,
})
const healing = { group: 'mesh', bounds }

test('a leader is due within four election timeouts of up to twice the least, and all the rest within seconds', (t) => {
  t.is(Math.round(bounds.leaderUs / 1_000), 8_078)
  t.is(Math.round(bounds.wellUs / 1_000), 29_491)
  t.throws(
    () => {
      const [row] = CHECKERS.filter(({ id }) => id === 'I20')
      const hooks = row?.make({ truth: newTruth(), members: () => [] }, broken(row))
      hooks?.healing?.({ ...healing, forUs: bounds.wellUs + 1, led: true, sick: '1#1 is at 3 of 4' })
    },
    { message: /^I20 Liveness: mesh is not well/ },
  )
})

/** A leader of term 3 that has just committed an entry of `term` by counting. */
function counted(term: number): Fake {
  const m = leads(member('1#1', entry(2, term)), 3)
  Object.assign(m.before, { role: 'leader', term: 3 })
  m.raft.log.commit = 2
  return m
}

/** Somebody has asked it to read; its leader is known. */
function follower(token: number): Fake {
  const m = member('1#1')
  m.raft.leader = '2#1'
  m.asked = new Map([[token, {}]])
  return m
}

const command = (serial: number): Uint8Array =>
  envelopeCommand.encode({
    kind: 'do',
    session: 1,
    serial,
    acknowledged: 0,
    command: new Uint8Array(1),
    nowMs: 1,
  })

/** A member that was in state 1 at the first entry is in state `digest` after this one. */
function does(hooks: Hooks, index: number, digest: number, data: Uint8Array): void {
  const m = member('1#1')
  if (index === 2) hooks.applied?.(m, undefined)
  Object.assign(m, { machineIndex: index, digest })
  hooks.applied?.(m, { ...entry(index, 2), data })
}

function snapshotAt(index: number): Fake {
  const m = member('1#1', entry(2, 2))
  m.raft.snapshot = { ...m.raft.snapshot, index, term: 1 }
  return m
}

function inTerm(term: number): Fake {
  const m = member('1#1')
  m.raft.term = term
  return m
}

for (const row of CHECKERS) {
  test(`${row.id} ${row.name}: ${row.what}`, (t) => {
    const plant = PLANTS[row.id]
    if (plant === undefined) return t.fail('nobody has planted a violation for it')
    const run = (how: Plant) => (): void => {
      const truth = newTruth()
      const members: Fake[] = []
      how(row.make({ truth, members: () => members }, broken(row)), truth, members)
    }
    t.notThrows(run(plant.fine))
    t.throws(run(plant.wrong), { instanceOf: Violation, message: new RegExp(`^${row.id} ${row.name}: `) })
  })
}
