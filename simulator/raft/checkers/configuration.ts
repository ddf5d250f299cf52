/** Rows about configurations: who counts for whom. */
import { changed } from '../../../protocols/raft/confchange.ts'
import { decodeChange, NOBODY } from '../../../protocols/raft/configuration.ts'
import * as logs from '../../../protocols/raft/log.ts'
import type { Configuration } from '../../../protocols/raft/types.ts'
import { type Checker, isChange } from './checker.ts'
import type { Truth } from './truth.ts'

export const CONFIGURATION: readonly Checker[] = [
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
    id: 'C1',
    name: 'AgreedConfiguration',
    what: 'the configuration in force is what the committed entries up to there make of it, on every member',
    make: ({ truth }, broken) => {
      const known = new Known(truth)
      return {
        applying({ id, raft: { log, configuration } }) {
          // A snapshot stands for all entries up to the base, also while it is being installed.
          const index = Math.max(log.applying, log.base.index)
          const agreed = known.at(index)
          if (agreed !== undefined && textOf(configuration) !== agreed)
            broken(`${id} goes by ${textOf(configuration)} at ${index}, where ${agreed} is agreed`)
        },
      }
    },
  },
]

/** The configurations that the committed entries make, by the index from which on each is in force. */
class Known {
  readonly #truth: Truth
  readonly #all: { readonly index: number; readonly text: string }[] = [{ index: 0, text: textOf(NOBODY) }]
  #newest: Configuration = NOBODY
  #to = 0

  constructor(truth: Truth) {
    this.#truth = truth
  }

  at(index: number): string | undefined {
    const { committed, committedTo } = this.#truth
    for (; this.#to < committedTo; this.#to++) {
      const entry = committed.get(this.#to + 1)
      if (entry?.kind !== 'configuration') continue
      const outcome = changed(this.#newest, decodeChange(entry.data))
      if ('refused' in outcome) continue
      this.#newest = outcome.configuration
      this.#all.push({ index: entry.index, text: textOf(this.#newest) })
    }
    return index > committedTo ? undefined : this.#all.findLast((each) => each.index <= index)?.text
  }
}

function textOf({ voters, votersOutgoing, learners, learnersNext, autoLeave }: Configuration): string {
  const outgoing = votersOutgoing.length > 0 ? ` && ${votersOutgoing.join(' ')}` : ''
  const next = learnersNext.length > 0 ? ` next ${learnersNext.join(' ')}` : ''
  const leaves = autoLeave ? ' autoleave' : ''
  return `(${voters.join(' ')}${outgoing}) learners ${learners.join(' ') || '-'}${next}${leaves}`
}
