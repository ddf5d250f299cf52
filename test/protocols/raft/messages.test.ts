import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import {
  APPEND_ENTRIES_MAX,
  LEARNERS_MAX,
  MEMBER_ID_LENGTH_MAX,
  MESSAGE_BYTES_MAX,
  PROPOSAL_BYTES_MAX,
  SNAPSHOT_BYTES_MAX,
  SNAPSHOT_PART_BYTES,
  VOTERS_MAX,
} from '../../../protocols/limits.ts'
import { page, recoveredLog } from '../../../protocols/raft/log.ts'
import { describe, message, type Message } from '../../../protocols/raft/messages.ts'
import { golden } from '../golden.ts'
import { configurationOf, genesis } from './cluster.ts'

const a = '12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d#2p9yxjbb1k'
const b = '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo#7'
const header = {
  cluster: '01JZ0000000000000000000002',
  group: 'site/harbour',
  generation: 3,
  from: a,
  to: b,
  term: 7,
}

/** One of every kind, as version 1 writes it. */
const examples: Message[] = [
  { kind: 'MsgPreVote', ...header, index: 41, logTerm: 6 },
  { kind: 'MsgPreVoteResp', ...header, reject: false },
  { kind: 'MsgVote', ...header, index: 41, logTerm: 6, transfer: true },
  { kind: 'MsgVoteResp', ...header, reject: true },
  {
    kind: 'MsgApp',
    ...header,
    index: 40,
    logTerm: 6,
    entries: [
      { term: 6, kind: 'normal', data: Uint8Array.of(1, 2, 3) },
      { term: 7, kind: 'configuration', data: Uint8Array.of(4) },
    ],
    commit: 39,
  },
  { kind: 'MsgAppResp', ...header, index: 40, reject: true, rejectHint: 17, logTerm: 3 },
  { kind: 'MsgHeartbeat', ...header, commit: 39, read: 2, beat: 17 },
  { kind: 'MsgHeartbeatResp', ...header, read: 2, beat: 17 },
  {
    kind: 'MsgSnap',
    ...header,
    index: 30,
    logTerm: 5,
    configuration: {
      voters: [a],
      votersOutgoing: [a, b],
      learners: [],
      learnersNext: [b],
      autoLeave: true,
    },
    offset: 262_144,
    total: 262_147,
    data: Uint8Array.of(9, 8, 7),
    last: true,
    checksum: 3_405_691_582,
  },
  { kind: 'MsgSnapStatus', ...header, index: 30, offset: 262_144 },
  { kind: 'MsgTimeoutNow', ...header },
  { kind: 'MsgTransferLeader', ...header, transferee: b },
  { kind: 'MsgReadIndex', ...header, life: 2 ** 47 + 1, serial: 5 },
  { kind: 'MsgReadIndexResp', ...header, life: 2 ** 47 + 1, serial: 5, index: 39, reject: false },
]

for (const example of examples) golden(`raft-${example.kind}`, message, example)
golden('raft-MsgHeartbeatResp-level', message, {
  kind: 'MsgHeartbeatResp',
  ...header,
  read: 2,
  beat: 17,
  level: 1,
})

const { kind: _, ...app } = examples[4] as Message & { kind: 'MsgApp' }
const refused: [what: string, value: object, at: string][] = [
  ['an unknown kind', { ...header, kind: 'MsgNothing' }, 'raft.kind'],
  ['a kind that every object inherits', { ...header, kind: 'toString' }, 'raft.kind'],
  ['no group', { ...header, group: undefined, kind: 'MsgPreVoteResp', reject: true }, 'raft.group'],
  [
    'a group name that is too long',
    { ...header, kind: 'MsgVoteResp', group: 'g'.repeat(97), reject: true },
    'raft.group',
  ],
  [
    'a sender that is no text of ours',
    { ...header, kind: 'MsgVoteResp', from: 'a b', reject: true },
    'raft.from',
  ],
  ['no cluster', { ...header, cluster: '', kind: 'MsgVoteResp', reject: true }, 'raft.cluster'],
  ['a term below 0', { ...header, kind: 'MsgVoteResp', term: -1, reject: true }, 'raft.term'],
  ['a term with a fraction', { ...header, kind: 'MsgVoteResp', term: 1.5, reject: true }, 'raft.term'],
  [
    'an entry of no known kind',
    { ...app, kind: 'MsgApp', entries: [{ term: 1, kind: 'odd', data: Uint8Array.of() }] },
    'raft.entries.0.kind',
  ],
  [
    'more entries than a message may have',
    { ...app, kind: 'MsgApp', entries: Array.from({ length: APPEND_ENTRIES_MAX + 1 }, () => app.entries[0]) },
    'raft.entries',
  ],
  [
    'an entry that is too large',
    {
      ...app,
      kind: 'MsgApp',
      entries: [{ term: 1, kind: 'normal', data: new Uint8Array(PROPOSAL_BYTES_MAX + 1) }],
    },
    'raft.entries.0.data',
  ],
]
for (const [what, value, at] of refused) {
  test(`a message with ${what} is refused`, (t) => {
    const error = t.throws(() => message.encode(value as Message), { name: 'GodwitError' })
    t.like(error, { failure: { code: 'FRAME_INVALID', at } })
  })
}

test('the fullest part of a snapshot fits a frame', (t) => {
  const id = 'x'.repeat(MEMBER_ID_LENGTH_MAX)
  const learners = Array.from({ length: LEARNERS_MAX }, () => id)
  const voters = Array.from({ length: VOTERS_MAX }, () => id)
  const frame = message.encode({
    kind: 'MsgSnap',
    ...header,
    cluster: 'c'.repeat(64),
    group: 'g'.repeat(96),
    from: id,
    to: id,
    index: 2 ** 52,
    logTerm: 2 ** 52,
    configuration: { voters, votersOutgoing: voters, learners, learnersNext: voters, autoLeave: true },
    offset: SNAPSHOT_BYTES_MAX,
    total: SNAPSHOT_BYTES_MAX,
    data: new Uint8Array(SNAPSHOT_PART_BYTES),
    last: false,
    checksum: 2 ** 32 - 1,
  })
  t.true(frame.length <= MESSAGE_BYTES_MAX)
})

testProp(
  'whatever entries a log holds, a page of it fits a frame and brings it forward',
  [
    fc.array(fc.oneof(fc.nat(64), fc.nat(PROPOSAL_BYTES_MAX), fc.constant(PROPOSAL_BYTES_MAX)), {
      minLength: 1,
      maxLength: 12,
    }),
    fc.boolean(),
  ],
  (t, sizes, many) => {
    const all = many
      ? Array.from({ length: 200 }, () => sizes)
          .flat()
          .map((size) => size % 200)
      : sizes
    const entries = all.map((size, at) => ({
      term: 2 ** 40,
      index: at + 1,
      kind: 'configuration' as const,
      data: new Uint8Array(size),
    }))
    const log = recoveredLog({ ...genesis(configurationOf([1])), entries })
    const found = page(log, 1)
    t.true(found.length > 0)
    const sent = { ...app, kind: 'MsgApp' as const, group: 'g'.repeat(96), entries: found }
    t.notThrows(() => message.encode(sent))
  },
  { numRuns: 20 },
)

testProp(
  'decode throws nothing but GodwitError',
  [fc.nat(examples.length - 1), fc.nat(), fc.nat(255)],
  (t, which, place, value) => {
    const frame = message.encode(examples[which] as Message)
    frame[place % frame.length] = value
    try {
      t.is(typeof message.decode(frame).kind, 'string')
    } catch (error) {
      t.is((error as Error).name, 'GodwitError')
    }
  },
)

test('describe says a message in one line', (t) => {
  t.is(
    describe(examples[4] as Message),
    `site/harbour ${a}→${b} MsgApp term 7, index 40, logTerm 6, entries ×2, commit 39`,
  )
  for (const example of examples) t.false(describe(example).includes('\n'))
})
