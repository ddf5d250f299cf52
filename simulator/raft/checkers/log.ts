/** Rows about what is in the logs, and on their disks. */
import { isDeepStrictEqual } from 'node:util'
import * as logs from '../../../protocols/raft/log.ts'
import type { Entry } from '../../../protocols/raft/types.ts'
import { type Checker, entryAt, isSame } from './checker.ts'

/** One number for (index, term): terms of a simulation stay far below 2^20. */
const place = (index: number, term: number): number => index * 2 ** 20 + term

export const LOG: readonly Checker[] = [
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
]
