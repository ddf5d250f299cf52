/**
 * The map of all keys of the store. No two prefixes overlap (asserted below); numbers in keys are padded so that key
 * order is number order. docs/STORAGE.md is printed from this table.
 */
import assert from 'node:assert/strict'

export const KEYSPACE = {
  meta: {
    prefix: 'meta/',
    what: 'format version, mesh, site, identity and binding of the data folder',
  },
  raftMember: {
    prefix: 'raft/member/',
    what: 'whose log of a group it is: peer and incarnation; its generation',
  },
  raftState: { prefix: 'raft/state/', what: 'term, vote and commit of a group' },
  raftEntry: { prefix: 'raft/entry/', what: 'log entries of a group' },
  raftTail: { prefix: 'raft/tail/', what: 'where the log of a group ends, so that a lost end is found out' },
  raftSnapshot: { prefix: 'raft/snapshot/', what: 'newest snapshot of a group' },
  raftCopy: {
    prefix: 'raft/copy/',
    what: 'copy of the state of a group that this peer decides alone, should its log be damaged',
  },
  quarantine: {
    prefix: 'quarantine/',
    what: 'the newest damaged log of each group: its records as they were found, and why it was put aside',
  },
  grant: { prefix: 'grant/', what: 'grants this host holds, by VM' },
  promise: { prefix: 'promise/', what: 'promises this host has made: never again under this epoch' },
  doubt: {
    prefix: 'doubt/',
    what: 'VMs whose grant came with a folder that was replaced, until it is confirmed',
  },
  pin: { prefix: 'pin/', what: 'images that an operator has pinned on this peer' },
  publication: { prefix: 'publication/', what: 'images published for BitTorrent clients, by info hash' },
  peer: { prefix: 'peer/', what: 'last known addresses of peers, so that a boot needs nobody' },
} as const

export const key = (space: keyof typeof KEYSPACE, ...parts: (string | number)[]): string =>
  KEYSPACE[space].prefix + parts.map((part) => (typeof part === 'number' ? padded(part) : part)).join('/')

/** The first key past all keys that begin with `prefix`. */
export const pastPrefix = (prefix: string): string =>
  prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1)

/** 2^53 has 16 digits. */
const padded = (value: number): string => String(value).padStart(16, '0')

const prefixes = Object.values(KEYSPACE).map(({ prefix }) => prefix)
for (const a of prefixes) for (const b of prefixes) assert(a === b || !a.startsWith(b), `${a} overlaps ${b}`)
