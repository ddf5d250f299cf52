/** Rows about what is committed, who has it, and what comes of it. */
import { crc32 } from 'node:zlib'
import { votersOf } from '../../../protocols/raft/configuration.ts'
import * as logs from '../../../protocols/raft/log.ts'
import { isQuorum } from '../../../protocols/raft/quorum.ts'
import type { Entry } from '../../../protocols/raft/types.ts'
import { holds } from '../disk.ts'
import { type Checker, entryAt, isChange, isSame } from './checker.ts'
import type { Look } from './look.ts'

export const COMMIT: readonly Checker[] = [
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
]

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
