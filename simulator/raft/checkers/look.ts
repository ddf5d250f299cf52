/** What a checker sees of a member: the core as it is, what is on its disk, and how both looked after the event before. */
import type { MemberId } from '../../../protocols/raft/member.ts'
import type { Raft } from '../../../protocols/raft/raft.ts'
import type { Configuration, Entry, Role } from '../../../protocols/raft/types.ts'
import type { Durable } from '../disk.ts'

export type Look = {
  readonly id: MemberId
  readonly raft: Raft
  readonly durable: Durable
  /** Its log is lost for good. */
  readonly gone: boolean
  readonly host: { readonly up: boolean }
  /** What its state machine has carried out, and a hash over it. */
  readonly machineIndex: number
  readonly digest: number
  /** Requests that it has neither answered nor refused, by token. */
  readonly asked: ReadonlyMap<number, unknown>
  /** Messages of other members heard since its term last changed. */
  readonly heardInTerm: number
  readonly before: Before
}

/** A member after the event before this one. */
export type Before = {
  term: number
  vote: MemberId
  role: Role
  leader: MemberId
  commit: number
  applying: number
  applied: number
  configuration: Configuration
  snapshotIndex: number
  /** The log as it was: the same entry objects. */
  base: number
  entries: Entry[]
}

export function before({ raft }: Pick<Look, 'raft'>): Before {
  const { term, vote, role, leader, log, configuration, snapshot } = raft
  const { commit, applying, applied, base } = log
  return {
    term,
    vote,
    role,
    leader,
    commit,
    applying,
    applied,
    configuration,
    snapshotIndex: snapshot.index,
    base: base.index,
    entries: [...log.entries],
  }
}
