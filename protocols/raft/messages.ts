/** What the members of a group say to each other: etcd's messages under etcd's names, as plain values with a bound. */
import { codec } from '../codec.ts'
import {
  APPEND_ENTRIES_MAX,
  MESSAGE_BYTES_MAX,
  PROPOSAL_BYTES_MAX,
  SNAPSHOT_BYTES_MAX,
  SNAPSHOT_PART_BYTES,
} from '../limits.ts'
import { boolean, bytes, integer, list, type Of, oneOf, optional, record, tagged, text } from '../shape.ts'
import { configuration } from './configuration.ts'
import { memberId } from './member.ts'

export const PROTOCOL = '/godwit/raft/1'

const counter = integer(0, 2 ** 52)
/**
 * `cluster` is the mesh, `generation` how often the group began anew; messages of others are not heard. `term` is the
 * sender's, save in MsgPreVote and a granted MsgPreVoteResp, where it is the one to be.
 */
const header = {
  cluster: text(64),
  group: text(96),
  generation: counter,
  from: memberId,
  to: memberId,
  term: counter,
}

/** Its index is the message's `index` + 1 + its place in the list, so that no list can have gaps. */
export const entry = record({
  term: counter,
  kind: oneOf('normal', 'configuration'),
  data: bytes(PROPOSAL_BYTES_MAX),
})

/** With a refusal: what the voter knows to be agreed. The candidate may be behind by just the change that makes it win. */
const agreed = { commit: optional(counter), commitTerm: optional(counter) }

const shape = tagged({
  /** Would you vote for me? Raises no term. `index`, `logTerm`: the asker's last entry. */
  MsgPreVote: record({ ...header, index: counter, logTerm: counter }),
  MsgPreVoteResp: record({ ...header, reject: boolean, ...agreed }),
  /** `transfer`: the leader asked for this election, so that whoever hears it still votes. */
  MsgVote: record({ ...header, index: counter, logTerm: counter, transfer: boolean }),
  MsgVoteResp: record({ ...header, reject: boolean, ...agreed }),
  /** `entries` follow the one at `index` with `logTerm`; everything up to `commit` is agreed. */
  MsgApp: record({
    ...header,
    index: counter,
    logTerm: counter,
    entries: list(entry, APPEND_ENTRIES_MAX),
    commit: counter,
  }),
  /**
   * Accepted: the log is the leader's up to `index`, durably. Rejected: it has no such entry at `index`; at `rejectHint`,
   * where its term is `logTerm`, it may match.
   */
  MsgAppResp: record({
    ...header,
    index: counter,
    reject: boolean,
    rejectHint: counter,
    logTerm: counter,
  }),
  /** `read`: the newest read position; `beat`: this heartbeat's own number. The answer repeats both. */
  MsgHeartbeat: record({ ...header, commit: counter, read: counter, beat: counter }),
  /** `level`: the newest feature that the sender knows (features.ts); absent: none. */
  MsgHeartbeatResp: record({
    ...header,
    read: counter,
    beat: counter,
    level: optional(integer(1, 2 ** 16)),
  }),
  /** One part of the snapshot at `index`, whose term is `logTerm`; `checksum` is the CRC-32 of all its data. */
  MsgSnap: record({
    ...header,
    index: counter,
    logTerm: counter,
    configuration,
    offset: integer(0, SNAPSHOT_BYTES_MAX),
    total: integer(0, SNAPSHOT_BYTES_MAX),
    data: bytes(SNAPSHOT_PART_BYTES),
    last: boolean,
    checksum: integer(0, 2 ** 32 - 1),
  }),
  /** Bytes of that snapshot which are here, from the first on: where to go on from. Installed says MsgAppResp. */
  MsgSnapStatus: record({ ...header, index: counter, offset: integer(0, SNAPSHOT_BYTES_MAX) }),
  /** Leader → the voter that is to lead: campaign at once. */
  MsgTimeoutNow: record({ ...header }),
  /** Follower → leader: hand over to the voter `transferee`. */
  MsgTransferLeader: record({ ...header, transferee: memberId }),
  /** A follower asks for a read position. `life` and `serial` are its own, used once. */
  MsgReadIndex: record({ ...header, life: counter, serial: counter }),
  MsgReadIndexResp: record({ ...header, life: counter, serial: counter, index: counter, reject: boolean }),
})

export type Message = Of<typeof shape>
export type MessageOf<K extends Message['kind']> = Extract<Message, { kind: K }>
export const message = codec('raft', shape, MESSAGE_BYTES_MAX)

/** One line for logs and traces. */
export function describe(m: Message): string {
  const rest = Object.entries(m)
    .filter(([name]) => !['kind', 'cluster', 'group', 'generation', 'from', 'to', 'term'].includes(name))
    .map(([name, value]) => `${name} ${brief(value)}`)
  return [`${m.group} ${m.from}→${m.to} ${m.kind} term ${m.term}`, ...rest].join(', ')
}

function brief(value: unknown): string {
  if (value instanceof Uint8Array) return `${value.length} B`
  if (Array.isArray(value)) return `×${value.length}`
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '…'
}
