import test from 'ava'
import {
  APPEND_BYTES_MAX,
  APPEND_ENTRIES_MAX,
  FOLLOW_HOPS_MAX,
  LEARNERS_MAX,
  MEMBER_ID_LENGTH_MAX,
  MESSAGE_BYTES_MAX,
  PROPOSAL_BYTES_MAX,
  SNAPSHOT_PART_BYTES,
} from '../../../protocols/limits.ts'
import { type Answer, compare, followAnswer, followAsk } from '../../../protocols/follow/messages.ts'
import { NOBODY } from '../../../protocols/raft/configuration.ts'
import { golden, sturdy } from '../golden.ts'

const a = '12D3KooWAfPDpPRRRBrmqy9is2zjU5srQ4hKuZitiGmh4NTTpS2d'
const b = '12D3KooWQYhTNQdmr3ArTeUHRYzFg94BKyTkoWBDWez9kSCVe2Xo'
const member = `${a}#1k2j3h4g5f`

const ask = {
  cluster: '01JZ0000000000000000000002',
  group: 'site/harbour',
  generation: 1,
  index: 41,
  waitMs: 5_000,
}
const resumed = { ...ask, snapshot: { generation: 1, index: 30, checksum: 3_405_691_582, offset: 262_144 } }
const standing = { generation: 1, index: 43, term: 7, leader: a, ageMs: 120, path: [b] }
const entries: Answer = {
  kind: 'entries',
  ...standing,
  entries: [
    { term: 6, kind: 'normal', data: Uint8Array.of(1, 2, 3) },
    { term: 7, kind: 'configuration', data: Uint8Array.of(4) },
  ],
}
const configuration = { ...NOBODY, voters: [member], autoLeave: true }
const part: Answer = {
  kind: 'part',
  ...standing,
  snapshot: { index: 30, term: 5, configuration, checksum: 3_405_691_582 },
  offset: 262_144,
  total: 262_147,
  data: Uint8Array.of(9, 8, 7),
}
const nothing: Answer = { kind: 'nothing', ...standing, leader: '', why: 'adrift' }

golden('follow-ask', followAsk, ask)
golden('follow-ask-resumed', followAsk, resumed)
golden('follow-entries', followAnswer, entries)
golden('follow-part', followAnswer, part)
golden('follow-nothing', followAnswer, nothing)
sturdy('follow-ask-resumed', followAsk, resumed)
sturdy('follow-part', followAnswer, part)

test('the largest page and the largest part fit in a frame', (t) => {
  const longest = 'm'.repeat(MEMBER_ID_LENGTH_MAX)
  const path = Array.from({ length: FOLLOW_HOPS_MAX }, () => b)
  const full = { term: 2 ** 52, kind: 'configuration' as const }
  // A page is full once it has APPEND_BYTES_MAX, 64 of them for each entry; one that is almost full takes another entry.
  const count = APPEND_ENTRIES_MAX - 1
  const small = new Uint8Array(Math.floor(APPEND_BYTES_MAX / count) - 64)
  const page = followAnswer.encode({
    ...entries,
    path,
    entries: [
      ...Array.from({ length: count }, () => ({ ...full, data: small })),
      { ...full, data: new Uint8Array(PROPOSAL_BYTES_MAX) },
    ],
  })
  const learners = Array.from({ length: LEARNERS_MAX }, () => longest)
  const largest = followAnswer.encode({
    ...part,
    path,
    snapshot: {
      index: 2 ** 52,
      term: 2 ** 52,
      configuration: { ...configuration, learners },
      checksum: 2 ** 32 - 1,
    },
    data: new Uint8Array(SNAPSHOT_PART_BYTES),
  })
  t.true(page.length < MESSAGE_BYTES_MAX && largest.length < MESSAGE_BYTES_MAX)
})

test('a later generation is newer, wherever it is', (t) => {
  t.true(compare({ generation: 1, index: 2 }, { generation: 0, index: 9 }) > 0)
  t.true(compare({ generation: 1, index: 2 }, { generation: 1, index: 3 }) < 0)
  t.is(compare({ generation: 1, index: 2 }, { generation: 1, index: 2 }), 0)
})
