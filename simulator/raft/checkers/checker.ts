/**
 * What a checker is: a row with an id of the check-list, told of what changed, that looks at true state and throws a Violation
 * at the first instant at which its rule does not hold. The rows are in files by what they look at; rows.ts has all of them.
 */
import type { Message } from '../../../protocols/raft/messages.ts'
import type { Entry, Recovered } from '../../../protocols/raft/types.ts'
import { Violation } from '../../scenario.ts'
import type { Healing } from './liveness.ts'
import type { Look } from './look.ts'
import type { Scene } from './truth.ts'

export type Hooks = {
  /** Role or term changed. */
  role?(m: Look): void
  /** Term or vote changed, by hearing `message` if there is one. */
  ballot?(m: Look, message: Message | undefined): void
  /** Entries from index `from` on are not those that were there before. */
  log?(m: Look, from: number): void
  /** The commit index moved; `news`: entries that nobody had committed before. */
  commit?(m: Look, news: readonly Entry[]): void
  /** Something was handed out to be applied, or the configuration changed. */
  applying?(m: Look): void
  snapshot?(m: Look): void
  /** The state machine has carried out `entry`, or was replaced by a snapshot. */
  applied?(m: Look, entry: Entry | undefined): void
  sent?(m: Look, message: Message): void
  restarted?(m: Look, recovered: Recovered | undefined): void
  /** All effects of an event are performed. */
  performed?(m: Look): void
  /** A read is answered; when it was asked everything up to `committed` was. */
  answers?(m: Look, committed: number): void
  /** At commits, elections and faults. */
  full?(): void
  /** Faults have ended, and something is not well yet. */
  healing?(look: Healing): void
}

export type Checker = {
  readonly id: string
  readonly name: string
  readonly what: string
  make(scene: Scene, broken: (what: string) => never): Hooks
}

export const broken =
  ({ id, name }: Pick<Checker, 'id' | 'name'>) =>
  (what: string): never => {
    throw new Violation(`${id} ${name}`, what)
  }

export const isSame = (a: Entry, b: Entry): boolean =>
  a === b || (a.term === b.term && a.kind === b.kind && Buffer.compare(a.data, b.data) === 0)

export const entryAt = ({ raft: { log } }: Look, index: number): Entry | undefined =>
  log.entries[index - log.base.index - 1]

export const isChange = ({ kind }: Entry): boolean => kind === 'configuration'
