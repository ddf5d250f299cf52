/**
 * F25: what has to hold of a group's feature level (protocols/features.ts), beside the invariants of Raft. Looked at from
 * outside: who said what to whom is taken from the messages that left, and where the level was raised from what was applied.
 *
 *   gate       a level is proposed only when every member has said that it knows it, to this leader in this term
 *   effect     nothing of a feature takes effect before the entry that raises the level to it
 *   halts      only who does not know the level, and from then on it applies nothing
 *   bytes      at the same index all states are the same, to the byte, whatever versions the members have
 */
import { crc32 } from 'node:zlib'
import { FEATURE_LEVEL } from '../../../protocols/features.ts'
import { membersOf } from '../../../protocols/raft/configuration.ts'
import type { MemberId } from '../../../protocols/raft/member.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { Violation } from '../../scenario.ts'
import { type Command, isNew } from '../register.ts'
import type { Version } from '../version.ts'
import type { Look } from './look.ts'

type Upgraded = Pick<Look, 'id' | 'raft' | 'machineIndex'> & {
  readonly version: Version
  readonly halted: number | undefined
  bytes(): Uint8Array
}

/** Whole states are compared at every so many entries: to make their bytes costs more than to apply one. */
const EVERY = 16

export class FeatureChecks {
  /** Commands of the newest feature that took effect, on whichever member came first. */
  used = 0
  /** How often a member was halted. */
  halted = 0
  #usedAt = 0
  readonly #said = new Map<string, number>()
  readonly #raisedAt = new Map<number, number>()
  readonly #bytes = new Map<number, number>()

  sent(message: Message): void {
    if (message.kind !== 'MsgHeartbeatResp' || message.level === undefined) return
    const { from, to, term, level } = message
    this.#said.set(`${to} ${term} ${from}`, level)
  }

  proposes({ id, raft }: Upgraded, level: number): void {
    const { term, configuration } = raft
    const lacks = (member: MemberId): boolean =>
      member !== id && (this.#said.get(`${id} ${term} ${member}`) ?? 0) < level
    const lacking = membersOf(configuration).filter(lacks)
    if (lacking.length > 0) broken(`${id} raises the level to ${level}; not said by ${lacking.join(' ')}`)
  }

  raised(m: Upgraded, level: number): void {
    for (let each = level; each > 0 && !this.#raisedAt.has(each); each--)
      this.#raisedAt.set(each, m.machineIndex)
  }

  tookEffect({ id, machineIndex }: Upgraded, command: Command): void {
    if (!isNew(command)) return
    const raisedAt = this.#raisedAt.get(FEATURE_LEVEL) ?? Infinity
    if (raisedAt > machineIndex)
      broken(`${id} carried out ${command.kind} at ${machineIndex}, before its level`)
    if (machineIndex <= this.#usedAt) return
    this.#usedAt = machineIndex
    this.used++
  }

  halts({ id, version }: Upgraded, level: number): void {
    this.halted++
    if (version.known >= level) broken(`${id} is halted at level ${level}, which it knows`)
  }

  applied(m: Upgraded): void {
    if (m.halted !== undefined) broken(`${m.id} is halted, and applied ${m.machineIndex}`)
    if (m.machineIndex % EVERY !== 0) return
    const found = crc32(m.bytes())
    const known = this.#bytes.get(m.machineIndex) ?? found
    if (known !== found) broken(`${m.id} has other bytes at ${m.machineIndex} than another member had`)
    this.#bytes.set(m.machineIndex, found)
  }
}

function broken(what: string): never {
  throw new Violation('F25 Features', what)
}
