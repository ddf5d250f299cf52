/**
 * A Raft group's log on disk: which records a `store` effect becomes, and how they are read again. Pure.
 *
 * Each record is a CRC-32 of its key and its body, then the body; so a record that was changed, or stands in another's
 * place, is found out. Batches are atomic: nothing that was acknowledged can be torn, and whatever does not fit
 * together at start is damage, which no peer may vote or lead on.
 */
import { crc32 } from 'node:zlib'
import { codec, type Codec } from '../protocols/codec.ts'
import { GodwitError } from '../protocols/errors.ts'
import { CONFIGURATION_BYTES_MAX, PROPOSAL_BYTES_MAX, SNAPSHOT_BYTES_MAX } from '../protocols/limits.ts'
import { configuration } from '../protocols/raft/configuration.ts'
import { memberId, type MemberId } from '../protocols/raft/member.ts'
import type { Entry, HardState, RaftEffect, Recovered, Snapshot } from '../protocols/raft/types.ts'
import { bytes, integer, type Of, oneOf, record, type Shape } from '../protocols/shape.ts'
import { key, pastPrefix } from './keyspace.ts'
import type { Op, Store } from './store.ts'

const counter = integer(0, 2 ** 52)

/** Where the records of a log are. */
export const LOG_SPACES = [
  'raftMember',
  'raftState',
  'raftTail',
  'raftEntry',
  'raftSnapshot',
  'raftCopy',
] as const

const voteShape: Shape<string> = (value, at) => (value === '' ? '' : memberId(value, at))
const stateShape: Shape<HardState> = record({ term: counter, vote: voteShape, commit: counter })
const stateRecord = codec('raft state', stateShape)

const entryShape: Shape<Entry> = record({
  term: counter,
  index: counter,
  kind: oneOf('normal', 'configuration'),
  data: bytes(PROPOSAL_BYTES_MAX),
})
const entryRecord = codec('raft entry', entryShape)

const snapshotShape: Shape<Snapshot> = record({
  index: counter,
  term: counter,
  configuration,
  data: bytes(SNAPSHOT_BYTES_MAX),
})
const snapshotRecord = codec(
  'raft snapshot',
  snapshotShape,
  SNAPSHOT_BYTES_MAX + CONFIGURATION_BYTES_MAX + 1_024,
)

/** Whose log it is, and how often its group began anew: the first record of a log. */
export type LogOwner = { readonly member: MemberId; readonly generation: number }
const ownerShape: Shape<LogOwner> = record({ member: memberId, generation: counter })
const ownerRecord = codec('raft member', ownerShape)

/** The last entry (or what stands for it in the snapshot) as of the newest batch that changed it. */
const tailShape = record({ index: counter, term: counter })
const tailRecord = codec('raft tail', tailShape)

/** What was on disk when this life began. */
export type Recoverable = Pick<Store, 'recovered'>
type Pair = readonly [key: string, value: Uint8Array]

type StoreEffect = Extract<RaftEffect, { kind: 'store' }>

/** The first records of a log: whose it is, and what its group begins with (protocols/raft/genesis.ts). */
export const beginOps = (group: string, owner: LogOwner, first: Recovered): Op[] => [
  put(key('raftMember', group), ownerRecord, owner),
  ...storeOps(group, { kind: 'store', token: 0, ...first }),
]

/** The one atomic batch of a `store` effect. */
export function storeOps(group: string, effect: StoreEffect): Op[] {
  const { hardState, snapshot, entries, compactTo, dropFrom } = effect
  const ops: Op[] = []
  if (compactTo !== undefined && compactTo > 0) ops.push(clearEntries(group, 0, compactTo + 1))
  if (dropFrom !== undefined) ops.push(clearEntries(group, dropFrom))
  if (snapshot !== undefined) ops.push(put(key('raftSnapshot', group), snapshotRecord, snapshot))
  for (const entry of entries) ops.push(put(key('raftEntry', group, entry.index), entryRecord, entry))
  if (hardState !== undefined) ops.push(put(key('raftState', group), stateRecord, hardState))
  const tail = entries.at(-1) ?? (dropFrom === 0 ? snapshot : undefined)
  if (tail !== undefined)
    ops.push(put(key('raftTail', group), tailRecord, { index: tail.index, term: tail.term }))
  return ops
}

/** Entries with an index in [from, below). */
function clearEntries(group: string, from: number, below?: number): Op {
  const lt = below === undefined ? pastPrefix(key('raftEntry', group, '')) : key('raftEntry', group, below)
  return { kind: 'clear', gte: key('raftEntry', group, from), lt }
}

/** A record under its checksum. */
export function put<T>(at: string, kind: Codec<T>, value: T): Op {
  const body = kind.encode(value)
  const framed = new Uint8Array(4 + body.length)
  new DataView(framed.buffer).setUint32(0, checksum(at, body))
  framed.set(body, 4)
  return { kind: 'put', key: at, value: framed }
}

const checksum = (at: string, body: Uint8Array): number => crc32(body, crc32(at))

/** The entries as they lie there, in order. Another group's name may begin with this one's. */
export function entriesOf(store: Recoverable, group: string): Pair[] {
  const prefix = key('raftEntry', group, '')
  return store.recovered(prefix).filter(([at]) => /^\d{16}$/.test(at.slice(prefix.length)))
}

/**
 * What the last life of this peer left of a group; undefined when it left nothing.
 * @throws GodwitError DATA_CORRUPT when a record is damaged or missing.
 */
export function recover(store: Recoverable, group: string): Recovered | undefined {
  const hardState = recoverState(store, group)
  const snapshot = readAt(store, group, key('raftSnapshot', group), snapshotRecord)
  const tail = recoverTail(store, group)
  const entries = entriesOf(store, group).map((pair) => readEntry(group, pair))
  if (hardState === undefined && snapshot === undefined && tail === undefined && entries.length === 0)
    return undefined
  if (snapshot === undefined) throw corrupt(group, 'its snapshot is missing')
  // Every log begins with one. Without it an empty log would look as if its member had never voted.
  if (hardState === undefined) throw corrupt(group, 'its term and vote are missing')
  const recovered = { hardState, snapshot, entries }
  check(group, recovered)
  const last = entries.at(-1) ?? snapshot
  // A compaction may leave no entry behind the one that was last.
  if (tail === undefined ? entries.length > 0 : tail.index !== last.index || tail.term !== last.term)
    throw corrupt(group, `it ends at ${last.index}, not where it ended`)
  return recovered
}

export const recoverState = (store: Recoverable, group: string): HardState | undefined =>
  readAt(store, group, key('raftState', group), stateRecord)

/** Where the log ended when it was last written to. */
export const recoverTail = (store: Recoverable, group: string): Of<typeof tailShape> | undefined =>
  readAt(store, group, key('raftTail', group), tailRecord)

export const readEntry = (group: string, [at, value]: Pair): Entry => read(group, at, entryRecord, value)

/**
 * Whose log this peer has of a group; undefined when it has none.
 * @throws GodwitError DATA_CORRUPT when the record is damaged.
 */
export const recoverOwner = (store: Recoverable, group: string): LogOwner | undefined =>
  readAt(store, group, key('raftMember', group), ownerRecord)

function check(group: string, { hardState, snapshot, entries }: Recovered): void {
  const first = entries[0]?.index ?? snapshot.index + 1
  const last = first + entries.length - 1
  const need = (holds: boolean, why: string): void => {
    if (!holds) throw corrupt(group, why)
  }
  for (const [at, { index, term }] of entries.entries()) {
    need(index === first + at, `entry ${first + at} is missing`)
    need(term >= (entries[at - 1]?.term ?? 0), `entry ${index} has an older term than the one before it`)
  }
  need(first <= snapshot.index + 1, `entries between ${snapshot.index} and ${first} are missing`)
  need(last >= snapshot.index, `entries between ${last} and ${snapshot.index} are missing`)
  const same = entries[snapshot.index - first]
  need(same === undefined || same.term === snapshot.term, `entry ${snapshot.index} is not the snapshot's`)
  need(last >= hardState.commit, `entries up to ${hardState.commit} were agreed, and end at ${last}`)
  const lastTerm = entries.at(-1)?.term ?? snapshot.term
  need(lastTerm <= hardState.term, `entry ${last} is of a later term than the vote`)
}

/** @throws GodwitError DATA_CORRUPT when the record is damaged. */
export function readAt<T>(store: Recoverable, group: string, at: string, kind: Codec<T>): T | undefined {
  const value = store.recovered(at).find(([found]) => found === at)?.[1]
  return value === undefined ? undefined : read(group, at, kind, value)
}

function read<T>(group: string, at: string, kind: Codec<T>, value: Uint8Array): T {
  const body = value.subarray(4)
  const isWhole =
    value.length >= 4 && new DataView(value.buffer, value.byteOffset).getUint32(0) === checksum(at, body)
  if (!isWhole) throw corrupt(group, `the checksum of ${at} does not match`)
  try {
    return kind.decode(body)
  } catch (cause) {
    throw new GodwitError(
      { code: 'DATA_CORRUPT', what: whatIs(group), why: `${at} has no valid form` },
      { cause },
    )
  }
}

const whatIs = (group: string): string => `the log of group ${group}`
const corrupt = (group: string, why: string): GodwitError =>
  new GodwitError({ code: 'DATA_CORRUPT', what: whatIs(group), why })
