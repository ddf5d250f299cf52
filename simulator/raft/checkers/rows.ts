/**
 * The invariants of Raft, one row each, under the names of the check-list (I1-I16) and of etcd's TLA+ specification. A row
 * is told of what changed and looks at true state; it throws a Violation at the first instant at which it does not hold.
 */
import { isDeepStrictEqual } from 'node:util'
import { crc32 } from 'node:zlib'
import { isSoleVoter, votersOf } from '../../../protocols/raft/configuration.ts'
import * as logs from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { isQuorum } from '../../../protocols/raft/quorum.ts'
import type { Entry, Recovered } from '../../../protocols/raft/types.ts'
import { Violation } from '../../scenario.ts'
import { holds } from '../disk.ts'
import { AGREED_CONFIGURATION } from './agreed-configuration.ts'
import { ASKING } from './asking.ts'
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
}

export type Checker = {
  readonly id: string
  readonly name: string
  readonly what: string
  make(scene: Scene, broken: (what: string) => never): Hooks
}

const isSame = (a: Entry, b: Entry): boolean =>
  a === b || (a.term === b.term && a.kind === b.kind && Buffer.compare(a.data, b.data) === 0)

const entryAt = ({ raft: { log } }: Look, index: number): Entry | undefined =>
  log.entries[index - log.base.index - 1]

/** One number for (index, term): terms of a simulation stay far below 2^20. */
const place = (index: number, term: number): number => index * 2 ** 20 + term

const grants = (message: Message): string =>
  message.kind === 'MsgVote'
    ? message.from
    : message.kind === 'MsgVoteResp' && !message.reject
      ? message.to
      : ''

export const CHECKERS: readonly Checker[] = [
  {
    id: 'I1',
    name: 'ElectionSafety',
    what: 'at most one leader in a term, over all time',
    make: (_, broken) => {
      const leaders = new Map<number, string>()
      return {
        role({ id, raft: { role, term } }) {
          if (role !== 'leader') return
          const known = leaders.get(term) ?? id
          if (known !== id) broken(`${known} and ${id} lead in term ${term}`)
          leaders.set(term, id)
        },
      }
    },
  },
  {
    id: 'I2',
    name: 'LogMatching',
    what: 'logs that agree on an entry agree on it and on all before it',
    make: (_, broken) => {
      const entries = new Map<number, { entry: Entry; before: number }>()
      return {
        log(m, from) {
          const { log } = m.raft
          let before = logs.termAt(log, from - 1) ?? -1
          for (let index = from; index <= logs.lastIndex(log); index++) {
            const entry = entryAt(m, index) as Entry
            const known = entries.get(place(index, entry.term))
            if (known === undefined) entries.set(place(index, entry.term), { entry, before })
            else if (
              !isSame(known.entry, entry) ||
              (before >= 0 && known.before >= 0 && known.before !== before)
            ) {
              broken(`entry ${index} of term ${entry.term} in ${m.id} is not what it is elsewhere`)
            }
            before = entry.term
          }
        },
      }
    },
  },
  {
    id: 'I3',
    name: 'LeaderCompleteness',
    what: 'what was committed in an earlier term is in the log of every later leader',
    make: ({ truth }, broken) => ({
      role(m) {
        const { role, term, log } = m.raft
        if (role !== 'leader' || (m.before.role === 'leader' && m.before.term === term)) return
        let index = truth.committedTo
        while (index > log.base.index && (truth.committedIn.get(index) ?? 0) >= term) index--
        if (index <= log.base.index) return
        if (logs.termAt(log, index) !== truth.committed.get(index)?.term) {
          broken(`${m.id} leads in term ${term} without the committed entry ${index}`)
        }
      },
    }),
  },
  {
    id: 'I4',
    name: 'StateMachineSafety',
    what: 'the same index brings the same entry and the same state everywhere; nothing is applied that a crash would undo',
    make: ({ truth }, broken) => {
      const digests = new Map<number, number>()
      const snapshots = new Map<number, number>()
      return {
        snapshot({ id, raft: { snapshot } }) {
          const found = crc32(snapshot.data)
          if ((snapshots.get(snapshot.index) ?? found) !== found) {
            broken(`${id} has another snapshot of ${snapshot.index}`)
          }
          snapshots.set(snapshot.index, found)
        },
        applied(m, entry) {
          const { id, machineIndex } = m
          if (entry !== undefined) {
            const known = truth.committed.get(machineIndex)
            if (known === undefined || !isSame(known, entry))
              broken(`${id} applied another entry ${machineIndex}`)
          }
          const digest = digests.get(machineIndex) ?? m.digest
          if (digest !== m.digest) broken(`${id} has another state at ${machineIndex}`)
          digests.set(machineIndex, digest)
          if (machineIndex > 0 && !holds(m.durable, machineIndex, undefined)) {
            broken(`${id} applied ${machineIndex}, which is not on its disk`)
          }
        },
      }
    },
  },
  {
    id: 'I5',
    name: 'LeaderAppendOnly',
    what: 'a leader never drops or replaces an entry of its log',
    make: (_, broken) => ({
      log({ id, before, raft: { role, term } }, from) {
        const stays = role === 'leader' && before.role === 'leader' && before.term === term
        if (stays && from <= before.base + before.entries.length)
          broken(`leader ${id} replaced entry ${from}`)
      },
    }),
  },
  {
    id: 'I6',
    name: 'LogInv',
    what: 'what two members have committed is the same as far as both have',
    make: ({ truth }, broken) => ({
      commit(m) {
        const { log } = m.raft
        if (log.commit > logs.lastIndex(log)) broken(`${m.id} committed ${log.commit}, which it has not`)
        for (let index = Math.max(m.before.commit, log.base.index) + 1; index <= log.commit; index++) {
          const known = truth.committed.get(index)
          if (known === undefined || !isSame(known, entryAt(m, index) as Entry)) {
            broken(`${m.id} committed another entry ${index}`)
          }
        }
      },
    }),
  },
  {
    id: 'I7',
    name: 'QuorumLog',
    what: 'nobody could be elected who lacks a committed entry, by those who still have their logs',
    make: ({ truth, members }, broken) => ({
      full() {
        const index = truth.committedTo
        const term = truth.committed.get(index)?.term
        const able = members().filter(({ gone }) => !gone)
        const lacking = able.filter(
          ({ host, raft: { log } }) => host.up && index > log.base.index && logs.termAt(log, index) !== term,
        )
        for (const m of lacking) {
          const { raft } = m
          if (!votersOf(raft.configuration).includes(m.id) || hasUnappliedChange(m)) continue
          const wouldVote = (id: string): boolean => {
            const voter = able.find((each) => each.id === id)
            return voter !== undefined && (voter === m || isBehind(voter, m))
          }
          if (isQuorum(raft.configuration, wouldVote)) {
            broken(`${m.id} could be elected without the committed entry ${index}`)
          }
        }
      },
    }),
  },
  {
    id: 'I8',
    name: 'MoreUpToDateCorrect',
    what: 'a log that is more up to date than another holds all that the other has committed',
    make: ({ members }, broken) => ({
      full() {
        const up = members().filter((m) => m.host.up && !m.gone)
        for (const a of up) {
          for (const b of up) {
            const { log } = b.raft
            if (a === b || log.commit <= a.raft.log.base.index || log.commit < log.base.index) continue
            if (!logs.isUpToDate(log, logs.lastIndex(a.raft.log), logs.lastTerm(a.raft.log))) continue
            if (logs.termAt(a.raft.log, log.commit) !== logs.termAt(log, log.commit)) {
              broken(`${a.id} is more up to date than ${b.id} and lacks its committed entry ${log.commit}`)
            }
          }
        }
      },
    }),
  },
  {
    id: 'I9',
    name: 'CommittedIsDurable',
    what: 'an entry is committed first when it is on the disks of a quorum',
    make: ({ members }, broken) => ({
      commit(m, news) {
        const last = news.at(-1)
        if (last === undefined) return
        const has = (id: string): boolean => {
          // A log that was lost since had it, and its word was counted.
          const member = members().find((each) => each.id === id)
          return member !== undefined && holds(member.durable, last.index, last.term)
        }
        // Which of the two counted depends on where in this event the change came into force.
        if (!isQuorum(m.before.configuration, has) && !isQuorum(m.raft.configuration, has)) {
          broken(`${m.id} committed ${last.index}, which is on no quorum of disks`)
        }
      },
    }),
  },
  {
    id: 'I10',
    name: 'NothingGoesBack',
    what: 'term, vote in a term, commit and applied never go back in a life, and what was promised survives a restart',
    make: (_, broken) => {
      const promised = new Map<string, { term: number; vote: string }>()
      return {
        ballot({ id, before, raft: { term, vote } }) {
          if (term < before.term) broken(`the term of ${id} went from ${before.term} to ${term}`)
          if (term === before.term && before.vote !== '' && vote !== before.vote) {
            broken(`${id} voted for ${before.vote} and for ${vote} in term ${term}`)
          }
        },
        commit({ id, before, raft: { log } }) {
          if (log.commit < before.commit)
            broken(`the commit of ${id} went from ${before.commit} to ${log.commit}`)
        },
        applying({ id, before, raft: { log } }) {
          if (log.applied < before.applied)
            broken(`applied of ${id} went from ${before.applied} to ${log.applied}`)
        },
        sent({ id }, message) {
          const vote = grants(message)
          const known = promised.get(id)
          if (known !== undefined && known.term === message.term && vote !== '' && known.vote !== vote) {
            if (known.vote !== '')
              broken(`${id} said that it votes for ${known.vote} and for ${vote} in ${message.term}`)
          }
          if (vote !== '' && message.term >= (known?.term ?? 0))
            promised.set(id, { term: message.term, vote })
        },
        restarted({ id, raft: { term, vote } }) {
          const known = promised.get(id)
          if (known === undefined) return
          if (term < known.term || (term === known.term && vote !== known.vote)) {
            broken(`${id} forgot that it votes for ${known.vote} in term ${known.term}`)
          }
        },
      }
    },
  },
  {
    id: 'I11',
    name: 'DurableBeforeSaid',
    what: 'term, vote and entries are on disk before a message that says so leaves',
    make: (_, broken) => ({
      sent({ id, durable }, message) {
        const { term, vote } = durable.hardState
        const said = grants(message)
        if (said !== '' && (term < message.term || (term === message.term && vote !== said))) {
          broken(`${id} votes for ${said} in term ${message.term}, which is not on its disk`)
        }
        if (message.kind !== 'MsgAppResp' || message.reject || message.index === 0) return
        if (!holds(durable, message.index, undefined)) {
          broken(`${id} acknowledges ${message.index}, which is not on its disk`)
        }
        if (term < message.term)
          broken(`${id} acknowledges in term ${message.term}, which is not on its disk`)
      },
    }),
  },
  {
    id: 'I12',
    name: 'OneChangeAtATime',
    what: 'at most one change of configuration in a log is not committed',
    make: (_, broken) => ({
      log(m, from) {
        const { log } = m.raft
        if (!logs.slice(log, Math.max(from, log.base.index + 1), logs.lastIndex(log)).some(isChange)) return
        const open = logs
          .slice(log, Math.max(log.commit, log.base.index) + 1, logs.lastIndex(log))
          .filter(isChange)
        if (open.length > 1) broken(`${m.id} has ${open.length} changes that are not committed`)
      },
    }),
  },
  {
    id: 'I13',
    name: 'OwnTermIsCounted',
    what: 'a leader commits by counting only entries of its own term',
    make: (_, broken) => ({
      commit({ id, before, raft: { role, term, log } }) {
        if (role !== 'leader' || before.role !== 'leader' || before.term !== term) return
        if (logs.termAt(log, log.commit) !== term)
          broken(`leader ${id} committed ${log.commit} of an earlier term`)
      },
    }),
  },
  {
    id: 'I14',
    name: 'LinearizableReads',
    what: 'a read shows everything that was committed before it was asked, on true time',
    make: (_, broken) => ({
      answers({ id, machineIndex }, committed) {
        if (machineIndex < committed)
          broken(`${id} answered a read at ${machineIndex}: ${committed} was committed before`)
      },
    }),
  },
  {
    id: 'I15',
    name: 'SnapshotThenLog',
    what: 'a snapshot covers only what was applied, and the log goes on behind its base without a gap, on disk as well',
    make: ({ members }, broken) => ({
      snapshot(m) {
        const { snapshot, log } = m.raft
        const installing = log.applying < log.base.index
        if (snapshot.index > log.applied && !installing) {
          broken(`${m.id} has a snapshot of ${snapshot.index}, and has applied ${log.applied}`)
        }
        if (snapshot.index < log.base.index) {
          broken(`${m.id} has entries from ${log.base.index + 1} on, and a snapshot of ${snapshot.index}`)
        }
        this.log?.(m, log.base.index + 1)
      },
      log(m) {
        const { log } = m.raft
        const [first, last] = [log.entries[0], log.entries.at(-1)]
        const whole =
          first === undefined || (first.index === log.base.index + 1 && last?.index === logs.lastIndex(log))
        if (!whole) broken(`the log of ${m.id} has a gap`)
      },
      full() {
        for (const { id, gone, durable } of members()) {
          const [first] = durable.entries
          if (!gone && first !== undefined && first.index > durable.snapshot.index + 1)
            broken(
              `the disk of ${id} has a snapshot of ${durable.snapshot.index}, and entries from ${first.index} on`,
            )
        }
      },
    }),
  },
  {
    id: 'I16',
    name: 'PreVoteRaisesNothing',
    what: 'a pre-vote raises no term, and a member that hears nobody keeps its own',
    make: (_, broken) => ({
      ballot(m, message) {
        const { term, configuration } = m.raft
        if (term === m.before.term) return
        if (message?.kind === 'MsgPreVote') broken(`${m.id} went to term ${term} by a pre-vote`)
        const alone = isSoleVoter(configuration, m.id) || isSoleVoter(m.before.configuration, m.id)
        if (m.heardInTerm === 0 && !alone)
          broken(`${m.id} went to term ${term}, and has heard nobody since ${m.before.term}`)
      },
    }),
  },
  {
    id: 'D1',
    name: 'DiskTellsTheTruth',
    what: 'a restart finds exactly what was durable, or that its log is damaged',
    make: (_, broken) => ({
      restarted({ id, durable }, recovered) {
        if (recovered === undefined) return
        const { snapshot, entries, hardState } = recovered
        const lost = durable.entries.length - entries.length
        const skipped = durable.entries[lost - 1]?.index ?? 0
        const same =
          isDeepStrictEqual(hardState, durable.hardState) &&
          isDeepStrictEqual(snapshot.configuration, durable.snapshot.configuration) &&
          snapshot.index === durable.snapshot.index &&
          snapshot.term === durable.snapshot.term &&
          Buffer.compare(snapshot.data, durable.snapshot.data) === 0 &&
          // Entries that the snapshot stands for are kept for slow followers: who lost the first of them lost nothing.
          (entries.length === durable.entries.length || skipped <= snapshot.index) &&
          entries.every((entry, at) => isSame(entry, durable.entries[at + lost] as Entry))
        if (!same) {
          broken(`${id} did not find on its disk what was there`)
        }
      },
    }),
  },
  AGREED_CONFIGURATION,
  ...ASKING,
]

const isChange = ({ kind }: Entry): boolean => kind === 'configuration'

/** What it knows to be committed and has not applied would change who it asks: it may not campaign. */
const hasUnappliedChange = ({ raft: { log } }: Look): boolean =>
  log.applying < log.base.index || logs.slice(log, log.applying + 1, log.commit).some(isChange)

/** Whether `voter`, by its disk, would find the log of `candidate` at least as good as its own. */
function isBehind({ durable }: Look, candidate: Look): boolean {
  const last = durable.entries.at(-1)
  const index = Math.max(last?.index ?? 0, durable.snapshot.index)
  const term = last?.index === index ? last.term : durable.snapshot.term
  const own = logs.lastTerm(candidate.raft.log)
  return own > term || (own === term && logs.lastIndex(candidate.raft.log) >= index)
}

export const broken =
  ({ id, name }: Pick<Checker, 'id' | 'name'>) =>
  (what: string): never => {
    throw new Violation(`${id} ${name}`, what)
  }
